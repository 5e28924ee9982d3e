"""`replan`: after an event only what it touches is planned anew; all else keeps what it has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.snapshot import (
    Decision,
    PlacementSettings,
    Refusal,
    RefusedSite,
    ServiceDecision,
    ShadowPrice,
    Snapshot,
)
from orchestrator.model.specs import ServiceSpec
from orchestrator.placement.changes import Cause, changes
from orchestrator.placement.holding import EXACT, Keeper
from orchestrator.placement.ledger import ledger_of
from orchestrator.placement.placing import by_ends, place, service_decision
from orchestrator.placement.planning import Bounded, Planner

# Above this part of the services the others' ties are worth less than one plan of all.
MOST_AFFECTED = 0.5
# How often those that stand in the way of the affected ones are planned with them.
ROUNDS = 2
OF_PART = "of the services planned anew: "
# What others that keep their places may have taken from a service.
_TAKEN = frozenset({Refusal.MEMORY, Refusal.COMPUTE, Refusal.BANDWIDTH, Refusal.ANTI_AFFINITY, Refusal.QUOTA})


@dataclass(frozen=True, slots=True)
class Replanned:
    """`causes`: of each service that was planned anew, unless all were (`in_full`)."""

    decision: Decision
    causes: Mapping[ServiceRef, Cause]
    in_full: bool


def replan(before: Snapshot, decided: Decision, now: Snapshot, settings: PlacementSettings, seed: int) -> Decision:
    """As `place(now, ...)`, but services that nothing touches stay as they are. Never raises.

    See `replanned`, which also says who was planned anew, and why.
    """
    return replanned(before, decided, now, settings, seed).decision


def affected(
    before: Snapshot, decided: Decision, now: Snapshot, settings: PlacementSettings
) -> dict[ServiceRef, Cause]:
    """Services that cannot keep what `decided` gave them, or may have better; the first cause of each.

    Those that must make way for them are not known before these are planned: see `replanned`.
    """
    return _Fleet.of(before, decided, now, settings).round({}, None).causes


def replanned(before: Snapshot, decided: Decision, now: Snapshot, settings: PlacementSettings, seed: int) -> Replanned:
    """`decided` was made of `before`, which may be a while ago: small changes count by their sum.

    For each priority, highest first, services that can keep their places take them; the affected ones are planned in
    what is left, greedily and together as in `place`. Whom they displace is of a lower priority, and planned in its
    turn. Where an affected service lacks what it had, and others of its priority stand in its way, these are planned
    with it. When most services cannot stay, `place` plans all.

    Services that keep their places keep their refusals, next bests and reasons of the time when they were planned,
    which know no site that joined since; figures of what they keep are of today. So is the objective. Its lower bound
    holds the others fixed: nothing is better for the services planned anew while the others stay as they are; its name
    says so. Prices are of those services too. Nobody affected: objective, bound and prices stay.
    """
    refs = {service.ref for service in now.services}
    most = MOST_AFFECTED * len(refs)
    fleet = _Fleet.of(before, decided, now, settings)
    kept = fleet.round({}, None)
    causes = kept.causes
    if not causes and refs == {one.service for one in decided.services}:
        return Replanned(replace(decided, services=kept.services(), usd_per_hour=kept.usd_per_hour), {}, False)
    for _ in range(ROUNDS):
        if _forced(causes) > most:
            break
        found = fleet.round(causes, seed)
        in_the_way = fleet.in_the_way(found)
        if not in_the_way and _forced(found.causes) <= most:
            return Replanned(found.decision(), found.causes, False)
        causes = found.causes | dict.fromkeys(in_the_way, Cause.IN_THE_WAY)
    return Replanned(place(now, settings, seed), causes, True)


@dataclass(slots=True)
class _Round:
    causes: dict[ServiceRef, Cause] = field(default_factory=dict)
    anew: list[ServiceDecision] = field(default_factory=list)
    kept: list[ServiceDecision] = field(default_factory=list)
    objective_usd_per_hour: float = 0.0
    bound_usd_per_hour: float = 0.0
    bounds: set[str] = field(default_factory=set)
    prices: list[ShadowPrice] = field(default_factory=list)

    def add(self, found: Bounded, sites: list[SiteName]) -> None:
        self.anew += [service_decision(planned, sites) for planned in found.plan.services]
        self.objective_usd_per_hour += found.plan.score.usd_per_hour
        self.bound_usd_per_hour += found.bound_usd_per_hour
        self.bounds |= {found.bound}
        self.prices += found.prices

    def services(self) -> tuple[ServiceDecision, ...]:
        return tuple(sorted((*self.anew, *self.kept), key=lambda decision: decision.service))

    @property
    def usd_per_hour(self) -> float:
        return sum(decision.usd_per_hour for decision in self.services())

    def decision(self) -> Decision:
        bound = ", ".join(sorted(self.bounds))
        return Decision(
            services=self.services(),
            usd_per_hour=self.usd_per_hour,
            objective_usd_per_hour=self.objective_usd_per_hour,
            lower_bound_usd_per_hour=self.bound_usd_per_hour,
            bound=OF_PART + (bound or "none") if self.kept else bound,
            prices=tuple(self.prices),
        )


@dataclass(frozen=True, slots=True)
class _Fleet:
    now: Snapshot
    services: Sequence[ServiceSpec]  # in the order in which they are planned
    keeper: Keeper

    @classmethod
    def of(cls, before: Snapshot, decided: Decision, now: Snapshot, settings: PlacementSettings) -> "_Fleet":
        services = sorted(now.services, key=lambda service: (-service.policy.priority, service.ref))
        sites = {site.name: site for site in sorted(now.sites, key=lambda site: site.name)}
        then = {one.service: one for one in decided.services}
        return cls(now, services, Keeper(sites, by_ends(now), settings, changes(before, now), then))

    def round(self, told: Mapping[ServiceRef, Cause], seed: int | None) -> _Round:
        """Plans those of whom it is told, and those who then cannot stay. Without a seed it plans nobody."""
        keeper, found = self.keeper, _Round()
        ledger = ledger_of(keeper.sites, self.services, self.now.claims, self.now.quotas)
        disturbed = set(keeper.changed.disturbed)
        for _, members in groupby(self.services, key=lambda service: service.policy.priority):
            group = [(service, told.get(service.ref) or keeper.affected(service)) for service in members]
            # Rivals are kept from where these are to be, as they were when all were planned together.
            ledger.reserved = {service.ref: keeper.outline(service) for service, cause in group if cause is None}
            anew: list[ServiceSpec] = []
            for service, cause in group:
                if cause is None:
                    del ledger.reserved[service.ref]
                    kept = keeper.keep(service, ledger, disturbed)
                    if not isinstance(kept, Cause):
                        found.kept.append(kept.decision)
                        found.objective_usd_per_hour += kept.usd_per_hour
                        found.bound_usd_per_hour += kept.usd_per_hour
                        continue
                    # All other causes were told: what is new is that a higher priority was planned.
                    cause = kept if seed is None else Cause.OUTBID
                found.causes[service.ref] = cause
                anew.append(service)
            if anew and seed is not None:
                planner = Planner(keeper.sites, keeper.paths, keeper.settings, seed)
                bounded = planner.plan(anew, ledger)
                ledger = bounded.plan.ledger
                found.add(bounded, list(keeper.sites))
                disturbed |= {site for planned in bounded.plan.services for site in planned.filled.replicas}
        return found

    def in_the_way(self, found: _Round) -> set[ServiceRef]:
        """Services that keep their places where one of their priority, planned anew, lacks what it had or asks for.

        What runs makes way for nobody of its own priority, also where all are planned.
        """
        specs = {service.ref: service for service in self.services}
        holders: dict[tuple[str, str], set[ServiceRef]] = {}
        for kept in found.kept:
            for at in self._holds(specs[kept.service], kept):
                holders.setdefault(at, set()).add(kept.service)
        return {
            ref
            for one in found.anew
            for refused in self._taken(one)
            for ref in holders.get(_where(refused, one.service), ())
            if specs[ref].policy.priority == specs[one.service].policy.priority
        }

    def _holds(self, service: ServiceSpec, kept: ServiceDecision) -> Iterator[tuple[str, str]]:
        for share in kept.shares:
            if share.share > 0:
                yield "link", share.site
        for chosen in kept.chosen:
            if self.keeper.changed.unstarted(service, chosen):
                yield "site", chosen.site
                yield "quota", service.ref.namespace

    def _taken(self, one: ServiceDecision) -> Iterator[RefusedSite]:
        """Sites that others may have kept from what the service lacks."""
        before = self.keeper.decided.get(one.service)
        had = {left.zone: left.share for left in before.unserved} if before else {}
        lost = {left.zone for left in one.unserved if left.share > had.get(left.zone, 0.0) + EXACT}
        if _missing(one) > (_missing(before) if before else 0.0) + EXACT:
            lost |= {share.zone for share in one.shares} | {left.zone for left in one.unserved}
        nearest = (left.nearest for left in one.unserved if left.nearest)
        for refused in (*one.refused, *nearest):
            reach = self.keeper.paths.get(refused.site, {}).keys() & lost
            if refused.reason in _TAKEN and (reach if refused.zone is None else refused.zone in reach):
                yield refused


def _forced(causes: Mapping[ServiceRef, Cause]) -> int:
    """Services that cannot stay; the others only may have better."""
    return sum(cause is not Cause.GAIN for cause in causes.values())


def _where(refused: RefusedSite, service: ServiceRef) -> tuple[str, str]:
    """What others hold of what was refused."""
    match refused.reason:
        case Refusal.QUOTA:
            return "quota", service.namespace
        case Refusal.BANDWIDTH:
            return "link", refused.site
        case _:
            return "site", refused.site


def _missing(decided: ServiceDecision) -> float:
    return sum(max(one.wanted - one.actual, 0.0) for one in decided.shortfalls)
