"""The search and its bounds, compiled: half a minute for the compiler, so not among the quick tests."""

import itertools

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.placement.checking import check_plan, lower_bound_usd_per_hour
from orchestrator.placement.search import kernels
from orchestrator.placement.search.bounds import bound_by_services, gap, lagrangian_bound
from orchestrator.placement.search.programme import Programme, programme
from orchestrator.placement.search.relaxation import relax
from orchestrator.placement.search.repair import Repairs
from orchestrator.placement.search.solve import LEAST_CUT_DEMANDS, Effort, effort_for, empty_state, new_lane, solve
from tests.placement.programmes import made_up

pytestmark = pytest.mark.slow
EFFORT = Effort(iterations=300, moves=2_000)
seeds = st.integers(0, 10_000)


def optimum(of: Programme, whole: bool) -> float:
    """The programme by HiGHS, as it is written down: no shortcut of the search's."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    pairs, kind = range(len(of.pair_usd)), highspy.HighsVarType.kInteger if whole else highspy.HighsVarType.kContinuous
    x = [solver.addVariable(0, 10_000, float(of.pair_usd[p]), kind) for p in pairs]
    up = [solver.addVariable(0, 10_000, float(of.pair_start_usd[p])) for p in pairs]
    down = [solver.addVariable(0, 10_000, float(of.pair_stop_usd[p])) for p in pairs]
    q = [solver.addVariable(0, float(of.demand_rps[of.arc_demand[a]]), float(of.arc_usd[a])) for a in range(of.arcs)]
    u = [solver.addVariable(0, 1e9, float(of.demand_penalty_usd[d])) for d in range(of.demands)]
    for d in range(of.demands):
        mine = of.demand_arc[of.demand_arcs[d] : of.demand_arcs[d + 1]]
        solver.addConstr(sum((q[a] for a in mine), u[d]) == float(of.demand_rps[d]))
    for p in pairs:
        carried = sum((q[a] for a in range(of.pair_arcs[p], of.pair_arcs[p + 1])), -float(of.pair_rps[p]) * x[p])
        solver.addConstr(carried <= 0)
        solver.addConstr(x[p] - up[p] + down[p] == int(of.pair_running[p]))
        for a in range(of.pair_arcs[p], of.pair_arcs[p + 1]):  # what the relaxation knows of small demands
            if of.demand_rps[of.arc_demand[a]] < of.pair_rps[p]:
                solver.addConstr(q[a] - float(of.demand_rps[of.arc_demand[a]]) * x[p] <= 0)
    for s in range(len(of.site_memory)):
        mine = range(of.site_pairs[s], of.site_pairs[s + 1])
        if len(mine):
            solver.addConstr(sum(int(of.pair_memory[p]) * x[p] for p in mine) <= int(of.site_memory[s]))
            solver.addConstr(sum(int(of.pair_compute[p]) * x[p] for p in mine) <= int(of.site_compute[s]))
    for link in range(len(of.link_mbps)):
        users = [
            float(of.use_mbit[k]) * q[a]
            for a in range(of.arcs)
            for k in range(of.arc_uses[a], of.arc_uses[a + 1])
            if of.use_link[k] == link
        ]
        if users:
            solver.addConstr(sum(users) <= float(of.link_mbps[link]))
    solver.run()
    return float(solver.getInfo().objective_function_value)


@settings(max_examples=25, deadline=None)
@given(seeds, st.booleans())
def test_every_plan_is_feasible_and_lies_above_its_bounds(seed: int, running: bool) -> None:
    of = made_up(seed, running=running)
    found = solve(of, EFFORT, seed)
    verdict = check_plan(of, found.plan)
    assert verdict.violations == ()
    bound = lagrangian_bound(of, found.relaxed.prices)
    assert lower_bound_usd_per_hour(of, bound.prices) == pytest.approx(bound.usd_per_hour, rel=1e-9, abs=1e-9)
    assert bound.usd_per_hour <= verdict.usd_per_hour + 1e-6
    tighter = bound_by_services(of, bound.prices)
    assert bound.usd_per_hour <= tighter.usd_per_hour + 1e-4
    assert tighter.usd_per_hour <= verdict.usd_per_hour + 1e-4
    assert gap(verdict.usd_per_hour, tighter) >= -1e-6


def test_nine_in_ten_small_programmes_are_solved_nearly_to_the_optimum() -> None:
    """Of 402 such 12 end further away, and the worst by half: which ones a draw meets must not decide."""
    found: list[float] = []
    for seed in range(40):
        for running in (False, True):
            of = made_up(seed, edge_sites=5, pools=1, services=3, zones=3, running=running)
            best, solved = optimum(of, whole=True), solve(of, EFFORT, 0)
            assert best - 1e-6 <= solved.plan.usd_per_hour
            tighter = bound_by_services(of, lagrangian_bound(of, solved.relaxed.prices).prices)
            assert tighter.usd_per_hour <= best + 1e-4
            found.append(solved.plan.usd_per_hour / max(best, 1e-6))
    assert sorted(found)[9 * len(found) // 10] <= 1.03


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 200))
def test_prices_prove_nearly_what_the_linear_relaxation_is_worth(seed: int) -> None:
    of = made_up(seed)
    worth = optimum(of, whole=False)
    bound = lagrangian_bound(of, relax(of, 2_000).prices)
    assert worth * 0.97 <= bound.usd_per_hour


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_threads_change_nothing(seed: int) -> None:
    of = made_up(seed, edge_sites=60, services=10, zones=80)
    assert of.demands > 400
    one, two = solve(of, Effort(50, 4_000), seed, threads=1), solve(of, Effort(50, 4_000), seed, threads=2)
    assert one.plan.usd_per_hour == two.plan.usd_per_hour
    assert (one.plan.replicas == two.plan.replicas).all()
    assert (one.plan.rps == two.plan.rps).all()
    assert check_plan(of, two.plan).violations == ()


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_a_sites_best_replicas_are_the_best(seed: int) -> None:
    """Against every combination there is, each priced by its calls taken best first."""
    of = made_up(seed, edge_sites=3, pools=1, services=3)
    state, lane = empty_state(of), new_lane(of, 1)
    price_usd, link_usd = of.demand_penalty_usd * 0.7, np.zeros(len(of.link_mbps))
    for site in range(3):
        pairs = range(of.site_pairs[site], of.site_pairs[site + 1])
        kernels.pick_replicas(of, state, lane, site, price_usd, link_usd)
        picked = _worth(of, {p: int(lane.picked[p]) for p in pairs}, price_usd)
        most = [range(int(of.site_compute[site] // of.pair_compute[p]) + 1) for p in pairs]
        best = 0.0
        for counts in itertools.product(*most):
            chosen = dict(zip(pairs, counts, strict=True))
            if sum(n * of.pair_memory[p] for p, n in chosen.items()) > of.site_memory[site]:
                continue
            if sum(n * of.pair_compute[p] for p, n in chosen.items()) > of.site_compute[site]:
                continue
            best = max(best, _worth(of, chosen, price_usd))
        assert picked == pytest.approx(best, abs=1e-6)


def _worth(of: Programme, replicas: dict[int, int], price_usd: np.ndarray) -> float:
    total = 0.0
    for pair, count in replicas.items():
        arcs = range(of.pair_arcs[pair], of.pair_arcs[pair + 1])
        gains = sorted(((price_usd[of.arc_demand[a]] - of.arc_usd[a], a) for a in arcs), reverse=True)
        room = count * of.pair_rps[pair]
        for gain, arc in gains:
            part = min(room, of.demand_rps[of.arc_demand[arc]]) if gain > 0 else 0.0
            total, room = total + part * gain, room - part
        total -= count * of.pair_usd[pair]
    return total


@settings(max_examples=15, deadline=None)
@given(seeds, st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True), st.floats(0.1, 3))
def test_a_repaired_plan_is_feasible_and_its_cost_is_told(seed: int, lost: list[int], factor: float) -> None:
    of = made_up(seed)
    found = solve(of, EFFORT, seed)
    repairs = Repairs(of, found.plan, found.relaxed, seed)
    usd = found.plan.usd_per_hour
    for site in lost:
        repaired = repairs.lose_site(site)
        usd += repaired.usd_per_hour
    assert repairs.lose_site(lost[0]).lost == 0
    demands = np.arange(0, of.demands, 2)
    usd += repairs.change_demands(demands, of.demand_rps[demands] * factor).usd_per_hour
    plan = repairs.plan()
    # Starting and stopping is charged while repairing, not kept as a cost of the plan.
    verdict = check_plan(repairs.programme, plan)
    assert verdict.violations == ()
    assert not plan.replicas[np.isin(of.pair_site, lost)].any()
    assert verdict.usd_per_hour == pytest.approx(usd, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_loss_of_a_site_that_holds_nothing_changes_nothing(seed: int) -> None:
    of = made_up(seed)
    found = solve(of, EFFORT, seed)
    repairs = Repairs(of, found.plan, found.relaxed, seed)
    held = np.bincount(of.pair_site, found.plan.replicas, len(of.site_memory))
    empty = np.nonzero((held == 0) & ~of.site_pool)[0]
    for site in empty:
        repaired = repairs.lose_site(int(site))
        assert (repaired.lost, repaired.started, repaired.stopped, repaired.usd_per_hour) == (0, 0, 0, 0.0)
    plan = repairs.plan()
    assert (plan.replicas == found.plan.replicas).all()
    assert plan.rps == pytest.approx(found.plan.rps)


def test_a_programme_of_one_zone_is_searched_too() -> None:
    """All of it falls into one lane, whichever that is."""
    of = made_up(2, edge_sites=40, services=700, zones=1)
    assert of.demands >= LEAST_CUT_DEMANDS
    plain = solve(of, Effort(100, 400), 0).plan
    searched = solve(of, Effort(100, 8_000), 0).plan
    assert check_plan(of, searched).violations == ()
    assert searched.usd_per_hour < plain.usd_per_hour


def test_effort_follows_size_and_budget_alone() -> None:
    of = made_up(1)
    assert effort_for(of, 10) == effort_for(of, 10)
    assert effort_for(of, 20).moves > effort_for(of, 10).moves > effort_for(of, 0.001).moves > 0


@pytest.mark.parametrize("without", [("arc", "use"), ("arc", "use", "demand")], ids=["arcs", "demands"])
def test_nothing_to_place_is_a_plan_too(without: tuple[str, ...]) -> None:
    full = made_up(5)
    made = {"site_memory_step", "site_compute_step", "site_pairs", "pair_arcs", "demand_arcs", "demand_arc"}
    arrays = {field: getattr(full, field) for field in Programme._fields if field not in made}
    arrays |= {name: values[:0] for name, values in arrays.items() if name.partition("_")[0] in without}
    of = programme(**arrays | {"arc_uses": np.zeros(1)})
    found = solve(of, EFFORT, 0)
    verdict = check_plan(of, found.plan)
    assert verdict.violations == ()
    assert not found.plan.replicas.any()
    assert verdict.usd_per_hour == pytest.approx((of.demand_rps * of.demand_penalty_usd).sum())
    assert lagrangian_bound(of, found.relaxed.prices).usd_per_hour == pytest.approx(verdict.usd_per_hour)
