"""One HiGHS object, built once from a `LinearModel`: change the costs, run, read.

Everything is minimised inside: `costs` come multiplied by the model's sign. Each row's costs are scaled by
a power of two, because HiGHS' tolerances are absolute: for costs of 1e-9 every vertex would be "optimal", and
at unit scale branch and bound stops 1e-8 short of the optimum.
"""

from __future__ import annotations

from typing import Any, final

import highspy
import numpy as np

from imle_opt_solvers.engines.walker import StartBasis
from imle_opt_solvers.errors import UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import RowAnswer, scaled
from imle_opt_solvers.solution import FloatArray, Limits, Status

__all__ = ["HighsObject", "as_highs_lp", "restart_threads"]

_STATUSES = {
    highspy.HighsModelStatus.kOptimal: Status.OPTIMAL,
    highspy.HighsModelStatus.kModelEmpty: Status.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: Status.INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: Status.UNBOUNDED,
    highspy.HighsModelStatus.kTimeLimit: Status.LIMIT,
    highspy.HighsModelStatus.kIterationLimit: Status.LIMIT,
    highspy.HighsModelStatus.kSolutionLimit: Status.LIMIT,
}
"""Every other status, `kUnboundedOrInfeasible` apart, is an error."""


_LARGEST_EXPONENT = 20
"""The largest cost of a row is scaled to [2^19, 2^20): tolerances of 1e-7 are then 1e-13 of it."""
_SMALLEST_COEFFICIENT = 1e-12
"""HiGHS drops smaller ones, and by default all up to 1e-9; it takes no smaller option."""
_DUAL_SIMPLEX = 1
_PRIMAL_SIMPLEX = 4


