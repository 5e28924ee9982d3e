"""Which solver plans a problem: integer programming while it is small, the search beyond."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model.snapshot import ShadowPrice
from orchestrator.placement.checking import lower_bound_usd_per_hour
from orchestrator.placement.joint.exact import solve_exactly
from orchestrator.placement.joint.lowering import array_prices, lower, outlines, shadow_prices
from orchestrator.placement.joint.problem import Problem
from orchestrator.placement.joint.restricting import alone, breaks_rules, contested_usd
from orchestrator.placement.outline import Outline

BRANCH_AND_BOUND, LAGRANGIAN = "branch and bound", "Lagrangian"
# Of zones to sites: so many for each pair that may be solved exactly.
WAYS_PER_PAIR = 10
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


def solve(problem: Problem, seed: int, most_pairs_exactly: int) -> Solved:
    if len(problem.pairs) <= most_pairs_exactly and len(problem.ways) <= WAYS_PER_PAIR * most_pairs_exactly:
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
    wished = _with_rules(problem, outlines(lowered, found.plan))
    return Solved(wished, bound.usd_per_hour + problem.stopped_elsewhere_usd, LAGRANGIAN, prices)


def _with_rules(problem: Problem, found: list[Outline]) -> list[Outline]:
    """Services whose rules the arrays could not say are solved once more, one after the other.

    Of two that are kept apart and meet, the one with less to lose goes first, and gives way.
    """
    for member in sorted(range(len(problem.members)), key=lambda member: contested_usd(problem, member, found)):
        if breaks_rules(problem, member, found):
            exact = solve_exactly(alone(problem, member, found))
            if exact.outlines:
                found[member] = exact.outlines[0]
    return found
