"""What no plan can beat, and the prices that prove it.

Any non-negative prices of demands, links, memory and compute give a lower bound: relax those constraints, charge what
they would carry at the prices, and what is left falls apart into pairs, whose best replicas are plain to see
(Lagrangian relaxation; Geoffrion, 1974). Tight prices come from the linear relaxation; here each site's own prices are
searched once more, since the demands' prices fix what is best for them.

The bound by services is stronger and dearer: demands are not relaxed, and each service is a facility location problem
of its own, whose integer lower bound HiGHS certifies. It wants a second for each service of a hundred demands.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy.sparse import csc_array

from orchestrator.placement.highs import Highs
from orchestrator.placement.search import site_prices
from orchestrator.placement.search.programme import Floats, Indices, Ints, Prices, Programme, most_replicas

LAGRANGIAN = "Lagrangian"
BY_SERVICE = "Lagrangian by services"


@dataclass(frozen=True, slots=True)
class Bound:
    """A certified lower bound of the objective; `name` says which constraints its prices relax."""

    name: str
    usd_per_hour: float
    prices: Prices


def gap(usd_per_hour: float, bound: Bound) -> float:
    """(objective - bound) / bound."""
    return (usd_per_hour - bound.usd_per_hour) / bound.usd_per_hour if bound.usd_per_hour > 0 else float("inf")


def lagrangian_bound(programme: Programme, prices: Prices, threads: int = 1) -> Bound:
    """With prices of memory and compute made tight."""
    sites = len(programme.site_memory)
    memory, compute, gains = prices.memory_usd.copy(), prices.compute_usd.copy(), np.zeros(sites)
    demand_usd = np.minimum(prices.demand_usd, programme.demand_penalty_usd)
    widest, items = int(np.diff(programme.pair_arcs).max(initial=0)), _most_items(programme)
    cuts = [round(i * sites / threads) for i in range(threads + 1)]

    def price(part: int) -> None:
        room = np.zeros(widest), np.zeros(widest), np.zeros(items), np.zeros(items, dtype=np.int64)
        first, last = cuts[part], cuts[part + 1]
        site_prices.price_sites(programme, first, last, demand_usd, prices.link_usd, memory, compute, gains, *room)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(price, range(threads)))
    reachable = np.diff(programme.demand_arcs) > 0
    worth = np.where(reachable, demand_usd, programme.demand_penalty_usd)
    total = (programme.demand_rps * worth).sum() - gains.sum() - (prices.link_usd * programme.link_mbps).sum()
    total += (programme.pair_running * programme.pair_stop_usd).sum()
    return Bound(LAGRANGIAN, float(total), Prices(worth, prices.link_usd, memory, compute))


def _most_items(programme: Programme) -> int:
    """Replicas that could pay at one site at most: as many as its pairs' demands can fill."""
    rps = programme.demand_rps[programme.arc_demand]
    filled = np.bincount(programme.arc_pair, rps, len(programme.pair_usd)) / programme.pair_rps
    return int(np.bincount(programme.pair_site, np.ceil(filled) + 1, len(programme.site_memory)).max(initial=0)) + 1


def bound_by_services(programme: Programme, prices: Prices, threads: int = 1) -> Bound:
    """With demands kept: each service's own integer programme, its root node only, so that effort is bounded."""
    services = int(programme.pair_service.max(initial=-1)) + 1
    pairs_of, carried_usd = _groups(programme.pair_service, services), _carried_usd(programme, prices)
    with ThreadPoolExecutor(threads) as pool:
        values = list(pool.map(lambda pairs: _service_value(programme, prices, carried_usd, pairs), pairs_of))
    unreachable = np.diff(programme.demand_arcs) == 0
    total = sum(values)
    total += float((programme.demand_rps * programme.demand_penalty_usd)[unreachable].sum())
    total -= float((prices.memory_usd * programme.site_memory).sum())
    total -= float((prices.compute_usd * programme.site_compute).sum())
    total -= float((prices.link_usd * programme.link_mbps).sum())
    total += float((programme.pair_running * programme.pair_stop_usd).sum())
    return Bound(BY_SERVICE, total, prices)


def _groups(owner: Indices, count: int) -> list[Ints]:
    order = np.argsort(owner, kind="stable")
    return list(np.split(order, np.cumsum(np.bincount(owner, minlength=count))[:-1])) if count else []


