"""What a decision's prices prove: no plan of these services costs less.

The Lagrangian: each limit that has a price may be passed, at that price, and so may "each call is served once". What
then remains falls apart into one small question for each service and site: how many replicas pay for themselves? Any
prices of at least 0 prove something; good ones prove nearly all.

Priorities are planned one after the other, so that each has its own prices and its own sum, beside what the higher
ones hold. Left out, which makes the proof weaker and never wrong: rules that ask for more replicas than calls do, but
for `replicas.min`; services of one priority that are kept apart; and what preferences and freezes add.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision
from orchestrator.model.specs import DemandSpec, SiteKind, SiteSpec, Variant, VariantSpec
from orchestrator.placement.audits.case import TOLERANCE, Case, Scene, is_of, live, passes_residency
from orchestrator.placement.audits.costing import IDLE_RPS, running
from orchestrator.placement.audits.formulas import (
    HOUR_S,
    carried_rps,
    egress_usd_per_call,
    is_backwards,
    price_usd_per_hour,
    response,
)
from orchestrator.placement.audits.policies import forbidden, rivals, shares_place
from orchestrator.placement.audits.traffic import Link, Load, loads, wan_bits

MIB = 1 << 20
# Of the prices of a service's calls, what is tried.
PARTS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.0)
# Where nobody said what accuracy suffices; else what takes least memory.
PRECISE_FIRST = (Variant.LITERT_FP32, Variant.LITERT_FP16, Variant.LITERT_INT8, Variant.SAVEDMODEL)
Constraint = tuple[str, ...]


def check_bound(scene: Scene, decision: Decision, objective_usd_per_hour: float) -> float:
    """The proven bound, USD per hour. What proves more than the decision costs is said: then its sum is not honest."""
    wrong = [price for price in decision.prices if not 0 <= price.usd_per_hour < math.inf]
    for price in wrong:
        scene.say("prices", " ".join(price.constraint), price.usd_per_hour, "a number of at least 0")
    if wrong:
        return 0.0
    proven = 0.0
    cases = sorted(scene.cases.values(), key=lambda case: case.turn)
    for priority, group in groupby(cases, key=lambda case: case.spec.policy.priority):
        usd = {price.constraint: price.usd_per_hour for price in decision.prices if price.priority == priority}
        proven += max(_Proof(scene, list(group), usd).usd_per_hour(), 0.0)
    scene.over("prices", "decision", proven, objective_usd_per_hour)
    return proven


@dataclass(frozen=True, slots=True)
class _Way:
    """A zone's calls to a site: what all of them cost there, with links' prices, and what they load replicas with."""

    demand: DemandSpec
    usd_per_hour: float
    load_rps: float


@dataclass(frozen=True, slots=True)
class _Place:
    """What a service may do at a site: `runs` of its replicas stay for less; `borne` are borne in all."""

    ways: tuple[_Way, ...]
    replica_rps: float
    kept_usd: float  # of one replica, with limits' prices, less the stop that it saves
    added_usd: float
    runs: int
    borne: int

    def gained_usd(self, demand_usd: Mapping[ZoneName, float]) -> float:
        """At these prices of all calls of a zone: the most that any number of replicas is worth beyond its cost."""
        offers = [(demand_usd[way.demand.zone] - way.usd_per_hour, way.load_rps) for way in self.ways]
        offers = sorted((o for o in offers if o[0] > 0), key=lambda o: -o[0] / max(o[1], 1e-300))
        load_rps = math.fsum(rps for _, rps in offers)
        most = max(math.ceil(load_rps / self.replica_rps), self.runs, 1 if offers else 0)
        if self.added_usd < 0:
            most = self.borne  # `replicas.min` pays for a replica that no call needs
        best = total = before = 0.0
        for number in range(1, min(most, self.borne) + 1):
            upto = _worth(offers, number * self.replica_rps)
            total += upto - before - (self.kept_usd if number <= self.runs else self.added_usd)
            best, before = max(best, total), upto
        return best


@dataclass(slots=True)
class _Proof:
    """Of the services of one priority. `limits`: what bears the calls that a price is of, bits/s of each link."""

    scene: Scene
    cases: Sequence[Case]
    usd: Mapping[Constraint, float]
    runs: dict[ServiceRef, Mapping[SiteName, int]] = field(default_factory=dict)  # replicas of any version
    taken: dict[SiteName, Resources] = field(default_factory=dict)  # by what higher priorities start
    used_bps: dict[Link, float] = field(default_factory=dict)  # by their calls
    left: dict[str, Resources] = field(default_factory=dict)  # of each quota, by what they leave
    rooms: dict[SiteName, Sequence[tuple[NodeName | None, Resources]]] = field(default_factory=dict)
    limits: dict[Constraint, dict[Link, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = {case.ref: running(self.scene, case.ref) for case in self.cases}
        self.left = {f"{quota.namespace}/{quota.name}": quota.limit for quota in self.scene.snapshot.quotas}
        for case in self._higher():
            for name, held in case.held.items():
                for quota in self._quotas_of(case):
                    self.left[quota] -= held.variant.need * held.count
                started = held.variant.need * (held.count - held.kept)
                self.taken[name] = self.taken.get(name, Resources()) + started
            for arc in case.arcs:
                for _, load in _loads(self.scene, None, arc.path, arc.demand):
                    self.used_bps[load.link] = self.used_bps.get(load.link, 0.0) + load.bits * arc.rate_rps
        self.rooms = {name: tuple(self._rooms(site)) for name, site in self.scene.sites.items()}

    def usd_per_hour(self) -> float:
        served = math.fsum(self._served_usd(case) for case in self.cases)
        return served - math.fsum(self._limits_usd())

    def _served_usd(self, case: Case) -> float:
        """The least that one service costs, at these prices of limits.

        Prices of its calls may be any: where a decision's own are too high, as where they hold what a freeze or a
        preference adds, a part of them proves more.
        """
        higher = {other.ref for other in self._higher()}
        apart = [(one, within) for one, within in rivals(self.scene, case) if one in higher]
        sites = [s for s in self.scene.sites.values() if not any(shares_place(self.scene, s, *one) for one in apart)]
        places = [place for site in sites for place in self._places(case, site)]
        reached = {way.demand.zone for place in places for way in place.ways}
        most_usd = HOUR_S * case.spec.policy.usd_per_unserved_call
        hopeless = sum(most_usd * _counted_rps(d) for d in case.spec.demands if d.zone not in reached)
        best = -math.inf
        for part in PARTS:
            demand_usd = {
                demand.zone: _counted_rps(demand)
                * min(part * self.usd.get(("demand", str(case.ref), demand.zone), 0.0), most_usd)
                for demand in case.spec.demands
                if demand.zone in reached
            }
            gained = math.fsum(place.gained_usd(demand_usd) for place in places)
            best = max(best, math.fsum(demand_usd.values()) - gained)
        return best + hopeless + sum(self.runs[case.ref].values()) * _stop_usd(case)

    # ---- what a service may do at a site

    def _places(self, case: Case, site: SiteSpec) -> Iterator[_Place]:
        """With the variant that the rule names for what others leave of the site, and with what the decision has."""
        accuracy, held = case.spec.policy.accuracy_min, case.held.get(site.name)
        fit = [
            one
            for one in case.spec.version.variants_on(site.hardware_class)
            if self._borne(case, site, one) and not any(forbidden(self.scene, case.spec, site, one))
        ]
        precise = sorted(fit, key=lambda one: PRECISE_FIRST.index(one.variant))
        small = sorted(precise, key=lambda one: (one.need.memory_bytes, one.service_p50_ms))
        for variant in precise if accuracy is None else small:
            place = self._place(case, site, variant)
            if place.ways or (held is not None and held.variant == variant):
                yield place
                if held is None or held.variant == variant:
                    break

    def _place(self, case: Case, site: SiteSpec, variant: VariantSpec) -> _Place:
        policy, price = case.spec.policy, price_usd_per_hour(site, variant)
        charge, runs = self._charge_usd(case, variant, price), self._runs(case, site, variant)
        return _Place(
            ways=tuple(self._ways(case, site, variant)),
            replica_rps=carried_rps(variant, self.scene.settings),
            kept_usd=price * (1 - policy.min_gain) - _stop_usd(case) + charge,
            added_usd=price + policy.usd_per_start * HOUR_S / policy.horizon_s + charge + self._room_usd(site, variant),
            runs=runs,
            borne=self._borne(case, site, variant),
        )

    def _ways(self, case: Case, site: SiteSpec, variant: VariantSpec) -> Iterator[_Way]:
        """Each zone's quickest path that is allowed."""
        policy = case.spec.policy
        gain = policy.min_gain if self.runs[case.ref].get(site.name) else 0.0
        for demand in case.spec.demands:
            paths = self.scene.paths.get((demand.zone, site.name), ())
            found = [(response(one, demand, variant, self.scene.settings).expected, at) for at, one in enumerate(paths)]
            allowed = [(ms, at) for ms, at in sorted(found) if self._is_allowed(case, site, paths[at], ms)]
            if not allowed:
                continue
            expected_ms, path = allowed[0][0], paths[allowed[0][1]]
            links_usd = self._links_usd(case, path, demand)
            if links_usd is None:
                continue
            region = self.scene.sites.get(path.transit) if path.transit else None
            egress = HOUR_S * egress_usd_per_call(path, demand, region, site)
            usd = (egress + expected_ms / 1000 * policy.usd_per_hour_waited) * (1 - gain) * _counted_rps(demand)
            usd += links_usd * demand.rate_rps + self._domain_usd(case, site) * case.part(demand)
            yield _Way(demand, usd, demand.rate_rps)

    def _is_allowed(self, case: Case, site: SiteSpec, path: Path, expected_ms: float) -> bool:
        policy = case.spec.policy
        if not passes_residency(self.scene, case, path):
            return False
        if policy.latency_p99_ms is None or (case.spec.freeze is not None and self.runs[case.ref].get(site.name)):
            return True
        age_s = max((leg.age_s for leg in path.legs), default=0.0)
        return expected_ms <= policy.latency_p99_ms * (1 + TOLERANCE) and age_s <= policy.max_sample_age_s

    def _borne(self, case: Case, site: SiteSpec, variant: VariantSpec) -> int:
        """Replicas that the site and the tenant's quotas bear, with those that run."""
        runs = self._runs(case, site, variant)
        rooms = [room for _, room in self.rooms[site.name]]
        whole = sum(rooms, Resources())
        if len(rooms) > 1:
            whole -= self.taken.get(site.name, Resources())
        more = min(sum(variant.need.times_in(room) for room in rooms), variant.need.times_in(whole))
        return min([runs + more, *(variant.need.times_in(self.left[quota]) for quota in self._quotas(case))])

    def _runs(self, case: Case, site: SiteSpec, variant: VariantSpec) -> int:
        return sum(is_of(claim, case.spec, variant) for claim in self.scene.claims.get(site.name, ()))

    def _rooms(self, site: SiteSpec) -> Iterator[tuple[NodeName | None, Resources]]:
        """What is free on each node, or in a region: beside claims and, on a single node, higher priorities'."""
        whole = site.kind is SiteKind.REGION
        rooms = [(None, site.capacity)] if whole else [(node.name, node.capacity) for node in site.nodes]
        staying = [claim for claim in self.scene.claims.get(site.name, ()) if not self._makes_way(claim)]
        for node, room in rooms:
            needs = (claim.need for claim in staying if whole or claim.node == node)
            left = room - sum(needs, Resources())
            yield node, left - self.taken.get(site.name, Resources()) if len(rooms) == 1 else left

    def _makes_way(self, claim: Claim) -> bool:
        """Replicas of lower priorities that are in no freeze. Others hold what they do until this decision is made."""
        owner = self.scene.cases.get(claim.hold.service) if isinstance(claim.hold, ReplicaHold) else None
        if owner is None or not live(claim):
            return False
        return owner.spec.policy.priority < self.cases[0].spec.policy.priority and owner.spec.freeze is None

    # ---- what limits charge

    def _links_usd(self, case: Case, path: Path, demand: DemandSpec) -> float | None:
        """Of one call per second; notes what each link with a price bears. None: some link bears nothing more."""
        total, wan_bps = 0.0, case.spec.policy.wan_bps_per_zone
        for constraint, load in _loads(self.scene, wan_bps, path, demand):
            left_bps = load.limit_bps - self.used_bps.get(load.link, 0.0)
            if load.bits * demand.rate_rps <= 0 or math.isinf(load.limit_bps):
                continue
            if left_bps <= 0:
                return None
            if (price := self.usd.get(constraint, 0.0)) > 0:
                total += price * load.bits / 1e6
                links = self.limits.setdefault(constraint, {})
                links[load.link] = max(links.get(load.link, 0.0), left_bps)
        return total

    def _room_usd(self, site: SiteSpec, variant: VariantSpec) -> float:
        """Of one replica more, at the node where it is charged least."""
        memory_mib, cores = variant.need.memory_bytes / MIB, variant.need.compute_millis / 1000
        return min(
            (
                memory_mib * self.usd.get(("memory", site.name, node or ""), 0.0)
                + cores * self.usd.get(("compute", site.name, node or ""), 0.0)
                for node, room in self.rooms[site.name]
                if variant.need.fits_in(room)
            ),
            default=0.0,
        )

    def _charge_usd(self, case: Case, variant: VariantSpec, price: float) -> float:
        """Of one replica, by what its service and its tenant may hold."""
        memory_mib, cores = variant.need.memory_bytes / MIB, variant.need.compute_millis / 1000
        charge = -self.usd.get(("replicas.min", str(case.ref)), 0.0)
        if case.spec.freeze is None:
            charge += self.usd.get(("replicas.max", str(case.ref)), 0.0)
            if case.spec.policy.max_usd_per_hour is not None:
                charge += price * self.usd.get(("cost.max_usd_per_hour", str(case.ref)), 0.0)
        for quota in self._quotas(case):
            charge += memory_mib * self.usd.get(("quota.memory", quota), 0.0)
            charge += cores * self.usd.get(("quota.compute", quota), 0.0)
        return charge

    def _quotas(self, case: Case) -> Iterator[str]:
        """Of its namespace, unless somebody there is in a freeze, and may hold more."""
        frozen = any(one.spec.freeze for one in self.cases if one.ref.namespace == case.ref.namespace)
        return iter(()) if frozen else self._quotas_of(case)

    def _quotas_of(self, case: Case) -> Iterator[str]:
        for quota in self.scene.snapshot.quotas:
            if quota.namespace == case.ref.namespace:
                yield f"{quota.namespace}/{quota.name}"

    def _domain_usd(self, case: Case, site: SiteSpec) -> float:
        if case.spec.freeze is not None:
            return 0.0
        return self.usd.get(("replicas.max_share_per_domain", str(case.ref), site.failure_domain), 0.0)

    def _limits_usd(self) -> Iterator[float]:
        """Price x limit of all that is charged above. Links: after `_links_usd` has seen every path."""
        for constraint, links in self.limits.items():
            yield self.usd[constraint] * sum(links.values()) / 1e6
        for site in self.scene.sites.values():
            memory_usd: list[float] = []
            compute_usd: list[float] = []
            for node, room in self.rooms[site.name]:
                memory_usd.append(self.usd.get(("memory", site.name, node or ""), 0.0))
                compute_usd.append(self.usd.get(("compute", site.name, node or ""), 0.0))
                yield memory_usd[-1] * max(room.memory_bytes, 0) / MIB
                yield compute_usd[-1] * max(room.compute_millis, 0) / 1000
            if len(memory_usd) > 1 and (taken := self.taken.get(site.name)):
                # Whichever nodes they are on, they leave at least so much less to pay for.
                yield -min(memory_usd) * taken.memory_bytes / MIB - min(compute_usd) * taken.compute_millis / 1000
        for case in self.cases:
            name, policy = str(case.ref), case.spec.policy
            yield self.usd.get(("replicas.max", name), 0.0) * policy.replicas_max
            yield self.usd.get(("cost.max_usd_per_hour", name), 0.0) * (policy.max_usd_per_hour or 0.0)
            # A plan that misses it by more is no rival.
            held = sum(held.count for held in case.held.values())
            yield -self.usd.get(("replicas.min", name), 0.0) * min(policy.replicas_min, held)
            shares = ("replicas.max_share_per_domain", name)
            yield math.fsum(usd for of, usd in self.usd.items() if of[:2] == shares) * policy.max_share_per_domain
        for name, left in self.left.items():
            yield self.usd.get(("quota.memory", name), 0.0) * max(left.memory_bytes, 0) / MIB
            yield self.usd.get(("quota.compute", name), 0.0) * max(left.compute_millis, 0) / 1000

    def _higher(self) -> Iterator[Case]:
        first = min(case.turn for case in self.cases)
        return (case for case in self.scene.cases.values() if case.turn < first)


