"""`ortools.math_opt.python.mathopt.Model`.

The order of the costs, where `variables` is not given, is that of the variables' ids: the order in which they
were made, without those that were deleted. The user's object is exported once and never changed.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, final

import numpy as np
from ortools.math_opt.python import mathopt

from imle_opt_solvers.adapters._native import (
    NativeSolver,
    power_of_two_scale,
    relative_gap,
)
from imle_opt_solvers.adapters._ortools import (
    canonical_solver,
    filled_names,
    no_linear_form,
    only_linear_objective,
    plain_variables,
    refuse_inexact,
    refuse_shadowed_highs,
    sparse_rows,
)
from imle_opt_solvers.errors import UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel, select_columns
from imle_opt_solvers.row_answer import RowAnswer, exact_integers
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Sense, Status

__all__ = ["MathOptSolver", "read"]

_SOLVERS: dict[str, Any] = {
    "scip": mathopt.SolverType.GSCIP,
    "cp-sat": mathopt.SolverType.CP_SAT,
    "highs": mathopt.SolverType.HIGHS,
    "glop": mathopt.SolverType.GLOP,
}
_NOT_LINEAR = {
    "quadratic_constraints": "quadratic constraints",
    "second_order_cone_constraints": "second-order cone constraints",
    "sos1_constraints": "SOS1 constraints",
    "sos2_constraints": "SOS2 constraints",
    "indicator_constraints": "indicator constraints",
}
"""Fields of `ModelProto`, and what a message calls them."""

_REASONS = {
    mathopt.TerminationReason.OPTIMAL: Status.OPTIMAL,
    mathopt.TerminationReason.INFEASIBLE: Status.INFEASIBLE,
    mathopt.TerminationReason.UNBOUNDED: Status.UNBOUNDED,
    mathopt.TerminationReason.INFEASIBLE_OR_UNBOUNDED: Status.INFEASIBLE,
    mathopt.TerminationReason.FEASIBLE: Status.FEASIBLE,
    mathopt.TerminationReason.NO_SOLUTION_FOUND: Status.LIMIT,
}
"""Every other reason is an error; `NativeSolver` tells infeasible from unbounded."""


def read(model: Any, variables: object = None) -> LinearModel:
    """Convert a MathOpt `Model`, exactly.

    Args:
        model: the user's object; it is not changed.
        variables: the variables whose costs are predicted: `mathopt.Variable` objects or names, in a dict,
            list or array; None for all with an objective coefficient.

    Raises:
        UnsupportedModelError: quadratic, second-order cone, SOS or indicator constraints, a quadratic
            objective, or auxiliary objectives.
        ModelError: no objective to take the variables from, or a variable that is not in this model.
    """
    proto = model.export_model()
    for field, kind in _NOT_LINEAR.items():
        if getattr(proto, field):
            raise no_linear_form(f"A part of the model (`{field}`)", f"made of {kind}")
    return _convert(proto, variables, _column_of(model), with_rows=True)


@final
class MathOptSolver(NativeSolver):
    """A MathOpt `Model` solved by OR-Tools' own solver, on a clone of it.

    Args:
        model: the user's object; it is not changed.
        variables: see `read`.
        solver: `"scip"` (takes quadratic, SOS and indicator constraints too), `"cp-sat"`, `"highs"` or
            `"glop"`; None, since the model names none, for SCIP where a variable is integer or a constraint
            not linear, else GLOP.
        limits: per row. `threads` counts for CP-SAT only, the others use one (HiGHS its own default).
        on_failure: see `Solver`.

    Raises:
        UnsupportedModelError: a solver that cannot solve this model exactly; a quadratic objective, or
            auxiliary objectives.
        ModelError: see `read`.

    One solve per row; with `deterministic=False` an incremental one. CP-SAT works with integers: its rows'
    `gaps` count the error of rounding the costs.
    """

    def __init__(
        self,
        model: Any,
        variables: object = None,
        *,
        solver: str | None = None,
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
    ) -> None:
        columns = _convert(model.export_model(), variables, _column_of(model), with_rows=False)
        self.proto = model.export_model(remove_names=True)
        self.solver = _choose_solver(solver, columns, self.proto)
        super().__init__(columns, f"native:{self.solver}", limits=limits, on_failure=on_failure)

    def build_engine(self) -> _MathOptEngine:
        """Make a model of this thread's own from the exported one."""
        return _MathOptEngine(self.proto, self.columns, self.solver, self.limits)


def _choose_solver(solver: str | None, columns: LinearModel, proto: Any) -> str:
    extras = [kind for field, kind in _NOT_LINEAR.items() if getattr(proto, field)]
    if solver is None:
        return "scip" if columns.is_mixed_integer or extras else "glop"
    name = canonical_solver(solver, tuple(_SOLVERS), "MathOpt")
    if extras and name != "scip":
        raise UnsupportedModelError(f"{name} does not take {extras[0]} through MathOpt: use solver='scip'.")
    refuse_inexact(name, columns)
    refuse_shadowed_highs(name)
    return name


