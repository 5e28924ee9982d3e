"""A large problem searched, with limits on replicas as prices of replicas.

Arrays know limits on calls only, and a replica for few calls takes as much of a tenant's quota as a full one. So where
a plan holds more than a limit allows, each replica is charged for what it takes of it, and the search runs again: the
Lagrangian of that limit, its price found by halving. Any such price gives a bound too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from orchestrator.placement.joint.lowering import Lowered
from orchestrator.placement.joint.totals import Constraint, Total, held
from orchestrator.placement.search.bounds import lagrangian_bound
from orchestrator.placement.search.programme import Floats, Ints, Plan, Prices, Programme
from orchestrator.placement.search.relaxation import Point
from orchestrator.placement.search.solve import Effort, solve, usd_per_hour

# Enough for prices within a percent, and for a plan within two of what ten times the moves find.
ITERATIONS, MOVES_PER_DEMAND, LEAST_MOVES = 300, 200, 4_000
# What a replica counts may be a thousand times what it costs: its price is sought upwards by this factor.
GROWTH = 10.0
ROUNDS = 8
# Two make the same plan as one, sooner.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Searched:
    """`limit_usd` and `prices` are those of the bound; `tight` are the limits that a plan without charges broke."""

    plan: Plan
    tight: frozenset[Constraint]
    bound_usd_per_hour: float
    prices: Prices
    limit_usd: Mapping[Constraint, float]


@dataclass(slots=True)
class _Price:
    """Of one limit: between `least`, with which a plan held too much, and `most`, with which it did not."""

    limit: Total
    pairs: Ints
    taken: Floats  # of each of these pairs' replicas
    usd: float = 0.0
    least: float = 0.0
    most: float | None = None

    def over(self, replicas: Ints) -> bool:
        return float((replicas[self.pairs] * self.taken).sum()) > self.limit.most * (1 + 1e-9)

    def move(self, over: bool, first_usd: float) -> None:
        if over:
            self.least = self.usd
        elif self.usd > 0:
            self.most = self.usd
        if self.most is None:
            self.usd = max(GROWTH * self.usd, first_usd) if over else 0.0
        else:
            # Of prices the right size is sought first.
            self.usd = sqrt(max(self.least, first_usd / GROWTH) * self.most)


def search(lowered: Lowered, seed: int) -> Searched:
    """The best plan that holds no more than limits allow, else the last; and the best bound."""
    programme = lowered.programme
    limits = [_price(limit) for limit in held(lowered.problem) if limit.uses]
    effort = Effort(ITERATIONS, max(MOVES_PER_DEMAND * programme.demands, LEAST_MOVES))
    best: Searched | None = None
    tight: set[Constraint] = set()
    plans: list[tuple[bool, float, Plan]] = []  # whether it holds too much, what it costs without charges
    point: Point | None = None
    for _ in range(ROUNDS):
        charged = _charged(programme, limits)
        found = solve(charged, effort, seed, THREADS, point)
        point = found.relaxed.point
        bound = lagrangian_bound(charged, found.relaxed.prices, THREADS)
        usd = {limit.limit.constraint: limit.usd for limit in limits if limit.usd > 0}
        proven = bound.usd_per_hour - sum(limit.usd * limit.limit.most for limit in limits)
        replicas, rps = found.plan.replicas, found.plan.rps
        over = [limit.over(replicas) for limit in limits]
        plans.append((any(over), usd_per_hour(programme, replicas, rps), found.plan))
        if best is None or proven > best.bound_usd_per_hour:
            best = Searched(found.plan, frozenset(), proven, bound.prices, usd)
        if not any(over) and not usd:
            break
        for limit, too_much in zip(limits, over, strict=True):
            tight |= {limit.limit.constraint} if too_much else set()
            limit.move(too_much, _first_usd(programme, limit))
    assert best is not None
    _, _, plan = min(plans, key=lambda one: one[:2])
    return replace(best, plan=plan, tight=frozenset(tight))


def _price(limit: Total) -> _Price:
    pairs = np.array([pair for pair, _ in limit.uses], dtype=np.int64)
    return _Price(limit, pairs, np.array([taken for _, taken in limit.uses], dtype=np.float64))


def _charged(programme: Programme, limits: list[_Price]) -> Programme:
    pair_usd = programme.pair_usd.copy()
    for limit in limits:
        pair_usd[limit.pairs] += limit.usd * limit.taken
    return programme._replace(pair_usd=pair_usd)


def _first_usd(programme: Programme, limit: _Price) -> float:
    """As much again as the replica costs, or if it is free a thousandth of its calls' worth."""
    usd, taken = programme.pair_usd[limit.pairs], np.maximum(limit.taken, 1e-9)
    worth = programme.pair_rps[limit.pairs] * float(np.median(programme.demand_penalty_usd)) / 1000
    return float(np.median(np.where(usd > 0, usd, worth) / taken))
