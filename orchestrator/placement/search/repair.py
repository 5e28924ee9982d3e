"""A plan kept up to date while the fleet changes: only what a change touches is planned anew.

What was lost is served from room that is there, then by new replicas; then a bounded number of moves around the demands
concerned, in which every start has to earn its cost. All else stays as it is.
"""

from dataclasses import dataclass

import numpy as np

from orchestrator.placement.search import kernels
from orchestrator.placement.search.programme import Floats, Ints, Plan, Programme
from orchestrator.placement.search.relaxation import Relaxed
from orchestrator.placement.search.solve import TUNING, Search, realised_usd, settle

# A start must earn this many hours of its replica's price within the next hour, or it is not made for gain alone.
START_HOURS = 4.0
MOVES_PER_DEMAND = 4
MOST_MOVES = 4_000


@dataclass(frozen=True, slots=True)
class Repaired:
    """What one change brought: replicas lost with it, started and stopped because of it, and its cost in $/h."""

    lost: int
    started: int
    stopped: int
    usd_per_hour: float  # by which the objective changed


class Repairs:
    """A plan in memory. Not for two threads at once."""

    def __init__(self, programme: Programme, plan: Plan, relaxed: Relaxed, seed: int) -> None:
        self._start_usd = programme.pair_start_usd + START_HOURS * programme.pair_usd
        self.programme = programme._replace(
            site_memory=programme.site_memory.copy(),
            site_compute=programme.site_compute.copy(),
            demand_rps=programme.demand_rps.copy(),
            pair_running=plan.replicas.copy(),
            pair_start_usd=np.zeros_like(programme.pair_start_usd),
            pair_stop_usd=np.zeros_like(programme.pair_stop_usd),
        )
        self._prices = relaxed.prices
        self._search = Search(self.programme, relaxed, seed)
        self.state, self._lane = self._search.state, self._search.lanes[0]
        self.state.replicas[:], self.state.rps[:] = plan.replicas, plan.rps
        settle(self.programme, self.state)
        self._paid_usd = realised_usd(self.programme, self.state)
        self._demand_usd = 0.5 * (self._prices.demand_usd + self._paid_usd)

    def plan(self) -> Plan:
        """As it is now; of the programme as it is now."""
        return self._search.plan()

    def lose_site(self, site: int) -> Repaired:
        """All nodes of a site are gone: it holds nothing any more, and its demands go elsewhere."""
        pairs = slice(self.programme.site_pairs[site], self.programme.site_pairs[site + 1])
        first, last = self.programme.pair_arcs[pairs.start], self.programme.pair_arcs[pairs.stop]
        served = self.state.rps[first:last] > 0
        affected = np.unique(self.programme.arc_demand[first:last][served]).astype(np.int64)
        lost, usd = int(self.state.replicas[pairs].sum()), float(self._lane.usd[0])
        kernels.empty(self.programme, self.state, self._lane, site)
        self.programme.site_memory[site] = self.programme.site_compute[site] = 0
        self.state.free_memory[site] = self.state.free_compute[site] = 0
        self._lane.arc_open[first:last] = False
        self.programme.pair_running[pairs] = 0
        return self._repair(affected, lost, usd)

    def change_demands(self, demands: Ints, rps: Floats) -> Repaired:
        """These demands have new rates."""
        usd = float(self._lane.usd[0])
        more = rps - self.programme.demand_rps[demands]
        usd -= float((more * self.programme.demand_penalty_usd[demands]).sum())
        self.programme.demand_rps[demands] = rps
        self.state.unserved_rps[demands] += more
        for demand in demands[more < 0]:
            kernels.shrink(self.programme, self.state, self._lane, int(demand))
        return self._repair(demands, 0, usd)

    def _repair(self, demands: Ints, lost: int, usd: float) -> Repaired:
        programme, state, lane = self.programme, self.state, self._lane
        value = state.unserved_rps[demands] * programme.demand_penalty_usd[demands]
        kernels.serve(programme, state, lane, demands[np.argsort(-value, kind="stable")])
        moves = min(MOVES_PER_DEMAND * len(demands), MOST_MOVES)
        charged = self._starts_usd()
        if moves:
            careful = programme._replace(pair_start_usd=self._start_usd)
            seeds, prices = self._dearer(demands, moves), self._prices
            kernels.anneal(careful, state, lane, seeds, self._demand_usd, prices.link_usd, 0.0, 0.0, TUNING)
        charged = self._starts_usd() - charged
        change = state.replicas - programme.pair_running
        programme.pair_running[:] = state.replicas
        return Repaired(
            lost=lost,
            started=int(change[change > 0].sum()),
            stopped=int(-change[change < 0].sum()),
            usd_per_hour=float(lane.usd[0]) - usd - charged,
        )

    def _dearer(self, demands: Ints, moves: int) -> Ints:
        """Where to move: demands that pay more than when the plan was taken over, the more the oftener; each at least
        once."""
        before_usd = self._paid_usd[demands] * self.programme.demand_rps[demands]
        over_usd = realised_usd(self.programme, self.state)[demands] * self.programme.demand_rps[demands] - before_usd
        dearer = over_usd > 1e-9
        if not dearer.any():
            return demands[:0]
        share = over_usd[dearer] / over_usd[dearer].sum()
        times = np.ceil(share * moves).astype(np.int64)
        return np.repeat(demands[dearer], times)

    def _starts_usd(self) -> float:
        """What the moves are charged for replicas that did not run before this change."""
        started = np.maximum(self.state.replicas - self.programme.pair_running, 0)
        return float(started @ self._start_usd)