def _service_value(programme: Programme, prices: Prices, carried_usd: Floats, pairs: Ints) -> float:
    """A lower bound of what one service's replicas, calls and unserved demand cost at the prices of what they share."""
    if not len(pairs):
        return 0.0
    arcs = np.concatenate([np.arange(programme.pair_arcs[p], programme.pair_arcs[p + 1]) for p in pairs])
    if not len(arcs):
        return 0.0
    demands, demand = np.unique(programme.arc_demand[arcs], return_inverse=True)
    pair = np.searchsorted(pairs, programme.arc_pair[arcs])
    site, rps = programme.pair_site[pairs], programme.demand_rps[demands]
    charged = prices.memory_usd[site] * programme.pair_memory[pairs]
    charged = charged + prices.compute_usd[site] * programme.pair_compute[pairs]
    running = programme.pair_running[pairs]
    kept_usd = programme.pair_usd[pairs] - programme.pair_stop_usd[pairs] + charged
    added_usd = programme.pair_usd[pairs] + programme.pair_start_usd[pairs] + charged
    n, a, d = len(pairs), len(arcs), len(demands)
    small = np.nonzero(rps[demand] < programme.pair_rps[pairs][pair])[0]
    every = np.arange(n)
    # Columns: kept replicas, added ones, shares, unserved shares. Rows: coverage, load, and share <= replicas.
    loads, strong = d + pair, d + n + np.arange(len(small))
    rows = (demand, np.arange(d), loads, d + every, d + every, strong, strong, strong)
    columns = (
        *(2 * n + np.arange(a), 2 * n + a + np.arange(d), 2 * n + np.arange(a), every, n + every),
        *(2 * n + small, pair[small], n + pair[small]),
    )
    values = (
        *(np.ones(a), np.ones(d), rps[demand], -programme.pair_rps[pairs], -programme.pair_rps[pairs]),
        *(np.ones(len(small)), -np.ones(len(small)), -np.ones(len(small))),
    )
    height = d + n + len(small)
    matrix = csc_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(height, 2 * n + a + d)
    )
    most = most_replicas(programme, pairs)
    return _integer_bound(
        cost=np.concatenate(
            (kept_usd, added_usd, rps[demand] * carried_usd[arcs], rps * programme.demand_penalty_usd[demands])
        ),
        upper=np.concatenate((np.minimum(running, most), np.maximum(most - running, 0), np.ones(a + d))),
        matrix=matrix,
        row_lower=np.concatenate((np.ones(d), np.full(height - d, -np.inf))),
        row_upper=np.concatenate((np.ones(d), np.zeros(height - d))),
        integers=2 * n,
    )


def _carried_usd(programme: Programme, prices: Prices) -> Floats:
    """[A] of one call per second, what the arc's links charge included."""
    charged = np.zeros(programme.arcs)
    user = np.repeat(np.arange(programme.arcs), np.diff(programme.arc_uses))
    np.add.at(charged, user, prices.link_usd[programme.use_link] * programme.use_mbit)
    return programme.arc_usd + charged


# Bounds come from cuts at the root; heuristics look for plans, and a plan is here already.
_OPTIONS: dict[str, Any] = {
    "output_flag": False,
    "threads": 1,
    "mip_max_nodes": 1,
    "mip_heuristic_effort": 0.0,
    "mip_heuristic_run_root_reduced_cost": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_shifting": False,
    "mip_detect_symmetry": False,
}


def _integer_bound(
    cost: Floats, upper: Floats, matrix: Any, row_lower: Floats, row_upper: Floats, integers: int
) -> float:
    """HiGHS's dual bound of a minimisation over columns of at least 0, the first `integers` of them whole numbers."""
    programme = highspy.HighsLp()
    programme.num_row_, programme.num_col_ = matrix.shape
    programme.col_cost_, programme.col_lower_, programme.col_upper_ = cost, np.zeros(len(cost)), upper.astype(float)
    programme.row_lower_, programme.row_upper_ = row_lower, row_upper
    programme.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    programme.a_matrix_.start_ = matrix.indptr
    programme.a_matrix_.index_, programme.a_matrix_.value_ = matrix.indices, matrix.data
    whole, any_number = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    programme.integrality_ = [whole] * integers + [any_number] * (len(cost) - integers)
    solver = Highs()
    for name, value in _OPTIONS.items():
        solver.setOptionValue(name, value)
    solver.passModel(programme)
    solver.run()
    # Every cost that is not of a replica is at least 0, so that 0 is a bound where HiGHS gives none.
    return max(float(solver.getInfo().mip_dual_bound), 0.0)
