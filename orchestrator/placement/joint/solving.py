"""Which solver plans a problem: integer programming while it is small, the search beyond."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model.snapshot import ShadowPrice
from orchestrator.placement.checking import lower_bound_usd_per_hour
from orchestrator.placement.joint.exact import solve_exactly
from orchestrator.placement.joint.lowering import array_prices, lower, outlines, shadow_prices
from orchestrator.placement.joint.problem import Problem
from orchestrator.placement.outline import Outline

BRANCH_AND_BOUND, LAGRANGIAN = "branch and bound", "Lagrangian"
# Beyond these integer programming takes seconds.
MOST_PAIRS, MOST_WAYS = 250, 2_500
# Of the search: enough for prices within a percent, and for a plan within two of what ten times the moves find.
ITERATIONS, MOVES_PER_DEMAND, LEAST_MOVES = 300, 200, 4_000
# Sums of floats are not exact.
ROUNDED = 1e-6
# Two make the same plan as one, sooner.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Solved:
    """One outline for each member, or none; the bound is of the objective."""

    outlines: Sequence[Outline]
    bound_usd_per_hour: float
    bound: str
    prices: tuple[ShadowPrice, ...]


def solve(problem: Problem, seed: int) -> Solved:
    if len(problem.pairs) <= MOST_PAIRS and len(problem.ways) <= MOST_WAYS:
        return _solved_exactly(problem)
    return _searched(problem, seed)


def _solved_exactly(problem: Problem) -> Solved:
    """Its bound, or what its prices prove where that is clearly more: the effort found no answer."""
    exact = solve_exactly(problem)
    lowered = lower(problem)
    proven = lower_bound_usd_per_hour(lowered.programme, array_prices(lowered, exact.prices))
    proven += problem.stopped_elsewhere_usd
    if exact.outlines and exact.bound_usd_per_hour >= proven * (1 - ROUNDED):
        return Solved(exact.outlines, exact.bound_usd_per_hour, BRANCH_AND_BOUND, exact.prices)
    return Solved(exact.outlines, proven, LAGRANGIAN, exact.prices)


def _searched(problem: Problem, seed: int) -> Solved:
    # Compiled code and its compiler are loaded only where a fleet needs them: they take a second, and 100 MiB.
    from orchestrator.placement.search.bounds import lagrangian_bound
    from orchestrator.placement.search.solve import Effort, solve

    lowered = lower(problem)
    moves = max(MOVES_PER_DEMAND * lowered.programme.demands, LEAST_MOVES)
    found = solve(lowered.programme, Effort(ITERATIONS, moves), seed, THREADS)
    bound = lagrangian_bound(lowered.programme, found.relaxed.prices, THREADS)
    prices = shadow_prices(lowered, bound.prices)
    return Solved(outlines(lowered, found.plan), bound.usd_per_hour + problem.stopped_elsewhere_usd, LAGRANGIAN, prices)
