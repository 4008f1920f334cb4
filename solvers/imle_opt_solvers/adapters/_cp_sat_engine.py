"""CP-SAT with float costs: scaled to integers by a power of two, solved, and the rounding error bounded.

    k_i = round(2^e c_i),  e the largest with  sum_i |2^e c_i| max(|l_i|, |u_i|, 1) <= 2^60
    suboptimality <= sum_i |c_i - 2^-e k_i| (u_i - l_i)

The sums of CP-SAT stay below its overflow at 2^62. The error bound is 0 for integer costs and for floats of
similar size over small domains; it grows with the domains: about 2^-60 of the objective's range per unit of
domain width.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from ortools.sat.python import cp_model

from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import RowAnswer
from imle_opt_solvers.solution import FloatArray, Limits, Status

__all__ = ["CpSatEngine", "integer_costs"]

_LARGEST_EXPONENT = 60
_TOLERANCE = 1e-7
"""A rounding error up to this share of the objective's range passes for proven, as it does in the solvers
that work in floating point; beyond, the row is `FEASIBLE`."""

_STATUSES = {
    cp_model.OPTIMAL: Status.OPTIMAL,
    cp_model.FEASIBLE: Status.FEASIBLE,
    cp_model.INFEASIBLE: Status.INFEASIBLE,
    cp_model.UNKNOWN: Status.LIMIT,
}
"""Every other status is an error."""


def integer_costs(costs: FloatArray, lower: FloatArray, upper: FloatArray) -> tuple[list[int], int]:
    """Return `costs` (columns,) as integers k and the exponent e of their scale, `k = round(2^e costs)`.

    Args:
        costs: (columns,).
        lower: (columns,) finite bounds.
        upper: (columns,) finite bounds.
    """
    reach = np.maximum(np.maximum(np.abs(lower), np.abs(upper)), 1.0)
    # The exponent of the sum of |cost| * reach, which itself may be beyond the largest float.
    largest = float(np.abs(costs).max(initial=0.0))
    if largest == 0.0:
        return [0] * len(costs), 0
    shift = int(np.frexp(largest)[1])
    total = float(np.abs(np.ldexp(costs, -shift)) @ reach)
    exponent = _LARGEST_EXPONENT - int(np.frexp(total)[1]) - shift
    return [int(value) for value in np.rint(np.ldexp(costs, exponent))], exponent


@final
class CpSatEngine:
    """A CP-SAT model and solver for one thread; it keeps nothing from row to row but the model.

    Args:
        proto: the exported `CpModelProto`.
        columns: its columns.
        limits: per row.
    """

    def __init__(self, proto: Any, columns: LinearModel, limits: Limits) -> None:
        self.columns = columns
        self.limits = limits
        self.model: Any = cp_model.CpModel()
        self.model.proto.parse_text_format(str(proto))
        self.model.proto.clear_floating_point_objective()
        self.model.proto.clear_objective()
        self.costed = np.union1d(np.flatnonzero(columns.fixed_costs), columns.predicted.columns)
        self.model.proto.objective.vars.extend(self.costed.tolist())
        self.model.proto.objective.coeffs.extend([0] * len(self.costed))

    def run(self, costs: FloatArray, *, fresh: bool) -> RowAnswer:
        """Optimise `costs` (columns,) in the model's own sense; every solve is a fresh one."""
        minimised = -self.columns.sense.sign * costs[self.costed]
        integers, exponent = integer_costs(minimised, *self._bounds())
        objective = self.model.proto.objective
        for index, coefficient in enumerate(integers):
            objective.coeffs[index] = coefficient
        if self.limits.relative_gap > 0.0:
            # CP-SAT measures its gap against the whole objective, the constant included.
            objective.offset = float(np.ldexp(-self.columns.sense.sign * self.columns.offset, exponent))
        solver: Any = cp_model.CpSolver()
        _apply_limits(solver.parameters, self.limits)
        status = _STATUSES.get(solver.solve(self.model), Status.ERROR)
        if not status.has_decision:
            return RowAnswer(status)
        values = np.array(solver.response_proto.solution, dtype=np.float64)
        unproven = np.ldexp(abs(solver.objective_value - solver.best_objective_bound), -exponent)
        rounding = np.ldexp(np.array(integers, dtype=np.float64), -exponent) - minimised
        return self._judged(status, costs, values, rounding, float(unproven))

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        return self.columns.column_lower[self.costed], self.columns.column_upper[self.costed]

    def _judged(
        self, status: Status, costs: FloatArray, values: FloatArray, rounding: FloatArray, unproven: float
    ) -> RowAnswer:
        """Add the rounding error to the gap, and call a row optimal only where the sum is small."""
        lower, upper = self._bounds()
        error = float(np.abs(rounding) @ (upper - lower))
        tolerable = _TOLERANCE * float(np.abs(costs[self.costed]) @ (upper - lower))
        objective = abs(float(costs @ values) + self.columns.offset)
        if status is Status.OPTIMAL and error > max(tolerable, self.limits.relative_gap * objective):
            status = Status.FEASIBLE
        distance = error + unproven
        if distance == 0.0:
            return RowAnswer(status, values, 0.0)
        return RowAnswer(status, values, distance / objective if objective > 0.0 else float(np.nan))


def _apply_limits(parameters: Any, limits: Limits) -> None:
    if limits.seconds is not None:
        parameters.max_time_in_seconds = limits.seconds
    parameters.relative_gap_limit = limits.relative_gap
    parameters.num_workers = limits.threads
    # A single worker proves little without cuts; several share the work, and must do so in a fixed order.
    parameters.linearization_level = 2 if limits.threads == 1 else 1
    parameters.interleave_search = limits.threads > 1
    # CP-SAT's own handler of Ctrl-C does not give Python's back: the next one would end the process.
    parameters.catch_sigint_signal = False
