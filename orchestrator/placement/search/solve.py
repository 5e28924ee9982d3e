"""A good plan of a programme: prices, a first plan at those prices, then moves under a falling temperature.

Effort is counted in iterations and moves, never in seconds, so that a busy machine plans later, not worse. The same
programme, effort and seed give the same plan to the bit, with one thread or two.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from orchestrator.placement.search import kernels
from orchestrator.placement.search.kernels import Lane, State, Tuning
from orchestrator.placement.search.lanes import LANES, Lanes, cut, whole, zone_order
from orchestrator.placement.search.programme import GRID, Floats, Ints, Plan, Programme
from orchestrator.placement.search.relaxation import Point, Relaxed, relax

TUNING = Tuning(most_sites=3, noise=0.3, pool_share=0.25, local_price_share=0.5)
ROUNDS = 20
# Of the mean value of a demand: the temperature of the last round but one, and of the first for a long search. A short
# one starts colder, as the square root of its moves for each demand. The last round is cold.
COLD, HOT, HOT_BY_ROOT = 0.006, 0.2, 0.0144
# A pool's replicas count as if they could be split at first, and as they are after this part of the rounds: a call that
# leaves a pool saves something at once then, not only the last that leaves its replica.
SPLIT_ROUNDS = 0.9
# Prices of the relaxation and what the plan really pays for a demand, half and half, guide best.
REALISED_SHARE = 0.5
# Demands that nobody serves are few in the end, and dear: so many of the last rounds look at each of them so often.
MISSING_ROUNDS, MISSING_MOVES = 4, 100
# And so much dearer there than they are: xl's unserved value falls from 0.113% to 0.090%, for 0.05% of the objective.
MISSING_DEARER = 1.15
# Smaller programmes have no halves worth the name.
LEAST_CUT_DEMANDS = 400
MOST_ITEMS = 512


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to look: iterations of the relaxation, and moves of the search."""

    iterations: int
    moves: int


def effort_for(programme: Programme, budget_s: float) -> Effort:
    """What takes about three quarters of this time with two threads on the machine of benchmarks/placement/README.md.

    A function of the programme's size alone: elsewhere, or on a busy machine, the same effort takes another time.
    """
    iteration_s = 3e-4 + 2.8e-8 * programme.arcs
    lanes = LANES if programme.demands >= LEAST_CUT_DEMANDS else 1
    move_s = (12e-6 + 13e-6 * min(programme.arcs / 1e6, 1.0)) / (0.8 * lanes)
    iterations = min(max(int(0.1 * budget_s / iteration_s), 50), 400)
    return Effort(iterations, max(int((0.8 * budget_s - iterations * iteration_s) / move_s), 20 * ROUNDS))


@dataclass(frozen=True, slots=True)
class Solution:
    plan: Plan
    relaxed: Relaxed


