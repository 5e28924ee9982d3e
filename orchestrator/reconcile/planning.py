"""What a decision would change, told before it is carried out."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from types import MappingProxyType
from typing import TypeAlias

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, FrontName, NodeName, ReplicaId, ServiceRef, SiteName, ZoneName
from orchestrator.model.phases import ClaimPhase, ReplicaPhase
from orchestrator.model.plan import (
    Act,
    Answer,
    Attainment,
    NotServed,
    Plan,
    Running,
    ServiceCost,
    Step,
    Transfer,
)
from orchestrator.model.snapshot import Decision, Interval, ServiceDecision
from orchestrator.model.specs import SiteSpec
from orchestrator.reconcile.causes import plan_key, told_changes
from orchestrator.reconcile.observed import LIVE, Observed, SeenCloudReplica, SeenReplica
from orchestrator.reconcile.replicas import DRAIN_S, diff
from orchestrator.reconcile.starting import Want
from orchestrator.reconcile.updating import UpdateRules

MAX_ROUNDS = 8  # starts, then drains, then releases: three do
ROUNDS_IN_PLACE = 3  # for each replica that makes way for its successor
HANDED_S = 1.0  # from round to round of the loop, and to the node
NOTHING = 0.005  # a share that nobody sees
Replicas: TypeAlias = Mapping[ServiceRef, Counter[Running]]
Place: TypeAlias = tuple[ServiceRef, SiteName]


@dataclass(frozen=True, slots=True)
class Settled:
    """The claims once every holder has obeyed. `in_place`: where a service had fewer replicas meanwhile."""

    claims: list[Claim]
    in_place: frozenset[Place]


def effect(
    before: Decision | None,
    after: Decision,
    ran: Replicas,
    runs: Replicas,
    limits_ms: Mapping[ServiceRef, float | None],
    name: str,
    gaps_s: Mapping[tuple[ServiceRef, SiteName], float] | None = None,
) -> Plan:
    """From one decision to another, and from what `ran` to what then `runs`. `name`: of the first, "" for none.

    `gaps_s`: how long each update in place leaves its site without the replica; None: nobody knows.
    """
    steps = tuple(
        replace(step, gap_s=gaps_s.get((service, step.after.site), 0.0))
        if gaps_s is not None and step.act is Act.UPDATE and step.after
        else step
        for service in sorted(ran.keys() | runs.keys())
        for step in _steps(service, ran.get(service, Counter()), runs.get(service, Counter()))
    )
    old, new = _by_service(before), _by_service(after)
    both = sorted(old.keys() | new.keys())
    return Plan(
        decision=name,
        changed=bool(steps) or before is None or plan_key(before) != plan_key(after),
        steps=steps,
        answers=tuple(a for s in both for a in _answers(s, old.get(s), new.get(s), limits_ms.get(s))),
        not_served=tuple(found for s in both if s in new for found in _not_served(old.get(s), new[s])),
        costs=tuple(ServiceCost(s, _usd_per_hour(old.get(s)), _usd_per_hour(new.get(s))) for s in both),
        usd_per_hour_before=before.usd_per_hour if before else 0.0,
        usd_per_hour=after.usd_per_hour,
        causes=told_changes(before, after),
        objective_usd_per_hour=after.objective_usd_per_hour,
        lower_bound_usd_per_hour=after.lower_bound_usd_per_hour,
        bound=after.bound,
        gap=after.gap,
    )


def running(claims: Iterable[Claim]) -> Replicas:
    """What claims stand for that are not on their way out."""
    found: dict[ServiceRef, Counter[Running]] = {}
    for claim in claims:
        if isinstance(claim.hold, ReplicaHold) and claim.phase in LIVE:
            hold = claim.hold
            found.setdefault(hold.service, Counter())[Running(claim.site, hold.version, hold.variant)] += 1
    return found


def chosen(decision: Decision) -> Replicas:
    """What a decision asks for."""
    return {
        one.service: Counter({Running(c.site, one.version, c.variant): c.replicas for c in one.chosen})
        for one in decision.services
    }


def settled(
    wants: Sequence[Want],
    claims: Sequence[Claim],
    observed: Observed,
    sites: Mapping[SiteName, SiteSpec],
    lost_after_s: Mapping[ServiceRef, float],
    now_s: float,
    braked: Mapping[ServiceRef, Collection[NodeName]] = MappingProxyType({}),
    handed_over: Mapping[ServiceRef, Collection[NodeName]] = MappingProxyType({}),
    updates: Mapping[ServiceRef, UpdateRules] = MappingProxyType({}),
) -> Settled:
    """The loop's own steps, taken until none is left."""
    ids = (f"planned-{number}" for number in count())
    held = {claim.id: claim for claim in claims}
    before = _counts(claims)
    least = Counter(before)
    for _ in range(MAX_ROUNDS + ROUNDS_IN_PLACE * max(before.values(), default=0)):
        changed = diff(
            wants,
            list(held.values()),
            _obeyed(observed, held),
            sites,
            decision=DecisionId(""),
            epoch=0,
            now_s=now_s,
            ids=ids,
            lost_after_s=lost_after_s,
            braked=braked,
            handed_over=handed_over,
            updates=updates,
        )
        if not changed:
            break
        held |= {claim.id: claim for claim in changed}
        held = {id: claim for id, claim in held.items() if claim.phase is not ClaimPhase.RELEASED}
        now = _counts(held.values())
        least = Counter({place: min(least[place], now[place]) for place in before})
        now_s += DRAIN_S
    after = _counts(held.values())
    in_place = frozenset(place for place in before if least[place] < min(before[place], after[place]))
    return Settled([claim for claim in held.values() if claim.phase in LIVE], in_place)


