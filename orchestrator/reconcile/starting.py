"""Claims for new replicas, while room and pace last; and what has to make way for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import SiteKind, SiteSpec, Variant
from orchestrator.reconcile.observed import Observed
from orchestrator.reconcile.pacing import Pacing
from orchestrator.reconcile.updating import UpdateRules


@dataclass(frozen=True, slots=True)
class Want:
    """So many replicas of one variant at one site."""

    service: ServiceRef
    version: VersionRef
    variant: Variant
    digest: Digest
    need: Resources
    site: SiteName
    count: int


@dataclass(frozen=True, slots=True)
class Writer:
    decision: DecisionId
    epoch: int
    now_s: float

    def move(self, claim: Claim, phase: ClaimPhase) -> Claim:
        return replace(claim, phase=phase, epoch=self.epoch, since_s=self.now_s)


@dataclass(frozen=True, slots=True)
class Starter:
    """Writes claims for new replicas while room and pace last."""

    sites: Mapping[SiteName, SiteSpec]
    places: "FreePlaces"
    pacing: Pacing
    writer: Writer
    ids: Iterator[str]

    def start(self, want: Want) -> Claim | None:
        """None when the site has no room, is not there (any more), or enough is starting. The next tick looks again."""
        if not self.places.has_room(want.site, want.need):
            return None
        if not self.pacing.admit(want.service, want.site, want.digest):
            return None
        return Claim(
            id=ReplicaId(f"{want.service.name}-{want.site}-{next(self.ids)}"),
            site=want.site,
            node=self.places.take(want.site, want.need),
            need=want.need,
            phase=ClaimPhase.RESERVED,
            hold=ReplicaHold(want.service, want.version, want.variant, want.digest),
            decision=self.writer.decision,
            epoch=self.writer.epoch,
            since_s=self.writer.now_s,
        )


class FreePlaces:
    """What each node of an edge site, or a region as a whole (None), has left while one diff hands it out.

    `coming`: what drains there and will be free. A cordoned node's room comes to nobody.
    """

    def __init__(self, sites: Mapping[SiteName, SiteSpec], claims: Sequence[Claim], observed: Observed) -> None:
        attached = {name for name, node in observed.nodes.items() if node.phase is NodePhase.ATTACHED}
        self._free: dict[SiteName, dict[NodeName | None, Resources]] = {}
        self._coming: dict[tuple[SiteName, NodeName | None], Resources] = {}
        for site in sites.values():
            region = {None: site.capacity} if site.kind is SiteKind.REGION else {}
            nodes = {node.name: node.capacity for node in site.nodes if node.name in attached and node.schedulable}
            self._free[site.name] = region | nodes
        for claim in claims:
            free = self._free.get(claim.site, {})
            if claim.node in free:
                free[claim.node] -= claim.need
                if claim.phase is ClaimPhase.DRAINING:
                    key = (claim.site, claim.node)
                    self._coming[key] = self._coming.get(key, Resources()) + claim.need

    def has_room(self, site: SiteName, need: Resources, coming: bool = False) -> bool:
        """`coming`: once all that drains there is gone."""
        return any(
            need.fits_in(free + self._coming.get((site, node), Resources()) if coming else free)
            for node, free in self._free.get(site, {}).items()
        )

    def take(self, site: SiteName, need: Resources) -> NodeName | None:
        """On the node with the most free memory that fits; the least name among equals. There must be room."""
        free = self._free[site]
        node = min((-left.memory_bytes, str(node), node) for node, left in free.items() if need.fits_in(left))[2]
        free[node] -= need
        return node

    def would_fit(self, need: Resources, without: Claim) -> bool:
        """In the place of a claim that is there now."""
        free = self._free.get(without.site, {}).get(without.node)
        return free is not None and need.fits_in(free + without.need)


@dataclass(slots=True)
class Updating:
    """One service's starts within a diff, and which of its replicas make way for them.

    `there`: all that the service holds; `kept` of it is wanted as it is, `surplus` is not.
    """

    rules: UpdateRules
    starter: Starter
    there: Sequence[Claim]
    kept: Sequence[Claim]
    surplus: Sequence[Claim]
    serves: Callable[[Claim], bool]
    silent: Callable[[Claim], bool]
    started: list[Claim] = field(default_factory=list)
    making_way: set[ReplicaId] = field(default_factory=set)

    def starts(self, want: Want, count: int) -> Iterator[Claim]:
        """Up to `count` new replicas; where the next has no place, one that makes way for it is noted."""
        for _ in range(count):
            claim = self.starter.start(want) if self._may_stand_beside(want) else None
            if claim is None:
                self._make_way(want)
                return
            self.started.append(claim)
            yield claim

    def _may_stand_beside(self, want: Want) -> bool:
        if self.rules.single_writer:
            return not self.there and not self.started
        if self.rules.max_surge is None:
            return True
        here = sum(claim.site == want.site for claim in (*self.there, *self.started))
        return here < want.count + self.rules.max_surge

    def _make_way(self, want: Want) -> None:
        places, pacing = self.starter.places, self.starter.pacing
        if not pacing.may(want.service, want.site, want.digest):
            return
        if self.rules.single_writer:
            self._make_way_for_only_one(want)
            return
        here = [claim for claim in self.there if claim.site == want.site]
        under_way = any(claim.phase is ClaimPhase.DRAINING for claim in here) or any(
            claim.site == want.site and not self.serves(claim) for claim in self.kept
        )
        if not self.rules.in_place or under_way or any(one.site == want.site for one in self.started):
            return
        if self.rules.max_surge is None and places.has_room(want.site, want.need, coming=True):
            return
        old = [claim for claim in self.surplus if claim.site == want.site and places.would_fit(want.need, claim)]
        if old:
            self.making_way.add(min(old, key=lambda claim: (self.serves(claim), claim.id)).id)

    def _make_way_for_only_one(self, want: Want) -> None:
        """All of it goes before the next starts, but for what nobody can tell to go: that is waited for."""
        fits = self.starter.places.has_room(want.site, want.need) or any(
            claim.site == want.site and self.starter.places.would_fit(want.need, claim) for claim in self.surplus
        )
        if fits and not any(map(self.silent, self.there)):
            self.making_way |= {claim.id for claim in self.surplus}
