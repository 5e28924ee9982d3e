"""Services of one priority, planned greedily and together, and what no plan of them can undercut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.snapshot import PlacementSettings, ShadowPrice, Shortfall
from orchestrator.model.specs import ServiceSpec, SiteSpec
from orchestrator.placement.candidates import Field, Paths, refit, survey
from orchestrator.placement.caps import ByCost, ByCount, ByDomains, ByQuota, Cap
from orchestrator.placement.filling import Filling
from orchestrator.placement.joint.problem import gather
from orchestrator.placement.joint.solving import solve
from orchestrator.placement.ledger import Ledger
from orchestrator.placement.objective import Score, missed_of, tariff_of
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


@dataclass(frozen=True, slots=True)
class Plan:
    """Of all services of one priority; `ledger` is as the plan leaves it."""

    services: tuple[Planned, ...]
    ledger: Ledger
    score: Score


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
        greedy = self._carry_out(services, seen, ledger, {})
        problem = gather(services, seen, ledger)
        found, plan = solve(problem, self.seed), greedy
        if found.outlines:
            outlines = {service.ref: outline for service, outline in zip(services, found.outlines, strict=True)}
            together = self._carry_out(services, seen, ledger, outlines)
            plan = together if together.score.better_than(greedy.score) else greedy
        # The solver's numbers are a little rounded: a bound above a plan is that plan's own sum.
        bound_usd_per_hour = min(found.bound_usd_per_hour, plan.score.usd_per_hour)
        return Bounded(plan, bound_usd_per_hour, found.bound, found.prices)

    def _carry_out(
        self,
        services: Sequence[ServiceSpec],
        seen: Sequence[Field],
        before: Ledger,
        outlines: Mapping[ServiceRef, Outline],
    ) -> Plan:
        """In the services' order, each by its outline or greedily."""
        ledger = before.copy()
        ledger.reserved.update(outlines)
        planned: list[Planned] = []
        usd_per_hour, missed = 0.0, dict[tuple[str, str], float]()
        for service, at_first in zip(services, seen, strict=True):
            outline = ledger.reserved.pop(service.ref, None)
            tariff = tariff_of(service, at_first, ledger)
            now = refit(at_first, service, self.sites, self.paths, ledger, self.settings)
            filled, survival = _fill(service, now, ledger, outline)
            shortfalls = shortfalls_of(now, filled, survival)
            planned.append(Planned(service, now, filled, shortfalls))
            usd_per_hour += tariff.usd_per_hour(filled)
            missed |= missed_of(service, shortfalls)
            _take(service, now, filled, ledger)
        return Plan(tuple(planned), ledger, Score(usd_per_hour, missed))


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


def _take(service: ServiceSpec, seen: Field, filled: Filling, ledger: Ledger) -> None:
    for site, count in sorted(filled.replicas.items()):
        candidate = seen.candidates[site]
        ledger.take(service, candidate.site, candidate.variant, count)
    ledger.planned[service.ref] = frozenset(filled.replicas)
