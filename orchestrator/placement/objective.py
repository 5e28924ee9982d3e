"""What plans are compared by: their cost, less what hysteresis leaves to what runs, plus what preferences ask for.

`Costs` are what an operator is told; this is what the planner minimises, so that one sum orders all plans:

- what runs counts less by `min_gain`: its replicas that stay, and the calls that are given to it. So another site takes
  its place only where that is better by more;
- a call to a less preferred site counts more than any difference in cost between sites, for each step of preference;
- a zone that nobody calls yet counts as if it called once a minute, so that its place is looked for too.

Rules that cannot be kept are no part of the sum: see `Score`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import Shortfall
from orchestrator.model.specs import DemandSpec, ServiceSpec
from orchestrator.placement.candidates import Candidate, Field
from orchestrator.placement.costs import changes_usd_per_hour, unserved_usd_per_hour
from orchestrator.placement.filling import Filling
from orchestrator.placement.ledger import Ledger

# One call a minute.
IDLE_RPS = 1 / 60
# A plan is better than another if it is by more than this part: sums of floats are not exact.
CLEARLY = 1e-6


def counted_rps(demand: DemandSpec) -> float:
    return max(demand.rate_rps, IDLE_RPS)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What one service's choices count, in USD per hour; rates in calls per second."""

    service: ServiceSpec
    live: int  # replicas of any version that run
    step_usd: float  # of one call per second to a site that is preferred one step less than another in reach
    steps: Mapping[tuple[ZoneName, SiteName], int]

    @property
    def stop_usd(self) -> float:
        return changes_usd_per_hour(0, 1, self.service.policy)

    def kept_usd(self, candidate: Candidate) -> float:
        """Of a replica that runs and stays."""
        return candidate.replica_usd_per_hour * (1 - self.service.policy.min_gain)

    def added_usd(self, candidate: Candidate) -> float:
        return candidate.replica_usd_per_hour + changes_usd_per_hour(1, 0, self.service.policy)

    def call_usd(self, candidate: Candidate, zone: ZoneName) -> float:
        gain = self.service.policy.min_gain if candidate.running else 0.0
        charge = self.step_usd * self.steps.get((zone, candidate.site.name), 0)
        return candidate.arcs[zone].call.total * (1 - gain) + charge

    def unserved_usd(self, zone: ZoneName) -> float:
        """Not less preferred than any site: what is in reach is used where it is worth its cost."""
        worst = max((steps for (of, _), steps in self.steps.items() if of == zone), default=0)
        return unserved_usd_per_hour(1.0, self.service.policy) + self.step_usd * worst

    def usd_per_hour(self, filled: Filling) -> float:
        """Of a whole plan of this service."""
        total, kept = 0.0, 0
        for site, count in sorted(filled.replicas.items()):
            candidate = filled.candidates[site]
            stays = min(count, filled.ledger.running(self.service, site, candidate.variant))
            total += stays * self.kept_usd(candidate) + (count - stays) * self.added_usd(candidate)
            kept += stays
        rates = {demand.zone: counted_rps(demand) for demand in self.service.demands}
        for (zone, site), share in sorted(filled.shares.items()):
            total += share * rates[zone] * self.call_usd(filled.candidates[site], zone)
        return total + (self.live - kept) * self.stop_usd + self.lost_usd_per_hour(filled)

    def lost_usd_per_hour(self, filled: Filling) -> float:
        """Of calls that nobody takes."""
        rates = {demand.zone: counted_rps(demand) for demand in self.service.demands}
        return sum(share * rates[zone] * self.unserved_usd(zone) for zone, share in sorted(filled.left.items()))


def tariff_of(service: ServiceSpec, seen: Field, ledger: Ledger) -> Tariff:
    candidates = [seen.candidates[site] for site in sorted(seen.candidates)]
    levels = sorted({(c.held, c.preference) for c in candidates}, reverse=True)
    steps: dict[tuple[ZoneName, SiteName], int] = {}
    for demand in service.demands:
        reach = [c for c in candidates if demand.zone in c.arcs]
        best = min((levels.index((c.held, c.preference)) for c in reach), default=0)
        for c in reach:
            steps[demand.zone, c.site.name] = levels.index((c.held, c.preference)) - best
    dearest = max((c.usd_per_hour for c in candidates), default=0.0)
    rate_rps = math.fsum(counted_rps(demand) for demand in service.demands)
    # Twice the dearest site as a whole, and a dollar: above every difference, also where everything is free.
    step_usd = (2 * dearest + 1) / rate_rps if len(levels) > 1 else 0.0
    return Tariff(service, len(ledger.live(service.ref)), step_usd, steps)


@dataclass(frozen=True, slots=True)
class Score:
    """A plan: its sum, what of it are lost calls, and by how much it misses rules that it could not keep."""

    usd_per_hour: float = 0.0
    lost_usd_per_hour: float = 0.0
    missed: Mapping[tuple[str, str], float] = field(default_factory=dict)  # by service and rule

    def __add__(self, other: "Score") -> "Score":
        """Of other services."""
        return Score(
            self.usd_per_hour + other.usd_per_hour,
            self.lost_usd_per_hour + other.lost_usd_per_hour,
            {**self.missed, **other.missed},
        )

    def better_than(self, other: "Score") -> bool:
        """No rule is missed by more, and the sum is clearly less; or it is no more, and a rule is missed by less.

        Calls come before rules, as they do for greed: who loses fewer, for less, may miss more.
        """
        clearly = CLEARLY * abs(other.usd_per_hour) + 1e-9
        less, fewer = other.usd_per_hour - self.usd_per_hour, other.lost_usd_per_hour - self.lost_usd_per_hour
        if self.misses_more_than(other):
            return less > clearly and fewer > clearly
        return less > clearly or (less >= -clearly and other.misses_more_than(self))

    def misses_more_than(self, other: "Score") -> bool:
        return any(missed > other.missed.get(rule, 0.0) + CLEARLY for rule, missed in self.missed.items())


def missed_of(service: ServiceSpec, shortfalls: tuple[Shortfall, ...]) -> dict[tuple[str, str], float]:
    missed: dict[tuple[str, str], float] = {}
    for one in shortfalls:
        key = str(service.ref), one.rule
        missed[key] = missed.get(key, 0.0) + max(one.wanted - one.actual, 0.0)
    return missed
