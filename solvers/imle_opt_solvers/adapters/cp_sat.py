"""`ortools.sat.python.cp_model.CpModel`.

The order of the costs, where `variables` is not given, is that of the variables' indices: the order in which
they were made. The user's object is exported once and never changed.

`read` converts what a linear model can hold: linear constraints, and the Boolean ones that are linear by
nature (at most one, exactly one, or, and, implications). `CpSatSolver` takes every constraint of CP-SAT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from google.protobuf import text_format  # type: ignore[import-untyped]  # comes with ortools, untyped
from ortools.sat import cp_model_pb2
from ortools.sat.python import cp_model

from imle_opt_solvers.adapters._cp_sat_engine import CpSatEngine
from imle_opt_solvers.adapters._cp_sat_rows import Row, rows_of
from imle_opt_solvers.adapters._native import NativeSolver
from imle_opt_solvers.adapters._ortools import (
    as_float,
    canonical_solver,
    describe,
    filled_names,
    no_linear_form,
    only_linear_objective,
    plain_variables,
    sparse_rows,
)
from imle_opt_solvers.errors import ModelError
from imle_opt_solvers.linear_model import LinearModel, select_columns
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Sense

__all__ = ["CpSatSolver", "read"]


def read(model: Any, variables: object = None) -> LinearModel:
    """Convert a `CpModel` whose constraints are linear by nature, exactly.

    Args:
        model: the user's object; it is not changed.
        variables: the variables whose costs are predicted: `cp_model.IntVar` objects or names, in a dict,
            list or array, or a pandas Series of `new_*_var_series`; None for all with an objective
            coefficient. A negated literal is not a variable: give its variable.

    Raises:
        UnsupportedModelError: a constraint that is not linear by nature, a variable with gaps in its domain,
            assumptions, bounds on the objective, or integers beyond 2^53.
        ModelError: CP-SAT calls the model invalid, there is no objective to take the variables from, or a
            variable is not in this model.
    """
    proto = _export(model)
    for index, variable in enumerate(proto.variables):
        what = f"the domain of the variable {describe(variable.name, index)}"
        if len(variable.domain) != 2:
            raise no_linear_form(f"T{what[1:]}", "not an interval")
        for end in variable.domain:
            as_float(end, f"An end of {what}")
    if proto.assumptions:
        raise no_linear_form("A part of the model (`assumptions`)", "a list of assumed literals")
    return _convert(proto, list(rows_of(proto)), variables, _column_of(model))


@final
class CpSatSolver(NativeSolver):
    """A `CpModel` solved by CP-SAT, on a clone of it; every constraint of CP-SAT is allowed.

    Args:
        model: the user's object; it is not changed.
        variables: see `read`.
        solver: `"cp-sat"` or None.
        limits: per row. With more than one thread the search is interleaved, so that it stays reproducible.
        on_failure: see `Solver`.

    Raises:
        UnsupportedModelError: another `solver`, or bounds on the objective.
        ModelError: CP-SAT calls the model invalid; or see `read`.

    One solve per row. CP-SAT's objective is integer, so costs are scaled by the largest power of two under
    which the objective cannot overflow, and rounded:

        k_i = round(2^e c_i),    sum_i |2^e c_i| max(|l_i|, |u_i|, 1) <= 2^60
        suboptimality <= sum_i |c_i - 2^-e k_i| (u_i - l_i)

    over all variables with a cost, fixed ones included. A row's `gaps` is that bound (plus what a gap limit
    left open) over the absolute objective. It is 0 for integer costs of moderate size and some 1e-16 for
    Boolean variables with float costs; decisions whose true costs differ by less are not told apart. Where
    domains are so wide that the bound exceeds 1e-7 of the objective's range, the row is `FEASIBLE`.
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
        canonical_solver(solver or "cp-sat", ("cp-sat",), "a CpModel")
        self.proto = _export(model)
        columns = _convert(self.proto, [], variables, _column_of(model))
        super().__init__(columns, "native:cp-sat", limits=limits, on_failure=on_failure)

    def build_engine(self) -> CpSatEngine:
        """Make a CP-SAT model of this thread's own from the exported one."""
        return CpSatEngine(self.proto, self.columns, self.limits)


def _export(model: Any) -> Any:
    """Return a protobuf message of the model; its own one cannot be pickled, and reading it can change it."""
    complaint = model.validate()
    if complaint:
        raise ModelError(f"CP-SAT calls this model invalid: {complaint}")
    return text_format.Parse(str(model.proto), cp_model_pb2.CpModelProto())


def _column_of(model: Any) -> Callable[[Any], int | None]:
    """Return the column of a variable, and None for one of another model, or a negated literal."""

    def column_of(item: Any) -> int | None:
        ours = isinstance(item, cp_model.IntVar) and item.model_proto is model.proto
        return int(item.index) if ours else None

    return column_of


def _objective(proto: Any) -> tuple[Sense, FloatArray, float]:
    """Return sense, coefficients and constant in the model's own sense; CP-SAT minimises the negative."""
    coefficients = np.zeros(len(proto.variables))
    if proto.HasField("floating_point_objective"):
        terms = proto.floating_point_objective
        sense, factor = (Sense.MAX if terms.maximize else Sense.MIN), 1.0
    else:
        terms = proto.objective
        if terms.domain:
            raise only_linear_objective("bounds on its objective")
        factor = terms.scaling_factor or 1.0
        sense = Sense.MAX if factor < 0 else Sense.MIN
    if min(terms.vars, default=0) < 0:
        raise only_linear_objective("a negated variable in its objective")
    np.add.at(coefficients, np.array(terms.vars, dtype=np.int64), factor * np.array(terms.coeffs))
    return sense, coefficients, factor * terms.offset


def _convert(
    proto: Any, rows: list[Row], variables: object, column_of: Callable[[Any], int | None]
) -> LinearModel:
    sense, objective, offset = _objective(proto)
    names = filled_names([variable.name for variable in proto.variables], "variable")
    selection = select_columns(
        plain_variables(variables), column_of=column_of, objective=objective, column_names=names
    )
    objective[selection.columns] = 0.0
    starts, entry_columns, values = sparse_rows(
        np.repeat(np.arange(len(rows)), [len(row.columns) for row in rows]),
        [column for row in rows for column in row.columns],
        [value for row in rows for value in row.coefficients],
        (len(rows), len(names)),
    )
    return LinearModel(
        sense=sense,
        row_starts=starts,
        row_columns=entry_columns,
        row_values=values,
        row_lower=np.array([row.lower for row in rows], dtype=np.float64),
        row_upper=np.array([row.upper for row in rows], dtype=np.float64),
        column_lower=np.array([variable.domain[0] for variable in proto.variables], dtype=np.float64),
        column_upper=np.array([variable.domain[-1] for variable in proto.variables], dtype=np.float64),
        integrality=np.ones(len(names), dtype=np.bool_),
        fixed_costs=objective,
        offset=offset,
        predicted=selection,
        column_names=names,
        row_names=filled_names([row.name for row in rows], "constraint"),
    )