def solve(programme: Programme, effort: Effort, seed: int, threads: int = 1, start: Point | None = None) -> Solution:
    """A plan that keeps every constraint, and the prices that it was found by; `start`: of a like programme.

    Where two threads cannot share a programme, each searches it for itself and the better plan counts.
    """
    relaxed = relax(programme, effort.iterations, threads, start)

    def search(number: int) -> Plan:
        one = Search(programme, relaxed, LANES * seed + number, threads)
        one.construct()
        one.improve(effort.moves)
        return one.plan()

    starts = LANES if programme.demands < LEAST_CUT_DEMANDS else 1
    with ThreadPoolExecutor(threads) as pool:
        plans = list(pool.map(search, range(starts)))
    return Solution(min(plans, key=lambda plan: plan.usd_per_hour), relaxed)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One round of moves. Temperatures in $/h; 0: only what saves is kept."""

    moves: int
    hot_usd: float = 0.0
    cold_usd: float = 0.0
    split: float = 0.0  # see kernels.Lane
    realised_share: float = REALISED_SHARE
    look_at_missing: bool = True


class Search:
    """A plan under improvement, in memory: what a repair after a loss starts from too."""

    def __init__(self, programme: Programme, relaxed: Relaxed, seed: int, threads: int = 1) -> None:
        self._programme, self._relaxed, self._threads = programme, relaxed, threads
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._order = zone_order(programme)
        self._place = np.argsort(self._order)
        self.lanes = [new_lane(programme, int(self._random.integers(1 << 62))) for _ in range(LANES)]
        self.state = empty_state(programme)

    def construct(self) -> None:
        """A first plan at the relaxation's prices."""
        programme, prices = self._programme, self._relaxed.prices
        value = programme.demand_rps * programme.demand_penalty_usd
        kernels.construct(
            programme,
            self.state,
            self.lanes[0],
            self._random.permutation(len(programme.site_memory)),
            np.argsort(-value, kind="stable"),
            np.minimum(prices.demand_usd, programme.demand_penalty_usd),
            prices.link_usd,
            0.8,
        )

    def improve(self, moves: int) -> None:
        """So many moves, in rounds from hot to cold."""
        if not self._programme.demands or not self._programme.arcs:
            return
        value = self._programme.demand_rps * self._relaxed.prices.demand_usd
        scale = float(value.mean())
        start = min(max(HOT_BY_ROOT * (moves / self._programme.demands) ** 0.5, 2 * COLD), HOT)
        cool = (COLD / start) ** (1 / (ROUNDS - 1))
        with ThreadPoolExecutor(self._threads) as pool:
            for turn in range(ROUNDS):
                cold = turn == ROUNDS - 1
                self._round(
                    _Turn(
                        moves=moves // ROUNDS,
                        hot_usd=0.0 if cold else start * scale * cool**turn,
                        cold_usd=0.0 if cold else start * scale * cool ** (turn + 1),
                        split=max(0.0, 1 - turn / (SPLIT_ROUNDS * (ROUNDS - 1))),
                        realised_share=REALISED_SHARE if turn else 0.0,
                        look_at_missing=turn >= ROUNDS - MISSING_ROUNDS,
                    ),
                    self._cut(turn),
                    pool,
                )

    def descend(self, moves: int) -> None:
        """So many moves that keep only what saves at once, with pools as they are."""
        with ThreadPoolExecutor(self._threads) as pool:
            for turn in range(ROUNDS):
                self._round(_Turn(moves // ROUNDS), self._cut(turn), pool)

    def _cut(self, turn: int) -> Lanes:
        """Halves; in every fifth round the whole, so that nothing stays at a border."""
        if self._programme.demands < LEAST_CUT_DEMANDS or turn % 5 == 4:
            return whole(self._programme)
        return cut(self._programme, self._order, float(self._random.random()))

    def _round(self, turn: _Turn, lanes: Lanes, pool: ThreadPoolExecutor) -> None:
        programme, prices = self._programme, self._relaxed.prices
        if turn.look_at_missing:
            programme = programme._replace(demand_penalty_usd=MISSING_DEARER * programme.demand_penalty_usd)
        settle(programme, self.state)
        demand_usd = np.minimum(prices.demand_usd, programme.demand_penalty_usd)
        if turn.realised_share:
            paid_usd = realised_usd(programme, self.state)
            demand_usd = (1 - turn.realised_share) * demand_usd + turn.realised_share * paid_usd
        work = []
        for lane, arc_open, demands in zip(self.lanes, lanes.arc_open, lanes.demands, strict=False):
            lane.split[0] = turn.split
            if len(demands):
                work.append((lane._replace(arc_open=arc_open), self._seeds(demands, turn)))

        def run(lane: Lane, seeds: Ints) -> None:
            hot, cold = turn.hot_usd, turn.cold_usd
            kernels.anneal(programme, self.state, lane, seeds, demand_usd, prices.link_usd, hot, cold, TUNING)

        list(pool.map(run, *zip(*work, strict=True)))

    def _seeds(self, demands: Ints, turn: _Turn) -> Ints:
        """Demands by chance, if asked for more often those that nobody serves in full; a lane's part of the moves.

        In the order of their zones: one move after the other finds its sites in the processor's cache.
        """
        programme = self._programme
        count = turn.moves * len(demands) // programme.demands
        seeds = self._random.choice(demands, count)
        missing = demands[self.state.unserved_rps[demands] > kernels.NOTHING * programme.demand_rps[demands]]
        if turn.look_at_missing and len(missing):
            part = min(count // 5, MISSING_MOVES * len(missing))
            seeds[:part] = self._random.choice(missing, part)
        return seeds[np.argsort(self._place[programme.demand_zone[seeds]], kind="stable")]

    def plan(self) -> Plan:
        settle(self._programme, self.state)
        state = self.state
        return Plan(state.replicas.copy(), state.rps.copy(), usd_per_hour(self._programme, state.replicas, state.rps))


def usd_per_hour(programme: Programme, replicas: Ints, rps: Floats) -> float:
    """The programme's objective."""
    served = np.bincount(programme.arc_demand, rps, programme.demands)
    change = replicas - programme.pair_running
    return float(
        (replicas * programme.pair_usd).sum()
        + (np.maximum(change, 0) * programme.pair_start_usd).sum()
        + (np.maximum(-change, 0) * programme.pair_stop_usd).sum()
        + (rps * programme.arc_usd).sum()
        + (np.maximum(programme.demand_rps - served, 0) * programme.demand_penalty_usd).sum()
    )


def realised_usd(programme: Programme, state: State) -> Floats:
    """What each demand really pays per call and second: its arcs, its part of its replicas, what it misses."""
    load = np.maximum(state.load_rps, 1e-12)
    replica_usd = np.where(state.load_rps > 0, state.replicas * programme.pair_usd / load, 0.0)
    paid = state.rps * (programme.arc_usd + replica_usd[programme.arc_pair])
    total = np.bincount(programme.arc_demand, paid, programme.demands).astype(np.float64)
    total += np.maximum(state.unserved_rps, 0) * programme.demand_penalty_usd
    return np.minimum(total / programme.demand_rps, programme.demand_penalty_usd)


def empty_state(programme: Programme) -> State:
    pairs = len(programme.pair_usd)
    return State(
        replicas=np.zeros(pairs, dtype=np.int64),
        rps=np.zeros(programme.arcs),
        load_rps=np.zeros(pairs),
        unserved_rps=programme.demand_rps.copy(),
        free_memory=programme.site_memory.copy(),
        free_compute=programme.site_compute.copy(),
        free_mbps=programme.link_mbps.copy(),
    )


def settle(programme: Programme, state: State) -> None:
    """Make every sum anew from replicas and rates: a million moves leave rounding behind."""
    sites, pairs = len(programme.site_memory), len(programme.pair_usd)
    state.load_rps[:] = np.bincount(programme.arc_pair, state.rps, pairs)
    state.unserved_rps[:] = programme.demand_rps - np.bincount(programme.arc_demand, state.rps, programme.demands)
    site = programme.pair_site
    memory = np.bincount(site, state.replicas * programme.pair_memory, sites)
    compute = np.bincount(site, state.replicas * programme.pair_compute, sites)
    state.free_memory[:] = programme.site_memory - np.rint(memory).astype(np.int64)
    state.free_compute[:] = programme.site_compute - np.rint(compute).astype(np.int64)
    used = np.repeat(state.rps, np.diff(programme.arc_uses)) * programme.use_mbit
    state.free_mbps[:] = programme.link_mbps - np.bincount(programme.use_link, used, len(programme.link_mbps))


def new_lane(programme: Programme, seed: int) -> Lane:
    arcs, pairs, demands = programme.arcs, len(programme.pair_usd), programme.demands
    widest = int(np.diff(programme.pair_arcs).max(initial=0))
    cells = (GRID + 1) ** 2
    return Lane(
        arc_open=np.ones(arcs, dtype=np.bool_),
        usd=np.zeros(1),
        split=np.zeros(1),
        touched=np.zeros(arcs + pairs, dtype=np.int64),
        move=np.zeros(1, dtype=np.int64),
        journal_index=np.zeros(arcs + pairs, dtype=np.int64),
        journal_value=np.zeros(arcs + pairs),
        journal_count=np.zeros(1, dtype=np.int64),
        random=np.array([seed], dtype=np.uint64),
        price_usd=np.zeros(demands),
        gain_usd=np.zeros(widest),
        gain_arc=np.zeros(widest, dtype=np.int64),
        item_usd=np.zeros(MOST_ITEMS),
        item_pair=np.zeros(MOST_ITEMS, dtype=np.int64),
        picked=np.zeros(pairs, dtype=np.int64),
        best_usd=np.zeros(cells),
        taken=np.zeros(MOST_ITEMS * cells, dtype=np.bool_),
        marked=np.zeros(demands, dtype=np.bool_),
        affected=np.zeros(demands + 1, dtype=np.int64),
        emptied=np.zeros(max(TUNING.most_sites, 2) + 1, dtype=np.int64),
    )
