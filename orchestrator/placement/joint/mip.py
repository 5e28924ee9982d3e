"""A small integer programme, row by row, solved by HiGHS: the same to the bit each time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from orchestrator.placement.highs import Highs

Term = tuple[int, float]  # column, factor

# One thread and bounded effort in steps, so that neither load nor a clock decides.
_OPTIONS: dict[str, bool | int | float | str] = {
    "output_flag": False,
    "threads": 1,
    "random_seed": 0,
    "mip_max_nodes": 500,
    "mip_rel_gap": 1e-7,
    "mip_abs_gap": 1e-9,
    "mip_feasibility_tolerance": 1e-9,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
}
_SOLVED = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kSolutionLimit)


@dataclass(frozen=True, slots=True)
class Answer:
    """Values of the columns, and what no other values can undercut."""

    values: Sequence[float]
    bound: float


@dataclass(slots=True)
class Mip:
    """Minimise the columns' cost. Columns and rows are numbered as they are added."""

    cost: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    indices: list[int] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    row_least: list[float] = field(default_factory=list)
    row_most: list[float] = field(default_factory=list)

    def column(self, cost: float, most: float = highspy.kHighsInf, whole: bool = False) -> int:
        """At least 0."""
        self.cost.append(cost)
        self.most.append(most)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, terms: Sequence[Term], least: float = -highspy.kHighsInf, most: float = highspy.kHighsInf) -> int:
        """Terms of the same column add up."""
        summed: dict[int, float] = {}
        for column, factor in terms:
            summed[column] = summed.get(column, 0.0) + factor
        self.indices += summed.keys()
        self.factors += summed.values()
        self.starts.append(len(self.indices))
        self.row_least.append(least)
        self.row_most.append(most)
        return len(self.row_least) - 1

    def solve(self, cost: Sequence[float] | None = None) -> Answer | None:
        """At the columns' cost, or at another. None: there is no answer, or none was found within the effort."""
        if not self.cost:
            return Answer((), 0.0)
        cost = self.cost if cost is None else cost
        solver = self._solver(cost, whole=True)
        solver.run()
        info = solver.getInfo()
        if solver.getModelStatus() not in _SOLVED or not np.isfinite(info.objective_function_value):
            return None
        bound = info.mip_dual_bound if any(self.whole) else info.objective_function_value
        return Answer(list(solver.getSolution().col_value), float(bound) * _unit(cost))

    def duals(self, cost: Sequence[float], without: Collection[int]) -> Sequence[float]:
        """Of the rows, but for those that are left out, columns being any numbers; all 0: no answer."""
        solver = self._solver(cost, whole=False)
        for row in without:
            solver.changeRowBounds(row, -highspy.kHighsInf, highspy.kHighsInf)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return [0.0] * len(self.row_least)
        return [dual * _unit(cost) for dual in solver.getSolution().row_dual]

    def _solver(self, cost: Sequence[float], whole: bool) -> Highs:
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.cost), len(self.row_least)
        model.col_cost_, model.col_upper_ = np.array(cost) / _unit(cost), np.array(self.most)
        model.col_lower_ = np.zeros(len(self.cost))
        model.row_lower_, model.row_upper_ = np.array(self.row_least), np.array(self.row_most)
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.array(self.starts)
        model.a_matrix_.index_, model.a_matrix_.value_ = np.array(self.indices), np.array(self.factors)
        if whole:
            kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
            model.integrality_ = [kinds[each] for each in self.whole]
        solver = Highs()
        for name, value in _OPTIONS.items():
            solver.setOptionValue(name, value)
        solver.passModel(model)
        return solver


def _unit(cost: Sequence[float]) -> float:
    """Costs are divided by it: tolerances are absolute."""
    return max((abs(each) for each in cost), default=0.0) / 100 or 1.0
