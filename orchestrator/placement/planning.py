"""Services of one priority, planned greedily and together, and what no plan of them can undercut."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.snapshot import PlacementSettings, ShadowPrice, Shortfall
from orchestrator.model.specs import ServiceSpec, SiteSpec
from orchestrator.placement.candidates import Field, Paths, refit, survey
from orchestrator.placement.caps import ByCost, ByCount, ByDomains, ByQuota, Cap
from orchestrator.placement.filling import Filling
from orchestrator.placement.joint.problem import Member, gather
from orchestrator.placement.joint.solving import solve
from orchestrator.placement.ledger import Ledger
from orchestrator.placement.objective import Score, missed_of
from orchestrator.placement.outline import Outline
from orchestrator.placement.shortfalls import shortfalls_of
from orchestrator.placement.survival import Survival


@dataclass(frozen=True, slots=True)
class Planned:
    """One service's part of a plan."""

    service: ServiceSpec
    seen: Field
    filled: Filling
    shortfalls: tuple[Shortfall, ...]
    score: Score


@dataclass(frozen=True, slots=True)
class Plan:
    """Of all services of one priority; `ledger` is as the plan leaves it."""

    services: tuple[Planned, ...]
    ledger: Ledger

    @property
    def score(self) -> Score:
        return sum((one.score for one in self.services), Score())


@dataclass(frozen=True, slots=True)
class Bounded:
    plan: Plan
    bound_usd_per_hour: float
    bound: str
    prices: tuple[ShadowPrice, ...]


@dataclass(frozen=True, slots=True)
class Planner:
    sites: Mapping[SiteName, SiteSpec]
    paths: Paths
    settings: PlacementSettings
    seed: int

    def plan(self, services: Sequence[ServiceSpec], ledger: Ledger) -> Bounded:
        """The better of what greed finds and what a solver finds."""
        seen = [survey(service, self.sites, self.paths, ledger, self.settings) for service in services]
        problem = gather(services, seen, ledger)
        members = problem.members
        greedy = self._carry_out(members, ledger, {})
        found, plan = solve(problem, self.seed, self.settings.most_pairs_exactly), greedy
        if found.outlines:
            outlines = {service.ref: outline for service, outline in zip(services, found.outlines, strict=True)}
            together = self._carry_out(members, ledger, outlines)
            plan = _better(together, greedy)
            lost = {a.service.ref for a, b in _pairwise(greedy, together) if _is_lost(a.score, b.score)}
            if 0 < len(lost) < len(services):
                # What caps took from an outline may leave its service worse off: greed may serve those better.
                kept = {ref: outline for ref, outline in outlines.items() if ref not in lost}
                plan = _better(self._carry_out(members, ledger, kept), plan)
        # The solver's numbers are a little rounded: a bound above a plan is that plan's own sum.
        bound_usd_per_hour = min(found.bound_usd_per_hour, plan.score.usd_per_hour)
        priority = services[0].policy.priority
        prices = tuple(replace(price, priority=priority) for price in found.prices)
        return Bounded(plan, bound_usd_per_hour, found.bound, prices)

    def _carry_out(self, members: Sequence[Member], before: Ledger, outlines: Mapping[ServiceRef, Outline]) -> Plan:
        """In the services' order, each by its outline or greedily."""
        ledger = before.copy()
        ledger.reserved.update(outlines)
        planned: list[Planned] = []
        for member in members:
            service, tariff = member.service, member.tariff
            outline = ledger.reserved.pop(service.ref, None)
            now = refit(member.seen, service, self.sites, self.paths, ledger, self.settings)
            filled, survival = _fill(service, now, ledger, outline)
            shortfalls = shortfalls_of(now, filled, survival)
            missed = missed_of(service, shortfalls)
            score = Score(tariff.usd_per_hour(filled), tariff.lost_usd_per_hour(filled), missed)
            planned.append(Planned(service, now, filled, shortfalls, score))
            take_places(service, now, filled, ledger)
        return Plan(tuple(planned), ledger)


def _better(one: Plan, other: Plan) -> Plan:
    """The other where both are equal."""
    return one if one.score.better_than(other.score) else other


def _is_lost(greedy: Score, together: Score) -> bool:
    return not together.better_than(greedy) and (together.misses_more_than(greedy) or greedy.better_than(together))


def _pairwise(one: Plan, other: Plan) -> Iterator[tuple[Planned, Planned]]:
    return zip(one.services, other.services, strict=True)


def _fill(service: ServiceSpec, seen: Field, ledger: Ledger, outline: Outline | None) -> tuple[Filling, Survival]:
    caps: list[Cap] = [ByCount(), ByDomains(), ByCost(), ByQuota(ledger.quota_left(service))]
    filled = Filling(service, seen.candidates, ledger, caps)
    filled.hold()
    if outline is None:
        filled.serve()
    else:
        filled.follow(outline)
    filled.stand_by()
    survival = Survival(filled)
    if service.policy.survive_site_losses:
        survival.reserve()
    if outline is not None:
        filled.account()
    return filled, survival


def take_places(service: ServiceSpec, seen: Field, filled: Filling, ledger: Ledger) -> None:
    for site, count in sorted(filled.replicas.items()):
        candidate = seen.candidates[site]
        ledger.take(service, candidate.site, candidate.variant, count)
    ledger.planned[service.ref] = frozenset(filled.replicas)
