"""A problem as arrays for `placement.search`, and its plan back as outlines.

Policies' limits on all replicas of a service become limits on its calls, see `totals`; what asks for more (least
replicas, domains, N+1) is left out. So the programme bounds what the rules allow from below, and `filling` keeps them
when it carries the plan out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import ShadowPrice
from orchestrator.placement.joint.problem import Problem, Stand, outline_of
from orchestrator.placement.joint.totals import Constraint, Total, totals
from orchestrator.placement.outline import Outline
from orchestrator.placement.search.programme import Floats, Ints, Plan, Prices, Programme, programme

# Shadow prices are of a MiB and of a core, arrays count bytes and thousandths.
MIB, MILLIS = 1 << 20, 1000


@dataclass(frozen=True, slots=True)
class Lowered:
    """The programme's pairs and demands are the problem's; `way`, `stands` and `links` say what the rest stands for.

    A link is whatever calls use up, in the unit of its limit.
    """

    problem: Problem
    programme: Programme
    way: Sequence[int]  # of each arc, by index into the problem
    stands: Sequence[Stand]
    links: Sequence[Total]


def lower(problem: Problem) -> Lowered:
    """Every way becomes an arc to each stand of its site: together they carry the zone's share."""
    stands = sorted(problem.free, key=lambda stand: (stand.site, stand.node or ""))
    number_of = {stand: number for number, stand in enumerate(stands)}
    ways_at: dict[tuple[int, SiteName], list[int]] = {}
    for index, way in enumerate(problem.ways):
        ways_at.setdefault((way.member, way.candidate.site.name), []).append(index)
    limits = [*_links(problem), *totals(problem)]
    links = sorted((limit for limit in limits if limit.most > 0), key=lambda limit: limit.constraint)
    closed = {way for limit in limits if limit.most <= 0 for way, amount in limit.uses if amount > 0}
    uses: dict[int, list[tuple[int, float]]] = {}
    for number, limit in enumerate(links):
        for index, amount in limit.uses:
            if amount > 0:
                uses.setdefault(index, []).append((number, amount))
    arcs = [
        (pair, way)
        for pair, its in enumerate(problem.pairs)
        for way in ways_at.get((its.member, its.stand.site), ())
        if way not in closed
    ]
    used = [use for _, way in arcs for use in uses.get(way, ())]
    tariffs = [problem.members[pair.member].tariff for pair in problem.pairs]
    needs = [pair.candidate.variant.need for pair in problem.pairs]
    kept = _floats(tariff.kept_usd(pair.candidate) for tariff, pair in zip(tariffs, problem.pairs, strict=True))
    added = _floats(tariff.added_usd(pair.candidate) for tariff, pair in zip(tariffs, problem.pairs, strict=True))
    running = _ints(pair.running for pair in problem.pairs)
    capacity = _capacities(problem)
    zones = sorted({demand.zone for demand in problem.demands})
    zone_of = {zone: number for number, zone in enumerate(zones)}
    lowered = programme(
        site_pool=np.array([stand.node is None for stand in stands], dtype=np.bool_),
        site_memory=_ints(max(capacity[stand].memory_bytes, 0) for stand in stands),
        site_compute=_ints(max(capacity[stand].compute_millis, 0) for stand in stands),
        pair_site=_ints(number_of[pair.stand] for pair in problem.pairs),
        pair_service=_ints(pair.member for pair in problem.pairs),
        pair_rps=_floats(pair.candidate.replica_rps for pair in problem.pairs),
        pair_usd=np.where(running > 0, kept, added),
        pair_memory=_ints(need.memory_bytes for need in needs),
        pair_compute=_ints(need.compute_millis for need in needs),
        pair_running=running,
        pair_start_usd=np.where(running > 0, added - kept, 0.0),
        pair_stop_usd=_floats(tariff.stop_usd for tariff in tariffs),
        arc_demand=_ints(problem.ways[way].demand for _, way in arcs),
        arc_pair=_ints(pair for pair, _ in arcs),
        arc_usd=_floats(problem.ways[way].usd for _, way in arcs),
        arc_uses=_ints(np.cumsum([0, *(len(uses.get(way, ())) for _, way in arcs)])),
        use_link=_ints(link for link, _ in used),
        use_mbit=_floats(mbit for _, mbit in used),
        link_mbps=_floats(limit.most for limit in links),
        demand_zone=_ints(zone_of[demand.zone] for demand in problem.demands),
        demand_rps=_floats(demand.rate_rps for demand in problem.demands),
        demand_penalty_usd=_floats(demand.unserved_usd for demand in problem.demands),
    )
    return Lowered(problem, lowered, [way for _, way in arcs], stands, links)