@final
class HighsObject:
    """A HiGHS object for one model; not thread-safe, not picklable: made where it is used.

    Args:
        model: what to solve; its integrality decides between simplex and branch and bound.
        limits: seconds, relative gap and threads of one run.
    """

    def __init__(self, model: LinearModel, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.highs: Any = _build(model, limits)
        self._strategy = -1
        self._all_columns = np.arange(model.num_columns, dtype=np.int32)
        self._all_rows = np.arange(model.num_rows, dtype=np.int32)

    def run(self, costs: FloatArray, *, fresh: bool, start: FloatArray | None = None) -> RowAnswer:
        """Minimise `costs` (columns,).

        Args:
            costs: (columns,).
            fresh: forget the last basis and solution first.
            start: (columns,) a feasible point that branch and bound need only improve on.
        """
        highs = self.highs
        if fresh:
            highs.clearSolver()
        if not self.model.is_mixed_integer:
            self._choose_simplex(fresh)
        highs.changeColsCost(len(costs), self._all_columns, scaled(costs, _LARGEST_EXPONENT))
        if self.limits.seconds is not None:
            # HiGHS counts the time of all LP runs of an object together, but each MIP run on its own.
            spent = 0.0 if self.model.is_mixed_integer else highs.getRunTime()
            highs.setOptionValue("time_limit", spent + self.limits.seconds)
        if start is not None:
            solution = highspy.HighsSolution()
            solution.col_value = start.tolist()
            highs.setSolution(solution)
        if highs.run() == highspy.HighsStatus.kError:
            restart_threads()
            highs.run()
        answer = self._read()
        if answer.status is Status.ERROR and not self.model.is_mixed_integer:
            return self._read_other_simplex()
        return answer

    @property
    def iterations(self) -> int:
        """Simplex iterations of the last run."""
        return int(self.highs.getInfo().simplex_iteration_count)

    def set_bounds(
        self,
        row_lower: FloatArray,
        row_upper: FloatArray,
        column_lower: FloatArray,
        column_upper: FloatArray,
    ) -> None:
        """Replace the sides of all constraints and the bounds of all variables."""
        self.highs.changeRowsBounds(len(row_lower), self._all_rows, row_lower, row_upper)
        self.highs.changeColsBounds(len(column_lower), self._all_columns, column_lower, column_upper)

    def feasible_basis(self) -> StartBasis | None:
        """Return a basis that is feasible whatever the costs, or None where none is found.

        It depends on the model alone, not on what was solved before.
        """
        columns = self.model.num_columns
        if self.run(np.zeros(columns), fresh=True).status is not Status.OPTIMAL:
            return None
        basis = self.highs.getBasis()
        statuses = [*basis.col_status, *basis.row_status]
        lower = np.concatenate([self.model.column_lower, self.model.row_lower])
        upper = np.concatenate([self.model.column_upper, self.model.row_upper])
        basic = np.array([status == highspy.HighsBasisStatus.kBasic for status in statuses])
        at_upper = np.array([status == highspy.HighsBasisStatus.kUpper for status in statuses])
        return StartBasis.of(basic, at_upper, lower, upper)

    def _choose_simplex(self, fresh: bool) -> None:
        """Dual simplex from the slack basis, or primal from the last one, which new costs keep feasible."""
        strategy = _DUAL_SIMPLEX if fresh else _PRIMAL_SIMPLEX
        if strategy != self._strategy:
            self.highs.setOptionValue("simplex_strategy", strategy)
            self._strategy = strategy

    def _read_other_simplex(self) -> RowAnswer:
        """Solve again by the simplex that has not given up: one of them may take a ray for trouble."""
        other = _DUAL_SIMPLEX if self._strategy == _PRIMAL_SIMPLEX else _PRIMAL_SIMPLEX
        self.highs.clearSolver()
        self.highs.setOptionValue("simplex_strategy", other)
        self._strategy = other
        self.highs.run()
        return self._read()

    def _read(self) -> RowAnswer:
        highs = self.highs
        foreign = highs.getModelStatus()
        if foreign == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            return RowAnswer(self._unbounded_or_infeasible())
        status = _STATUSES.get(foreign, Status.ERROR)
        mixed = self.model.is_mixed_integer
        if status is Status.OPTIMAL:
            gap = max(0.0, highs.getInfo().mip_gap) if mixed else 0.0
            return RowAnswer(status, self._values(), gap)
        if status is Status.LIMIT and mixed and self._has_incumbent():
            gap = highs.getInfo().mip_gap
            return RowAnswer(Status.FEASIBLE, self._values(), gap if np.isfinite(gap) else np.nan)
        return RowAnswer(status)

    def _values(self) -> FloatArray:
        return np.array(self.highs.getSolution().col_value, dtype=np.float64)

    def _has_incumbent(self) -> bool:
        feasible = int(highspy.SolutionStatus.kSolutionStatusFeasible)
        return int(self.highs.getInfo().primal_solution_status) == feasible

    def _unbounded_or_infeasible(self) -> Status:
        """Tell the two apart: without costs nothing is unbounded."""
        self.highs.changeColsCost(self.model.num_columns, self._all_columns, np.zeros(self.model.num_columns))
        self.highs.run()
        foreign = self.highs.getModelStatus()
        known = {
            highspy.HighsModelStatus.kInfeasible: Status.INFEASIBLE,
            highspy.HighsModelStatus.kOptimal: Status.UNBOUNDED,
            highspy.HighsModelStatus.kTimeLimit: Status.LIMIT,
        }
        return known.get(foreign, Status.ERROR)


def restart_threads() -> None:
    """Let HiGHS make its thread pool anew: it refuses to run with another number of threads than before.

    Each thread of Python has a pool of its own; all HiGHS objects in it share that pool.
    """
    highspy.Highs.resetGlobalScheduler(True)


def _refuse_lost_coefficients(model: LinearModel) -> None:
    sizes = np.abs(model.row_values)
    lost = np.flatnonzero((sizes > 0) & (sizes <= _SMALLEST_COEFFICIENT))
    if lost.size:
        entry = int(lost[0])
        row = int(np.searchsorted(model.row_starts, entry, side="right")) - 1
        raise UnsupportedModelError(
            f"HiGHS takes coefficients up to {_SMALLEST_COEFFICIENT:g} for zero: constraint "
            f"{model.row_names[row]!r} has {model.row_values[entry]:g} on variable "
            f"{model.column_names[model.row_columns[entry]]!r}. Scale the constraint, or drop the "
            f"coefficient."
        )


def _build(model: LinearModel, limits: Limits) -> highspy.Highs:
    _refuse_lost_coefficients(model)
    highs = highspy.Highs()
    options: dict[str, bool | int | float | str] = {
        "output_flag": False,
        "threads": limits.threads,
        "mip_rel_gap": limits.relative_gap,
        "mip_abs_gap": 0.0,
        "small_matrix_value": _SMALLEST_COEFFICIENT,
        # The feasibility-jump heuristic costs 12-16 ms a run, more than a small model itself.
        "mip_heuristic_run_feasibility_jump": False,
    }
    if not model.is_mixed_integer:
        options |= {"solver": "simplex", "presolve": "off"}
    elif not model.integrality.all():
        # HiGHS 1.14's presolve loses optima of models that have both kinds of columns.
        options["presolve"] = "off"
    for name, value in options.items():
        highs.setOptionValue(name, value)
    if highs.passModel(as_highs_lp(model)) == highspy.HighsStatus.kError:
        raise UnsupportedModelError(
            "HiGHS cannot hold this model, most likely for a coefficient of 1e15 or more (the largest is "
            f"{np.abs(model.row_values).max(initial=0.0):g}): scale the constraints, or use engine='native'."
        )
    return highs


def as_highs_lp(model: LinearModel) -> Any:
    """Return the model as HiGHS takes it, without costs."""
    lp: Any = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = model.num_columns, model.num_rows
    lp.col_cost_ = np.zeros(model.num_columns)
    lp.col_lower_, lp.col_upper_ = model.column_lower, model.column_upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = model.num_columns, model.num_rows
    lp.a_matrix_.start_ = model.row_starts
    lp.a_matrix_.index_ = model.row_columns
    lp.a_matrix_.value_ = model.row_values
    if model.is_mixed_integer:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(integer)] for integer in model.integrality]
    return lp
