"""Claims brought to what a decision wants: successors are ready before predecessors stop."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import SiteSpec
from orchestrator.reconcile.observed import Observed, SeenNode
from orchestrator.reconcile.pacing import Pace, pacing_of
from orchestrator.reconcile.single_writer import stopped_after_s
from orchestrator.reconcile.starting import FreePlaces, Starter, Updating, Want, Writer
from orchestrator.reconcile.updating import UpdateRules

DRAIN_S = 2.0  # calls under way end; a caller's retry budget covers longer ones


def replica_phases(claims: Sequence[Claim], observed: Observed) -> dict[ReplicaId, ReplicaPhase]:
    """As their holders report them; UNKNOWN while a node is silent. A claim that nobody reports is not in it."""
    phases = observed.claims_served(claims)
    for claim in claims:
        node = observed.nodes.get(claim.node) if claim.node is not None else None
        if node is None:
            continue
        if node.phase is NodePhase.UNKNOWN:
            phases[claim.id] = ReplicaPhase.UNKNOWN
        elif claim.id in node.replicas:
            phases[claim.id] = node.replicas[claim.id].phase
    return phases


def diff(
    wants: Sequence[Want],
    claims: Sequence[Claim],
    observed: Observed,
    sites: Mapping[SiteName, SiteSpec],
    *,
    decision: DecisionId,
    epoch: int,
    now_s: float,
    ids: Iterator[str],
    lost_after_s: Mapping[ServiceRef, float],
    paces: Mapping[ServiceRef, Pace] = MappingProxyType({}),
    sizes: Mapping[str, int] = MappingProxyType({}),
    braked: Mapping[ServiceRef, Collection[NodeName]] = MappingProxyType({}),
    leaving: Mapping[ServiceRef, Collection[SiteName]] = MappingProxyType({}),
    handed_over: Mapping[ServiceRef, Collection[NodeName]] = MappingProxyType({}),
    updates: Mapping[ServiceRef, UpdateRules] = MappingProxyType({}),
    promised_s: Mapping[ReplicaId, float] = MappingProxyType({}),
) -> list[Claim]:
    """Claims to write so that the ledger comes a step closer to `wants`; empty once they agree, or while it waits.

    `ids` yields fresh name suffixes. `lost_after_s`: how long each service waits for a silent node; one that is not in
    it waits for ever. A claim on a node that is lost to its service is released; one on a silent node is kept.
    `paces`: how fast replicas start, of the services that limit it; `sizes`: bytes of each artifact by digest.
    `braked`: silent nodes that a service waits for, however long; `leaving`: sites that a service's calls still leave:
    what serves there stays until they have; `handed_over`: draining nodes that a service leaves as if no want were
    for them; `updates`: how each service's replicas change, by default beside where there is room, else in place;
    `promised_s`: how long the node of each single writer may serve it alone. One without is never taken for stopped.
    """
    writer = Writer(decision, epoch, now_s)
    phases = replica_phases(claims, observed)
    single = frozenset(service for service, rules in updates.items() if rules.single_writer)
    judge = _Judge(observed, phases, lost_after_s, braked, leaving, handed_over, single, promised_s, now_s)
    pacing = pacing_of(paces, sizes, claims, phases, now_s)
    held: dict[ServiceRef, list[Claim]] = {}
    for claim in claims:
        if isinstance(claim.hold, ReplicaHold):
            held.setdefault(claim.hold.service, []).append(claim)
    by_service: dict[ServiceRef, list[Want]] = {}
    for want in wants:
        by_service.setdefault(want.service, []).append(want)
    changed: list[Claim] = []
    starter = Starter(sites, FreePlaces(sites, claims, observed), pacing, writer, ids)
    for service in sorted(by_service.keys() | held.keys()):
        wanted, has, rules = by_service.get(service, []), held.get(service, []), updates.get(service, UpdateRules())
        changed += _diff_service(wanted, has, rules, judge, starter, writer)
    return changed


@dataclass(frozen=True, slots=True)
class _Judge:
    """What can be said of a claim at this moment."""

    observed: Observed
    phases: Mapping[ReplicaId, ReplicaPhase]
    lost_after_s: Mapping[ServiceRef, float]
    braked: Mapping[ServiceRef, Collection[NodeName]]
    leaving: Mapping[ServiceRef, Collection[SiteName]]
    handed_over: Mapping[ServiceRef, Collection[NodeName]]
    single_writers: Collection[ServiceRef]
    promised_s: Mapping[ReplicaId, float]
    now_s: float

    def stays_put(self, claim: Claim) -> bool:
        """It is not on a node that its service leaves."""
        service = claim.hold.service if isinstance(claim.hold, ReplicaHold) else None
        return service is None or claim.node not in self.handed_over.get(service, ())

    def lapsed(self, claim: Claim) -> bool:
        """Its node came back too late to serve it on: it is given up for one with another name."""
        node = self.observed.nodes.get(claim.node) if claim.node is not None else None
        stopped = self.phases.get(claim.id) is ReplicaPhase.STOPPED
        return stopped and claim.phase is ClaimPhase.BOUND and node is not None and node.phase is NodePhase.ATTACHED

    def _stopped(self, claim: Claim, node: SeenNode) -> bool:
        """A single writer's node is certainly past its promise. A front that we do not see may hold it all the time."""
        return node.witnessed and node.silent_s > stopped_after_s(self.promised_s.get(claim.id, float("inf")))

    def _registered(self, claim: Claim) -> bool:
        """A region's replica that still holds its registration open."""
        if claim.node is not None or not isinstance(claim.hold, ReplicaHold):
            return False
        return bool(self.observed.cloud_of(claim.hold, claim.site))

    def serves(self, claim: Claim) -> bool:
        return self.phases.get(claim.id) is ReplicaPhase.READY

    def served(self, claim: Claim) -> bool:
        """It did, before its node fell silent."""
        return claim.phase is ClaimPhase.BOUND and self.phases.get(claim.id) is ReplicaPhase.UNKNOWN

    def serves_or_may(self, claim: Claim) -> bool:
        return self.phases.get(claim.id) in (ReplicaPhase.READY, ReplicaPhase.UNKNOWN)

    def silent(self, claim: Claim) -> bool:
        """Nobody can tell it to stop."""
        node = self.observed.nodes.get(claim.node) if claim.node is not None else None
        return claim.node is not None and (node is None or node.phase is NodePhase.UNKNOWN)

    def called(self, claim: Claim) -> bool:
        """It answers calls that are still to move elsewhere."""
        service = claim.hold.service if isinstance(claim.hold, ReplicaHold) else None
        return service is not None and self.serves(claim) and claim.site in self.leaving.get(service, ())

    def gone(self, claim: Claim) -> bool:
        """Its resources are free: it drained, or its node is lost to its service."""
        node = self.observed.nodes.get(claim.node) if claim.node is not None else None
        service = claim.hold.service if isinstance(claim.hold, ReplicaHold) else None
        single = service in self.single_writers
        if node and service and node.silent_s > self.lost_after_s.get(service, float("inf")):
            return node.node not in self.braked.get(service, ()) and (not single or self._stopped(claim, node))
        if claim.phase is not ClaimPhase.DRAINING or self.now_s - claim.since_s < DRAIN_S:
            return False
        if single and (self.silent(claim) or self._registered(claim)):
            return False
        # Serve stops a region's; what Ray still holds of it shows in Ray's own resources.
        return node is None or claim.id not in node.replicas or node.replicas[claim.id].phase is ReplicaPhase.STOPPED