def _links(problem: Problem) -> Iterator[Total]:
    for link, loads in problem.loads.items():
        yield Total(link, problem.room_bps[link] / 1e6, "Mbit/s", [(way, bits / 1e6) for way, bits in loads])


def _floats(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _capacities(problem: Problem) -> dict[Stand, Resources]:
    """With what runs: what one service stops another may take, if not at once."""
    found = dict(problem.free)
    for pair in problem.pairs:
        if pair.running:
            found[pair.stand] += pair.candidate.variant.need * pair.running
    return found


def outlines(lowered: Lowered, plan: Plan) -> list[Outline]:
    """One for each member."""
    problem = lowered.problem
    counts: list[dict[int, int]] = [{} for _ in problem.members]
    shares: list[dict[tuple[ZoneName, SiteName], float]] = [{} for _ in problem.members]
    for index, count in enumerate(plan.replicas.tolist()):
        if count:
            counts[problem.pairs[index].member][index] = count
    for arc, rps in enumerate(plan.rps.tolist()):
        if rps > 0:
            way = problem.ways[lowered.way[arc]]
            key = way.zone, way.candidate.site.name
            shares[way.member][key] = shares[way.member].get(key, 0.0) + rps / way.rate_rps
    return [outline_of(problem, member, counts[member], shares[member]) for member in range(len(problem.members))]


def shadow_prices(
    lowered: Lowered, prices: Prices, limit_usd: Mapping[Constraint, float] | None = None
) -> tuple[ShadowPrice, ...]:
    """By name, those above 0. `limit_usd`: what limits on replicas cost beyond what calls pay for them."""
    problem, found, limit_usd = lowered.problem, [], limit_usd or {}
    for demand, usd in zip(problem.demands, prices.demand_usd.tolist(), strict=True):
        service = problem.members[demand.member].service.ref
        found.append(ShadowPrice(("demand", str(service), demand.zone), usd / demand.times, "calls/s"))
    for stand, memory, compute in zip(
        lowered.stands, prices.memory_usd.tolist(), prices.compute_usd.tolist(), strict=True
    ):
        where = stand.site, stand.node or ""
        found.append(ShadowPrice(("memory", *where), memory * MIB, "MiB"))
        found.append(ShadowPrice(("compute", *where), compute * MILLIS, "cores"))
    for limit, usd in zip(lowered.links, prices.link_usd.tolist(), strict=True):
        found.append(ShadowPrice(limit.constraint, usd + limit_usd.get(limit.constraint, 0.0), limit.unit))
    return tuple(sorted((price for price in found if price.usd_per_hour > 0), key=lambda price: price.constraint))


def array_prices(lowered: Lowered, prices: Sequence[ShadowPrice]) -> Prices:
    """The way back. What has no price is free; a call that nobody can take costs what it counts unserved."""
    usd = {price.constraint: price.usd_per_hour for price in prices}
    problem = lowered.problem
    names = [str(problem.members[demand.member].service.ref) for demand in problem.demands]
    hopeless = np.diff(lowered.programme.demand_arcs) == 0
    demands = zip(names, problem.demands, hopeless.tolist(), strict=True)
    places = [(stand.site, stand.node or "") for stand in lowered.stands]
    return Prices(
        demand_usd=_floats(
            demand.unserved_usd if lost else usd.get(("demand", name, demand.zone), 0.0) * demand.times
            for name, demand, lost in demands
        ),
        link_usd=_floats(usd.get(limit.constraint, 0.0) for limit in lowered.links),
        memory_usd=_floats(usd.get(("memory", *place), 0.0) / MIB for place in places),
        compute_usd=_floats(usd.get(("compute", *place), 0.0) / MILLIS for place in places),
    )