def _counted_rps(demand: DemandSpec) -> float:
    """A zone that nobody calls counts as one call a minute, and loads nothing."""
    return max(demand.rate_rps, IDLE_RPS)


def _stop_usd(case: Case) -> float:
    return case.spec.policy.usd_per_stop * HOUR_S / case.spec.policy.horizon_s


def _worth(offers: Sequence[tuple[float, float]], most_rps: float) -> float:
    """Of the calls that replicas for so many take: offers of USD and calls per second, the best first."""
    total = 0.0
    for usd, load_rps in offers:
        if load_rps > most_rps:
            return total + usd * most_rps / load_rps
        total, most_rps = total + usd, most_rps - load_rps
    return total


def _loads(scene: Scene, wan_bps: float | None, path: Path, demand: DemandSpec) -> Iterator[tuple[Constraint, Load]]:
    """What each link of a path bears of one call, and what a price of that is called."""
    wan = "wan", path.zone
    yield wan, Load(wan, wan_bits(path, demand), math.inf if wan_bps is None else wan_bps)
    against = {(leg.source, leg.target) for leg in path.legs if is_backwards(leg, path)}
    for load in loads(scene, path, demand):
        match load.link:
            case ("leg", source, target, way):
                # A price is of requests or of answers, wherever the leg was measured from.
                requests = (way == "up") != ((source, target) in against)
                yield ("leg", source, target, "request" if requests else "response"), load
            case ("front", name):
                yield ("front", f"front/{name}"), load
            case _:
                yield load.link, load