@final
class _MathOptEngine:
    """A MathOpt model and its solver, for one thread."""

    def __init__(self, proto: Any, columns: LinearModel, solver: str, limits: Limits) -> None:
        self.columns = columns
        self.solver = solver
        self.limits = limits
        self.model: Any = mathopt.Model.from_model_proto(proto)
        self.variables: list[Any] = list(self.model.variables())
        self.parameters = _parameters(solver, columns.is_mixed_integer, limits)
        self.incremental: Any = None

    def run(self, costs: FloatArray, *, fresh: bool) -> RowAnswer:
        """Optimise `costs` (columns,) in the model's own sense; `fresh` makes a new solver."""
        scale = power_of_two_scale(costs, mixed_integer=self.columns.is_mixed_integer)
        objective = self.model.objective
        for variable, coefficient in zip(self.variables, (costs * scale).tolist(), strict=True):
            objective.set_linear_coefficient(variable, coefficient)
        objective.offset = self.columns.offset * scale
        try:
            result = self._solve(fresh)
        except (RuntimeError, ValueError, AttributeError):
            # Numerical trouble; OR-Tools 9.15 fails to build its own exception, with an AttributeError.
            self.incremental = None
            return RowAnswer(Status.ERROR)
        return self._read(result)

    def _solve(self, fresh: bool) -> Any:
        if fresh:
            return mathopt.solve(self.model, _SOLVERS[self.solver], params=self.parameters)
        if self.incremental is None:
            self.incremental = mathopt.IncrementalSolver(self.model, _SOLVERS[self.solver])
        return self.incremental.solve(params=self.parameters)

    def _read(self, result: Any) -> RowAnswer:
        status = _REASONS.get(result.termination.reason, Status.ERROR)
        if not status.has_decision:
            return RowAnswer(status)
        values = np.array(result.variable_values(self.variables), dtype=np.float64)
        return RowAnswer(status, exact_integers(values, self.columns.integrality), self._gap(status, result))

    def _gap(self, status: Status, result: Any) -> float:
        proven = status is Status.OPTIMAL and self.limits.relative_gap == 0.0
        if proven and self.solver != "cp-sat":
            return 0.0
        bounds = result.termination.objective_bounds
        return relative_gap(bounds.primal_bound, bounds.dual_bound)


def _parameters(solver: str, mixed_integer: bool, limits: Limits) -> Any:
    parameters: Any = mathopt.SolveParameters()
    if limits.seconds is not None:
        parameters.time_limit = datetime.timedelta(seconds=max(limits.seconds, 1e-6))
    if mixed_integer:
        parameters.relative_gap_tolerance = limits.relative_gap
        parameters.absolute_gap_tolerance = 0.0
    if solver == "cp-sat":
        parameters.threads = limits.threads
        # A single worker proves little without cuts; several share the work, and must do so in a fixed order.
        parameters.cp_sat.linearization_level = 2 if limits.threads == 1 else 1
        parameters.cp_sat.interleave_search = limits.threads > 1
        # CP-SAT's own handler of Ctrl-C does not give Python's back: the next one would end the process.
        parameters.cp_sat.catch_sigint_signal = False
    return parameters


def _column_of(model: Any) -> Callable[[Any], int | None]:
    columns = {variable: column for column, variable in enumerate(model.variables())}
    return lambda item: columns.get(item) if isinstance(item, mathopt.Variable) else None


def _convert(
    proto: Any, variables: object, column_of: Callable[[Any], int | None], *, with_rows: bool
) -> LinearModel:
    if proto.auxiliary_objectives:
        raise only_linear_objective("auxiliary objectives")
    if len(proto.objective.quadratic_coefficients.coefficients):
        raise only_linear_objective("a quadratic objective")
    ids = np.array(proto.variables.ids, dtype=np.int64)
    objective = np.zeros(len(ids))
    terms = proto.objective.linear_coefficients
    objective[np.searchsorted(ids, np.array(terms.ids, dtype=np.int64))] = terms.values
    names = filled_names(proto.variables.names or [""] * len(ids), "variable")
    selection = select_columns(
        plain_variables(variables), column_of=column_of, objective=objective, column_names=names
    )
    objective[selection.columns] = 0.0
    rows = proto.linear_constraints if with_rows else type(proto.linear_constraints)()
    entries = proto.linear_constraint_matrix if with_rows else type(proto.linear_constraint_matrix)()
    starts, entry_columns, values = sparse_rows(
        np.searchsorted(np.array(rows.ids, dtype=np.int64), np.array(entries.row_ids, dtype=np.int64)),
        np.searchsorted(ids, np.array(entries.column_ids, dtype=np.int64)),
        np.array(entries.coefficients, dtype=np.float64),
        (len(rows.ids), len(ids)),
    )
    return LinearModel(
        sense=Sense.MAX if proto.objective.maximize else Sense.MIN,
        row_starts=starts,
        row_columns=entry_columns,
        row_values=values,
        row_lower=np.array(rows.lower_bounds, dtype=np.float64),
        row_upper=np.array(rows.upper_bounds, dtype=np.float64),
        column_lower=np.array(proto.variables.lower_bounds, dtype=np.float64),
        column_upper=np.array(proto.variables.upper_bounds, dtype=np.float64),
        integrality=np.array(proto.variables.integers, dtype=np.bool_),
        fixed_costs=objective,
        offset=proto.objective.offset,
        predicted=selection,
        column_names=names,
        row_names=filled_names(rows.names or [""] * len(rows.ids), "constraint"),
    )