def _counts(claims: Iterable[Claim]) -> Counter[Place]:
    live = (c for c in claims if c.phase in LIVE)
    return Counter((c.hold.service, c.site) for c in live if isinstance(c.hold, ReplicaHold))


def gaps(
    in_place: Iterable[Place], after: Sequence[Claim], sizes: Mapping[str, int], down_bps: Mapping[SiteName, float]
) -> dict[Place, float]:
    """For how long each of them is without a replica: it drains, then the next is fetched; a load nobody can tell."""
    digests = {(c.hold.service, c.site): c.hold.digest for c in after if isinstance(c.hold, ReplicaHold)}
    return {
        place: DRAIN_S + HANDED_S + 8 * sizes.get(digests[place], 0) / down_bps.get(place[1], inf) for place in in_place
    }


def transfers(
    claims: Sequence[Claim],
    after: Sequence[Claim],
    sizes: Mapping[str, int],
    holders: Mapping[NodeName, FrontName],
) -> tuple[Transfer, ...]:
    """Artifacts of new replicas on nodes that hold no replica of the same one. A region reads the store beside it."""
    there = {(c.node, c.hold.digest) for c in claims if isinstance(c.hold, ReplicaHold)}
    found: dict[tuple[NodeName, str], Transfer] = {}
    for claim in after:
        if claim.node is None or not isinstance(claim.hold, ReplicaHold) or (claim.node, claim.hold.digest) in there:
            continue
        digest, front = claim.hold.digest, holders.get(claim.node, FrontName("?"))
        leg = f"site/{claim.site} -> front/{front}"
        found[claim.node, digest] = Transfer(leg, claim.site, claim.node, digest, sizes.get(digest, 0))
    return tuple(found[key] for key in sorted(found))


def _obeyed(observed: Observed, held: Mapping[ReplicaId, Claim]) -> Observed:
    """As if every replica that is wanted were ready, and every other one gone."""
    live = [c for c in held.values() if c.phase in LIVE and isinstance(c.hold, ReplicaHold)]
    seen = {c.id: SeenReplica(c.id, "", ReplicaPhase.READY) for c in live}
    nodes = {
        name: replace(node, replicas={c.id: seen[c.id] for c in live if c.node == name})
        for name, node in observed.nodes.items()
    }
    cloud = {
        c.id: SeenCloudReplica(seen[c.id], c.site, c.hold.service, c.hold.version, c.hold.digest)
        for c in live
        if c.node is None and isinstance(c.hold, ReplicaHold)
    }
    return Observed(nodes, cloud)


def _steps(service: ServiceRef, ran: Counter[Running], runs: Counter[Running]) -> Iterator[Step]:
    """Updates first, then moves of the same thing, then other moves; what is left starts or stops."""
    gone, come = ran - runs, runs - ran
    for alike in (
        lambda old, new: old.site == new.site,
        lambda old, new: (old.version, old.variant) == (new.version, new.variant),
        lambda old, new: True,
    ):
        for old in sorted(gone, key=_order):
            for new in sorted(come, key=_order):
                paired = min(gone[old], come[new]) if alike(old, new) else 0
                if paired:
                    gone[old] -= paired
                    come[new] -= paired
                    yield Step(Act.UPDATE if old.site == new.site else Act.MOVE, service, paired, old, new)
    yield from (Step(Act.START, service, come[new], None, new) for new in sorted(+come, key=_order))
    yield from (Step(Act.STOP, service, gone[old], old, None) for old in sorted(+gone, key=_order))


def _order(running: Running) -> tuple[SiteName, str, str]:
    return running.site, str(running.version), running.variant


def _by_service(decision: Decision | None) -> dict[ServiceRef, ServiceDecision]:
    return {one.service: one for one in decision.services} if decision else {}


def _usd_per_hour(decided: ServiceDecision | None) -> float:
    return decided.usd_per_hour if decided else 0.0


def _answers(
    service: ServiceRef, before: ServiceDecision | None, after: ServiceDecision | None, limit_ms: float | None
) -> Iterator[Answer]:
    """Of each zone and site that takes calls before or after; sites that only stand by are left out."""
    old = {(s.zone, s.site): s for s in before.shares if s.share > 0} if before else {}
    new = {(s.zone, s.site): s for s in after.shares if s.share > 0} if after else {}
    for zone, site in sorted(old.keys() | new.keys()):
        was, now = old.get((zone, site)), new.get((zone, site))
        yield Answer(
            service=service,
            zone=zone,
            site=site,
            share_before=was.share if was else 0.0,
            share=now.share if now else 0.0,
            p99_ms_before=was.response_ms if was else None,
            p99_ms=now.response_ms if now else None,
            limit_ms=limit_ms,
            attainment=attainment(now.response_ms if now else None, limit_ms),
        )


def attainment(response_ms: Interval | None, limit_ms: float | None) -> Attainment:
    if response_ms is None or limit_ms is None:
        return Attainment.NO_LIMIT
    if response_ms.high <= limit_ms:
        return Attainment.KEPT
    return Attainment.LIKELY if response_ms.expected <= limit_ms else Attainment.MISSED


def _not_served(before: ServiceDecision | None, after: ServiceDecision) -> Iterator[NotServed]:
    old: dict[ZoneName, float] = {u.zone: u.share for u in before.unserved} if before else {}
    for unserved in after.unserved:
        if unserved.share > old.get(unserved.zone, 0.0) + NOTHING:
            refused = tuple(r for r in after.refused if r.zone in (None, unserved.zone))
            yield NotServed(after.service, unserved.zone, old.get(unserved.zone, 0.0), unserved.share, refused)
