"""A small problem solved whole: every rule of the policies as rows of an integer programme.

Rules that may have to give way (least replicas, domains, pins, N+1) carry a slack that counts more than any replica
and less than a call that nobody takes. Left to the caps of `filling`: links on the day of a loss.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.snapshot import ShadowPrice
from orchestrator.model.specs import Within
from orchestrator.placement.costs import weight
from orchestrator.placement.joint.mip import Mip, Term
from orchestrator.placement.joint.problem import Problem, Stand, outline_of
from orchestrator.placement.joint.totals import Constraint, cost_max, domain_share, quota, replicas_max, replicas_min
from orchestrator.placement.outline import Outline

MIB = 1 << 20
# Beyond so many sites a service's loss of each of them makes too many columns; `survival` then opens what is lacking.
MOST_LOSSES = 12
# Below this a share is rounding.
NOTHING = 1e-7


@dataclass(frozen=True, slots=True)
class Exact:
    """One outline for each member, or none where the effort found no plan.

    `bound_usd_per_hour`: of any plan that misses the rules by no more than this one.
    """

    outlines: Sequence[Outline]
    bound_usd_per_hour: float
    prices: tuple[ShadowPrice, ...]


def solve_exactly(problem: Problem) -> Exact:
    return _Model(problem).solve()


@dataclass(slots=True)
class _Model:
    problem: Problem
    mip: Mip = field(default_factory=Mip)
    kept: list[int] = field(default_factory=list)  # columns of pairs
    added: list[int] = field(default_factory=list)
    shares: list[int] = field(default_factory=list)  # of ways
    unserved: dict[int, int] = field(default_factory=dict)  # of demands that any site may take
    slacks: dict[int, float] = field(default_factory=dict)  # column to cost
    priced: dict[int, tuple[Constraint, float, str]] = field(default_factory=dict)  # row: what, its units in one, unit
    pairs_at: dict[tuple[int, SiteName], list[int]] = field(default_factory=dict)
    ways_at: dict[tuple[int, SiteName], list[int]] = field(default_factory=dict)

    def solve(self) -> Exact:
        self._columns()
        self._coverage()
        self._load()
        self._stands()
        self._links()
        self._purses()
        first = len(self.mip.row_least)
        self._apart()
        for member in range(len(self.problem.members)):
            self._policy(member)
            self._survival(member)
        # What a rule asks for beyond what calls do has no price: without it prices prove what they can.
        asking = {row for row in range(first, len(self.mip.row_least)) if row not in self.priced}
        answer, rest = self.mip.solve(), self._rest()
        if answer is None:
            return Exact((), 0.0, self._prices(rest, asking))
        if rest and sum(usd * value for usd, value in zip(rest, answer.values, strict=True)) <= NOTHING:
            rest = []  # every call is taken: what it would count beyond is no matter
        lost = self.mip.solve(rest) if rest else None
        missed_usd = sum(cost * answer.values[column] for column, cost in self.slacks.items())
        bound = answer.bound + (lost.bound if lost else 0.0) + self._fixed_usd() - missed_usd
        outlines = [self._outline(m, answer.values) for m in range(len(self.problem.members))]
        return Exact(outlines, bound, self._prices(rest, asking))

    def _rest(self) -> list[float]:
        """Of each column what calls that nobody takes count beyond what the solver bore; nothing: it bore it all.

        The least of it is a problem of its own, and both least sums together are below every plan's.
        """
        rest = [0.0] * len(self.mip.cost)
        for number, column in self.unserved.items():
            demand = self.problem.demands[number]
            rest[column] = demand.rate_rps * demand.unserved_usd - self.mip.cost[column]
        return rest if any(usd > NOTHING for usd in rest) else []

    def _fixed_usd(self) -> float:
        """Of every plan: what stops wherever, what runs as if it stopped, calls that no site may take."""
        problem = self.problem
        stopped = sum(pair.running * problem.members[pair.member].tariff.stop_usd for pair in problem.pairs)
        hopeless = sum(
            demand.rate_rps * demand.unserved_usd
            for number, demand in enumerate(problem.demands)
            if number not in self.unserved
        )
        return stopped + hopeless + problem.stopped_elsewhere_usd

    def _prices(self, rest: Sequence[float], asking: Collection[int]) -> tuple[ShadowPrice, ...]:
        """By the relaxation in which replicas may be split."""
        cost = [one + other for one, other in zip(self.mip.cost, rest, strict=True)] if rest else self.mip.cost
        duals = self.mip.duals(cost, asking)
        found = []
        for row, dual in enumerate(duals):
            if row in self.priced and abs(dual) > NOTHING:
                constraint, units, unit = self.priced[row]
                found.append(ShadowPrice(constraint, abs(dual) / units, unit))
        return tuple(sorted(found, key=lambda price: price.constraint))

    # ---- columns

    def _columns(self) -> None:
        for index, pair in enumerate(self.problem.pairs):
            tariff = self.problem.members[pair.member].tariff
            kept_usd = tariff.kept_usd(pair.candidate) - tariff.stop_usd
            self.kept.append(self.mip.column(kept_usd, pair.running, whole=True))
            self.added.append(self.mip.column(tariff.added_usd(pair.candidate), pair.most - pair.running, whole=True))
            self.pairs_at.setdefault((pair.member, pair.stand.site), []).append(index)
        for index, way in enumerate(self.problem.ways):
            self.shares.append(self.mip.column(way.usd * way.rate_rps, 1.0))
            self.ways_at.setdefault((way.member, way.candidate.site.name), []).append(index)

    def _coverage(self) -> None:
        ways_of: dict[int, list[int]] = {}
        for index, way in enumerate(self.problem.ways):
            ways_of.setdefault(way.demand, []).append(index)
        prices = self._unserved_usd(ways_of)
        for number in sorted(ways_of):
            column = self.mip.column(prices[number] * self.problem.demands[number].rate_rps, 1.0)
            self.unserved[number] = column
            row = self.mip.row([(column, 1.0), *((self.shares[way], 1.0) for way in ways_of[number])], 1.0, 1.0)
            demand = self.problem.demands[number]
            service = self.problem.members[demand.member].service.ref
            self.priced[row] = ("demand", str(service), demand.zone), demand.rate_rps * demand.times, "calls/s"

    def _unserved_usd(self, ways_of: Mapping[int, Sequence[int]]) -> dict[int, float]:
        """A dollar a call is millions of times what serving it costs: more than HiGHS' tolerances bear.

        Where the price is far above any cost it is brought down to ten to a hundred times that, in the same order; for
        the bound see `_rest`. The plan is compared by the true prices afterwards.
        """
        problem = self.problem
        highest = max((demand.unserved_usd for demand in problem.demands), default=0.0)
        dearest = max((self._dearest_usd(way) for ways in ways_of.values() for way in ways), default=0.0)
        found = {}
        for number in ways_of:
            usd = problem.demands[number].unserved_usd
            far = dearest / problem.demands[number].rate_rps * 10
            found[number] = min(usd, far * (1 + 9 * usd / highest)) if highest > 0 else usd
        return found

    def _dearest_usd(self, index: int) -> float:
        """Of all of a demand's calls over one way, with replicas for them alone."""
        way = self.problem.ways[index]
        tariff = self.problem.members[way.member].tariff
        replicas = max(ceil(way.rate_rps / way.candidate.replica_rps), 1)
        return way.usd * way.rate_rps + replicas * tariff.added_usd(way.candidate)

    def _replicas(self, pairs: Sequence[int], factor: float = 1.0) -> list[Term]:
        return [term for pair in pairs for term in ((self.kept[pair], factor), (self.added[pair], factor))]

    def _slack(self, member: int, most: float) -> int:
        tariff = self.problem.members[member].tariff
        seen = self.problem.members[member].seen
        cost = 3 * max((tariff.added_usd(c) + c.usd_per_hour for c in seen.candidates.values()), default=0.0) + 1e-3
        column = self.mip.column(cost, most)
        self.slacks[column] = cost
        return column

    # ---- what is shared

    def _load(self) -> None:
        """Replicas carry their calls; a site that is given any call has one."""
        for key, ways in sorted(self.ways_at.items()):
            replicas = self._replicas(self.pairs_at.get(key, []), -1.0)
            first = self.problem.ways[ways[0]].candidate
            parts = [(self.shares[way], self.problem.ways[way].rate_rps / first.replica_rps) for way in ways]
            self.mip.row([*parts, *replicas], most=0.0)
            for column, part in parts:
                if part < 1:
                    self.mip.row([(column, 1.0), *replicas], most=0.0)

    def _stands(self) -> None:
        of_stand: dict[Stand, list[int]] = {}
        for index, pair in enumerate(self.problem.pairs):
            of_stand.setdefault(pair.stand, []).append(index)
        for stand, pairs in of_stand.items():
            free = self.problem.free[stand]
            needs = [(pair, self.problem.pairs[pair].candidate.variant.need) for pair in pairs]
            memory = [(self.added[pair], need.memory_bytes / MIB) for pair, need in needs]
            compute = [(self.added[pair], need.compute_millis / 1000) for pair, need in needs]
            where = stand.site, stand.node or ""
            row = self.mip.row(memory, most=max(free.memory_bytes, 0) / MIB)
            self.priced[row] = ("memory", *where), 1.0, "MiB"
            row = self.mip.row(compute, most=max(free.compute_millis, 0) / 1000)
            self.priced[row] = ("compute", *where), 1.0, "cores"

    def _links(self) -> None:
        for link, loads in sorted(self.problem.loads.items()):
            terms = [(self.shares[way], bits * self.problem.ways[way].rate_rps / 1e6) for way, bits in loads]
            row = self.mip.row(terms, most=self.problem.room_bps[link] / 1e6)
            self.priced[row] = link, 1.0, "Mbit/s"

    def _purses(self) -> None:
        for purse in self.problem.purses:
            pairs = [i for i, pair in enumerate(self.problem.pairs) if pair.member in purse.members]
            needs = [(i, self.problem.pairs[i].candidate.variant.need) for i in pairs]
            memory = [t for i, need in needs for t in self._replicas([i], need.memory_bytes / MIB)]
            compute = [t for i, need in needs for t in self._replicas([i], need.compute_millis / 1000)]
            row = self.mip.row(memory, most=max(purse.left.memory_bytes, 0) / MIB)
            self.priced[row] = quota("memory", purse.name), 1.0, "MiB"
            row = self.mip.row(compute, most=max(purse.left.compute_millis, 0) / 1000)
            self.priced[row] = quota("compute", purse.name), 1.0, "cores"

    def _apart(self) -> None:
        there: dict[tuple[int, str], int] = {}

        def holds(member: int, where: str, pairs: Sequence[int]) -> int:
            if (member, where) not in there:
                there[member, where] = column = self.mip.column(0.0, 1.0, whole=True)
                for pair in pairs:
                    most = float(self.problem.pairs[pair].most)
                    self.mip.row([*self._replicas([pair]), (column, -most)], most=0.0)
            return there[member, where]

        for one, other, within in self.problem.apart:
            ones, others = self._places(one, within), self._places(other, within)
            for where in sorted(ones.keys() & others.keys()):
                columns = holds(one, where, ones[where]), holds(other, where, others[where])
                self.mip.row([(column, 1.0) for column in columns], most=1.0)

    def _places(self, member: int, within: Within) -> dict[str, list[int]]:
        """Pairs by site, or by failure domain; the two kinds of names are kept apart."""
        found: dict[str, list[int]] = {}
        for index, pair in enumerate(self.problem.pairs):
            if pair.member == member:
                site = pair.candidate.site
                where = f"site {site.name}" if within is Within.SITE else f"domain {site.failure_domain}"
                found.setdefault(where, []).append(index)
        return found

    # ---- one policy

    def _policy(self, member: int) -> None:
        problem = self.problem
        service = problem.members[member].service
        policy = service.policy
        pairs = [i for i, pair in enumerate(problem.pairs) if pair.member == member]
        if not pairs:
            return
        held = [i for i in pairs if problem.pairs[i].candidate.held]
        for pair in held:
            self.mip.row([(self.kept[pair], 1.0)], least=problem.pairs[pair].running)
        frozen = sum(problem.pairs[pair].running for pair in held)
        row = self.mip.row(self._replicas(pairs), most=max(policy.replicas_max, frozen))
        self.priced[row] = replicas_max(str(service.ref)), 1.0, "replicas"
        least = min(policy.replicas_min, policy.replicas_max)
        row = self.mip.row([*self._replicas(pairs), (self._slack(member, least), 1.0)], least=least)
        self.priced[row] = replicas_min(str(service.ref)), 1.0, "replicas"
        if policy.max_usd_per_hour is not None:
            usd = [t for i in pairs for t in self._replicas([i], problem.pairs[i].candidate.replica_usd_per_hour)]
            frozen_usd = sum(problem.pairs[i].running * problem.pairs[i].candidate.replica_usd_per_hour for i in held)
            row = self.mip.row(usd, most=max(policy.max_usd_per_hour, frozen_usd))
            self.priced[row] = cost_max(str(service.ref)), 1.0, "USD/h"
        for pin in policy.pins:
            at = self.pairs_at.get((member, pin.site), [])
            if at:
                self.mip.row([*self._replicas(at), (self._slack(member, pin.replicas), 1.0)], least=pin.replicas)
        self._domains(member)

    def _domains(self, member: int) -> None:
        problem = self.problem
        service = problem.members[member].service
        policy, places = service.policy, self._places(member, Within.FAILURE_DOMAIN)
        wanted = min(policy.min_failure_domains, len(places))
        if wanted > 1:
            columns = []
            for _, pairs in sorted(places.items()):
                columns.append(self.mip.column(0.0, 1.0, whole=True))
                self.mip.row([(columns[-1], 1.0), *self._replicas(pairs, -1.0)], most=0.0)
            self.mip.row([*((c, 1.0) for c in columns), (self._slack(member, wanted), 1.0)], least=wanted)
        if policy.max_share_per_domain < 1:
            parts = {demand.zone: weight(demand, service) for demand in service.demands}
            of_domain: dict[str, list[Term]] = {}
            for index, way in enumerate(problem.ways):
                if way.member == member:
                    terms = of_domain.setdefault(way.candidate.site.failure_domain, [])
                    terms.append((self.shares[index], parts[way.zone]))
            for domain, terms in sorted(of_domain.items()):
                row = self.mip.row(terms, most=policy.max_share_per_domain)
                self.priced[row] = domain_share(str(service.ref), domain), 1.0, "of the calls"

    def _survival(self, member: int) -> None:
        """With any one site gone its calls find room at the others, whose own calls stay."""
        problem = self.problem
        sites = sorted(site for of, site in self.ways_at if of == member)
        if not problem.members[member].service.policy.survive_site_losses or len(sites) > MOST_LOSSES:
            return
        ways = {(problem.ways[i].zone, site): i for site in sites for i in self.ways_at[member, site]}
        for lost in sites:
            moved = self._moved(member, lost, sites, ways)
            for site, columns in sorted(moved.items()):
                capacity_rps = problem.ways[self.ways_at[member, site][0]].candidate.replica_rps
                stays = [(self.shares[i], problem.ways[i].rate_rps / capacity_rps) for i in self.ways_at[member, site]]
                comes = [(column, rate_rps / capacity_rps) for column, rate_rps in columns]
                replicas = self._replicas(self.pairs_at.get((member, site), []), -1.0)
                self.mip.row([*stays, *comes, *replicas], most=0.0)
                for column, _ in columns:
                    self.mip.row([(column, 1.0), *replicas], most=0.0)

    def _moved(
        self, member: int, lost: SiteName, sites: Sequence[SiteName], ways: Mapping[tuple[ZoneName, SiteName], int]
    ) -> dict[SiteName, list[tuple[int, float]]]:
        """Columns of the calls that each other site takes over, with their whole rates."""
        moved: dict[SiteName, list[tuple[int, float]]] = {site: [] for site in sites if site != lost}
        for index in self.ways_at[member, lost]:
            way = self.problem.ways[index]
            columns = []
            for site in moved:
                if (way.zone, site) in ways:
                    columns.append(self.mip.column(0.0, 1.0))
                    moved[site].append((columns[-1], way.rate_rps))
            slack = self._slack(member, 1.0)
            self.mip.row([*((c, 1.0) for c in columns), (slack, 1.0), (self.shares[index], -1.0)], least=0.0)
        return moved

    # ---- the answer

    def _outline(self, member: int, values: Sequence[float]) -> Outline:
        counts = {
            index: round(values[self.kept[index]]) + round(values[self.added[index]])
            for index, pair in enumerate(self.problem.pairs)
            if pair.member == member
        }
        shares: dict[tuple[ZoneName, SiteName], float] = {}
        for index, way in enumerate(self.problem.ways):
            share = values[self.shares[index]]
            if way.member == member and share > NOTHING:
                left = values[self.unserved[way.demand]]
                shares[way.zone, way.candidate.site.name] = share if left > NOTHING else share / (1 - left)
        return outline_of(self.problem, member, counts, shares)
