"""How badly a change is needed: what cannot go on goes first, what would only be better can wait."""

from enum import IntEnum

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import Refusal, ServiceDecision
from orchestrator.reconcile.causes import service_key

# A site refused for one of these could go on: others are better, or suffice. Any other reason forbids it.
OUTDONE = frozenset(
    {Refusal.OUTRANKED, Refusal.REPLICAS_MAX, Refusal.FAILURE_DOMAIN, Refusal.DOMAIN_SHARE, Refusal.FROZEN}
)
NOTHING = 0.005  # a share that nobody sees
MANY = 0.1  # of a zone's calls: fewer move in their own time


class Need(IntEnum):
    """Why one service's placement would change, the weakest first."""

    NONE = 0
    GAIN = 1  # other sites or fewer replicas, which cost less
    SHARES = 2  # many of the calls to others of the same replicas; or nothing moves, but a rule is not kept any more
    CALLS = 3  # without it calls are lost, or soon will be: what runs breaks a limit or a rule, or does not suffice
    ASKED = 4  # operators asked for something else, or a site with replicas is gone


def need_of(running: ServiceDecision, proposed: ServiceDecision) -> Need:
    """`proposed` says what is refused today."""
    if service_key(running) == service_key(proposed):
        return Need.NONE
    if running.version != proposed.version:
        return Need.ASKED
    had, has = ({(c.site, c.variant): c.replicas for c in one.chosen} for one in (running, proposed))
    mends = {s.rule for s in running.shortfalls} - {s.rule for s in proposed.shortfalls}
    broken = _in_use(running) & forbidden(proposed)
    if mends or broken or _serves_more(running, proposed) or sum(has.values()) > sum(had.values()):
        return Need.CALLS
    told = {s.rule for s in running.shortfalls} != {s.rule for s in proposed.shortfalls}
    return Need.SHARES if had == has and (told or _moves_calls(running, proposed)) else Need.GAIN


def forbidden(judged: ServiceDecision) -> frozenset[tuple[ZoneName | None, SiteName]]:
    """Sites that may not go on as they are, each for one zone's calls or (None) at all."""
    refused = {(one.zone, one.site) for one in judged.refused if one.reason not in OUTDONE}
    # A site may hold replicas for one zone and be too far from another: it has a share, 0 or more, where it may serve.
    zones = {s.zone for s in judged.shares} | {u.zone for u in judged.unserved}
    able = {(s.zone, s.site) for s in judged.shares}
    return frozenset(refused | ({(zone, c.site) for c in judged.chosen for zone in zones} - able))


def _in_use(running: ServiceDecision) -> set[tuple[ZoneName | None, SiteName]]:
    return {(s.zone, s.site) for s in running.shares if s.share > 0} | {(None, c.site) for c in running.chosen}


def _serves_more(running: ServiceDecision, proposed: ServiceDecision) -> bool:
    lost = {u.zone: u.share for u in proposed.unserved}
    known = {s.zone for s in running.shares} | {u.zone for u in running.unserved}
    return any(u.share > lost.get(u.zone, 0.0) + NOTHING for u in running.unserved) or any(
        s.zone not in known and s.share > 0 for s in proposed.shares
    )


def _moves_calls(running: ServiceDecision, proposed: ServiceDecision) -> bool:
    old, new = ({(s.zone, s.site): s.share for s in one.shares} for one in (running, proposed))
    return any(abs(new.get(place, 0.0) - old.get(place, 0.0)) >= MANY for place in old.keys() | new.keys())