def _diff_service(
    wants: Sequence[Want],
    held: Sequence[Claim],
    rules: UpdateRules,
    judge: _Judge,
    starter: Starter,
    writer: Writer,
) -> list[Claim]:
    changed: list[Claim] = []
    there: list[Claim] = []
    for claim in sorted(held, key=lambda c: c.id):
        if judge.gone(claim):
            changed.append(writer.move(claim, ClaimPhase.RELEASED))
        elif rules.single_writer and judge.lapsed(claim):
            there.append(writer.move(claim, ClaimPhase.DRAINING))
            changed.append(there[-1])
        else:
            there.append(claim)
    live = [claim for claim in there if claim.phase is not ClaimPhase.DRAINING]
    kept, surplus = _match(wants, live, judge)
    needs = {_kind_of(want): want.need for want in reversed(wants)}  # of equal ones the first
    changed += [now for claim in kept if (now := _kept_as(claim, needs[_kind(claim)], judge, writer)) != claim]
    has = Counter(_kind(claim) for claim in kept)
    updating = Updating(rules, starter, there, kept, surplus, judge.serves, judge.silent)
    started = [claim for want in wants for claim in updating.starts(want, want.count - has[_kind_of(want)])]
    wanted = sum(w.count for w in wants)
    ready = sum(judge.serves(c) for c in kept)
    updated = _updated(wants, kept, judge)
    # A predecessor goes once every successor serves and has the calls, when it serves nobody itself, or to make room.
    changed += [
        writer.move(claim, ClaimPhase.DRAINING)
        for claim in surplus
        if ((ready >= wanted or claim.site in updated) and not judge.called(claim))
        or not judge.serves_or_may(claim)
        or claim.id in updating.making_way
    ]
    return changed + started


def _updated(wants: Sequence[Want], kept: Sequence[Claim], judge: _Judge) -> set[SiteName]:
    """Sites whose own replicas all serve as they are wanted, while elsewhere only silent ones are not known to.

    Those are counted on until they are lost, and must not keep a predecessor at every other site.
    """
    if sum(judge.serves(c) or judge.served(c) for c in kept) < sum(want.count for want in wants):
        return set()
    counts: Counter[SiteName] = Counter()
    for want in wants:
        counts[want.site] += want.count
    return {site for site, count in counts.items() if count <= sum(judge.serves(c) for c in kept if c.site == site)}


_Kind = tuple[SiteName, VersionRef, Digest]  # what a claim and a want must agree on


def _kind_of(want: Want) -> _Kind:
    return want.site, want.version, want.digest


def _kind(claim: Claim) -> _Kind:
    assert isinstance(claim.hold, ReplicaHold)
    return claim.site, claim.hold.version, claim.hold.digest


def _kept_as(claim: Claim, need: Resources, judge: _Judge, writer: Writer) -> Claim:
    """What a claim that stays becomes: bound once it serves, and of the amount that is known by now to be needed.

    Another amount is no other replica: what was measured of a hardware class holds for those that run there, too.
    """
    now = claim if need == claim.need else replace(claim, need=need, epoch=writer.epoch)
    bound = claim.phase is ClaimPhase.RESERVED and judge.serves(claim)
    return writer.move(now, ClaimPhase.BOUND) if bound else now


def _match(wants: Sequence[Want], live: Sequence[Claim], judge: _Judge) -> tuple[list[Claim], list[Claim]]:
    """Which claims stay: ready ones first, then by id."""
    of_kind: dict[_Kind, list[Claim]] = {}
    for claim in filter(judge.stays_put, live):
        of_kind.setdefault(_kind(claim), []).append(claim)
    kept: list[Claim] = []
    for want in wants:
        fitting = sorted(of_kind.get(_kind_of(want), []), key=lambda c: (not judge.serves(c), c.id))
        kept += fitting[: want.count]
    taken = {c.id for c in kept}
    return kept, [c for c in live if c.id not in taken]
