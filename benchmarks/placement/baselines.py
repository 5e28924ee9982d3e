"""What others do, on the same programme: one demand after the other, each to the site that a score likes best."""

import numpy as np
from numpy.typing import NDArray

from orchestrator.placement.search import kernels
from orchestrator.placement.search.jit import compiled
from orchestrator.placement.search.kernels import Lane, State
from orchestrator.placement.search.programme import Floats, Ints, Plan, Programme
from orchestrator.placement.search.relaxation import Relaxed, relax
from orchestrator.placement.search.solve import Search, empty_state, new_lane, settle, usd_per_hour

CHEAPEST, NEAREST, KUBE_LIKE = 0, 1, 2


@compiled
def _spread(programme: Programme, state: State, lane: Lane, demands: Ints, how: int, latency: Floats) -> None:
    """Room at open replicas comes first; then the best-scored site that bears one more, until all is served."""
    for i in range(len(demands)):
        demand = demands[i]
        kernels.fill(programme, state, lane, demand)
        least = 1e-9 * programme.demand_rps[demand]
        for _ in range(1000):
            if state.unserved_rps[demand] <= least:
                break
            best, best_score = -1, 1e300
            for k in range(programme.demand_arcs[demand], programme.demand_arcs[demand + 1]):
                arc = programme.demand_arc[k]
                pair = programme.arc_pair[arc]
                if not kernels.fits(programme, state, pair):
                    continue
                room = kernels.room_rps(programme, state, arc, programme.pair_rps[pair])
                if room <= least:
                    continue
                usd = programme.pair_usd[pair] / room + programme.arc_usd[arc]
                if usd >= programme.demand_penalty_usd[demand] and how == 0:
                    continue
                score = usd
                if how == 1:
                    score = latency[arc]
                if how == 2:  # half latency, half free compute, as a scheduler that spreads weighs them
                    free = min(1.0, state.free_compute[programme.pair_site[pair]] / 8.0)
                    score = 0.5 * latency[arc] - 0.5 * free
                if score < best_score:
                    best, best_score = arc, score
            if best < 0:
                break
            pair = programme.arc_pair[best]
            kernels.set_replicas(programme, state, lane, pair, state.replicas[pair] + 1)
            room = kernels.room_rps(programme, state, best, kernels.slack_rps(programme, state, pair))
            kernels.set_rps(programme, state, lane, best, state.rps[best] + room)


def spread(programme: Programme, how: int, latency: NDArray[np.float64], seed: int) -> Plan:
    """`latency` of each arc: in ms for NEAREST, as a part of its objective for KUBE_LIKE."""
    state, lane = empty_state(programme), new_lane(programme, seed)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(programme.demands)
    kernels.begin(lane)
    _spread(programme, state, lane, order, how, np.asarray(latency, dtype=np.float64))
    return _plan(programme, state)


def local_search(programme: Programme, moves: int, seed: int, threads: int) -> Plan:
    """The cheapest site first, then the search's own moves: no prices, nothing but what saves at once is kept."""
    blind = relax(programme, 0)
    nothing = blind.prices._replace(
        demand_usd=programme.demand_penalty_usd, link_usd=np.zeros_like(programme.link_mbps)
    )
    search = Search(programme, Relaxed(nothing, blind.point), seed, threads)
    start = spread(programme, CHEAPEST, np.zeros(programme.arcs), seed)
    search.state.replicas[:], search.state.rps[:] = start.replicas, start.rps
    search.descend(moves)
    return search.plan()


def _plan(programme: Programme, state: State) -> Plan:
    settle(programme, state)
    return Plan(state.replicas, state.rps, usd_per_hour(programme, state.replicas, state.rps))
