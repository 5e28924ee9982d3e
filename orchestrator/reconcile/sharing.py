"""Calls that move from site to site by bounded steps: latency depends on our own routing, and a jump overshoots."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.snapshot import ServiceDecision
from orchestrator.reconcile.needs import forbidden
from orchestrator.reconcile.routes import ServiceRoutes, Serving, zones_of

# Of a zone's calls, what may move in a second from sites that could keep them: all of them take 5 s. The probes' window
# follows a leg that changed within 8 samples, 2 to 4 s, so that what the first calls do to a site is seen while most
# are still elsewhere. Twice the share would have moved before anything was measured.
SHARE_PER_S = 0.2
# A loop that stood still for long does not make up for it with a jump.
LONGEST_STEP_S = 1.0
NOTHING = 1e-9  # sums of shares are not exact

Shares: TypeAlias = Mapping[SiteName, float]


def step_shares(held: Shares, goal: Shares, able: Collection[SiteName], most: float) -> dict[SiteName, float]:
    """One step from `held` to `goal`; each sums to 1, and so does the answer.

    What lies at sites that are not `able` moves at once: a failover is never slowed. Of the rest at most `most` moves,
    from each site in proportion to what it holds beyond its goal.
    """
    sites = sorted(held.keys() | goal.keys())
    kept = {s: held.get(s, 0.0) if s in able else min(held.get(s, 0.0), goal.get(s, 0.0)) for s in sites}
    excess = {s: max(kept[s] - goal.get(s, 0.0), 0.0) for s in sites}
    voluntary = sum(excess.values())
    if voluntary <= most:
        return {s: share for s, share in goal.items() if share > 0}
    freed = 1.0 - sum(kept.values())
    lacking = {s: max(goal.get(s, 0.0) - kept[s], 0.0) for s in sites}
    part_left, part_filled = most / voluntary, (freed + most) / sum(lacking.values())
    stepped = {s: kept[s] - part_left * excess[s] + part_filled * lacking[s] for s in sites}
    return {s: share for s, share in stepped.items() if share > 0}


@dataclass(frozen=True, slots=True)
class Step:
    """The shares of one service's zones, and the sites that have more calls yet than the decision gives them."""

    zones: Mapping[ZoneName, Shares]
    leaving: frozenset[SiteName]


def step_service(
    decided: ServiceDecision,
    judged: ServiceDecision,
    serving: Sequence[Serving],
    held: Mapping[ZoneName, Shares],
    elapsed_s: float,
) -> Step:
    """`judged`: what this moment's measurements say; `held`: what the gateways have; a zone with nothing gets its goal.

    While no site with a share has a ready replica, calls stay where they are answered within the limits; else they go
    to any others that do so, if there are.
    """
    zones: dict[ZoneName, Shares] = {}
    leaving: set[SiteName] = set()
    ready = {one.claim.site for one in serving}
    for zone in zones_of(decided):
        goal = goal_shares(decided, zone, serving)
        had = {site: share for site, share in held.get(zone, {}).items() if site in ready}
        if goal is not None and (not had or _same(held[zone], goal)):
            zones[zone] = goal
            continue
        able = ready - _barred(judged, zone)
        if goal is None:
            stays = _whole({site: share for site, share in had.items() if site in able})
            zones[zone] = stays or _evenly(able) or _whole(had) or _evenly(ready)
            continue
        zones[zone] = step_shares(held[zone], goal, able, SHARE_PER_S * min(elapsed_s, LONGEST_STEP_S))
        leaving |= {site for site, share in zones[zone].items() if share > goal.get(site, 0.0) + NOTHING}
    return Step(zones, frozenset(leaving))


def _barred(judged: ServiceDecision, zone: ZoneName) -> set[SiteName]:
    return {site for barred_zone, site in forbidden(judged) if barred_zone in (None, zone)}


def _same(one: Shares, other: Shares) -> bool:
    return one.keys() == other.keys() and all(abs(one[site] - other[site]) < NOTHING for site in one)


def goal_shares(decided: ServiceDecision, zone: ZoneName, serving: Sequence[Serving]) -> dict[SiteName, float] | None:
    """The decision's shares over the sites that are ready for it; None: none of them is."""
    ready = {one.claim.site for one in serving if one.preferred}
    shares: dict[SiteName, float] = {}
    for one in decided.shares:
        if one.site in ready and one.share > 0 and one.zone in (zone, *_any(decided, zone)):
            shares[one.site] = max(shares.get(one.site, 0.0), one.share)
    return _whole(shares) or None


def _any(decided: ServiceDecision, zone: ZoneName) -> Iterator[ZoneName]:
    """Callers of no known zone go where any zone's do."""
    if zone == "":
        yield from {one.zone for one in decided.shares}


def _whole(shares: Shares) -> dict[SiteName, float]:
    total = sum(shares.values())
    return {site: share / total for site, share in shares.items()} if total > 0 else {}


def _evenly(sites: Collection[SiteName]) -> dict[SiteName, float]:
    return {site: 1.0 / len(sites) for site in sorted(sites)}


def held_shares(routes: Sequence[ServiceRoutes]) -> dict[ServiceRef, dict[ZoneName, dict[SiteName, float]]]:
    """What gateways were given last, by site."""
    held: dict[ServiceRef, dict[ZoneName, dict[SiteName, float]]] = {}
    for service in routes:
        zones = held.setdefault(service.service, {})
        for zone, found in service.zones.items():
            shares = zones.setdefault(zone, {})
            for route in found:
                if route.share > 0:
                    shares[route.site] = shares.get(route.site, 0.0) + route.share
    return held
