"""Which solver plans a problem: integer programming while it is small, the search beyond."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model.snapshot import ShadowPrice
from orchestrator.placement.checking import lower_bound_usd_per_hour
from orchestrator.placement.joint.exact import solve_exactly
from orchestrator.placement.joint.lowering import array_prices, lower, outlines, shadow_prices
from orchestrator.placement.joint.problem import Problem
from orchestrator.placement.joint.restricting import alone, breaks_rules, contested_usd, parts_of
from orchestrator.placement.joint.totals import Constraint, limits_of_member
from orchestrator.placement.outline import Outline

BRANCH_AND_BOUND, LAGRANGIAN = "branch and bound", "Lagrangian"
# Of zones to sites: so many for each pair that may be solved exactly.
WAYS_PER_PAIR = 10
# Sums of floats are not exact.
ROUNDED = 1e-6


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
    from orchestrator.placement.joint.searching import search

    lowered = lower(problem)
    found = search(lowered, seed)
    wished = _with_rules(problem, outlines(lowered, found.plan), found.tight)
    bound_usd_per_hour = found.bound_usd_per_hour + problem.stopped_elsewhere_usd
    return Solved(wished, bound_usd_per_hour, LAGRANGIAN, shadow_prices(lowered, found.prices, found.limit_usd))


def _with_rules(problem: Problem, found: list[Outline], tight: frozenset[Constraint]) -> list[Outline]:
    """Services whose rules the arrays could not say, or whose limits are `tight`, are solved once more, one by one.

    Of two that are kept apart and meet, the one with less to lose goes first, and gives way.
    """
    parts = parts_of(problem)
    for member in sorted(range(len(problem.members)), key=lambda member: contested_usd(problem, member, found)):
        if breaks_rules(problem, member, found) or limits_of_member(problem, member) & tight:
            exact = solve_exactly(alone(parts, member, found))
            if exact.outlines:
                found[member] = exact.outlines[0]
    return found
