"""`MPModelProto`, which pywraplp and model_builder both export, as a `LinearModel`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imle_opt_solvers.adapters._ortools import (
    describe,
    filled_names,
    no_linear_form,
    only_linear_objective,
    plain_variables,
    sparse_rows,
)
from imle_opt_solvers.linear_model import LinearModel, select_columns
from imle_opt_solvers.solution import Sense

__all__ = ["columns_of", "linear_model_of"]

_ARTICLES = {"indicator": "an", "abs": "an", "and": "an", "or": "an"}


def linear_model_of(proto: Any, variables: object, column_of: Callable[[Any], int | None]) -> LinearModel:
    """Convert an exported model, exactly.

    Args:
        proto: a `linear_solver_pb2.MPModelProto`.
        variables: the user's `variables=`.
        column_of: as in `select_columns`.

    Raises:
        UnsupportedModelError: a quadratic objective or a general constraint.
        ModelError: as `select_columns` and `LinearModel`.
    """
    for index, constraint in enumerate(proto.general_constraint):
        kind = constraint.WhichOneof("general_constraint").removesuffix("_constraint")
        what = f"The general constraint {describe(constraint.name, index)}"
        raise no_linear_form(what, f"{_ARTICLES.get(kind, 'a')} {kind} constraint")
    return _convert(proto, proto.constraint, variables, column_of)


def columns_of(proto: Any, variables: object, column_of: Callable[[Any], int | None]) -> LinearModel:
    """Convert columns and objective only: what a native solver needs to know besides the proto.

    Raises:
        UnsupportedModelError: a quadratic objective.
        ModelError: as `select_columns` and `LinearModel`.
    """
    return _convert(proto, (), variables, column_of)


def _convert(
    proto: Any, constraints: Any, variables: object, column_of: Callable[[Any], int | None]
) -> LinearModel:
    if len(proto.quadratic_objective.coefficient):
        raise only_linear_objective("a quadratic objective")
    columns = proto.variable
    objective = np.array([column.objective_coefficient for column in columns], dtype=np.float64)
    names = filled_names([column.name for column in columns], "variable")
    selection = select_columns(
        plain_variables(variables), column_of=column_of, objective=objective, column_names=names
    )
    objective[selection.columns] = 0.0
    lengths = [len(constraint.var_index) for constraint in constraints]
    starts, entry_columns, values = sparse_rows(
        np.repeat(np.arange(len(lengths)), lengths),
        [column for constraint in constraints for column in constraint.var_index],
        [value for constraint in constraints for value in constraint.coefficient],
        (len(lengths), len(columns)),
    )
    return LinearModel(
        sense=Sense.MAX if proto.maximize else Sense.MIN,
        row_starts=starts,
        row_columns=entry_columns,
        row_values=values,
        row_lower=np.array([constraint.lower_bound for constraint in constraints], dtype=np.float64),
        row_upper=np.array([constraint.upper_bound for constraint in constraints], dtype=np.float64),
        column_lower=np.array([column.lower_bound for column in columns], dtype=np.float64),
        column_upper=np.array([column.upper_bound for column in columns], dtype=np.float64),
        integrality=np.array([column.is_integer for column in columns], dtype=np.bool_),
        fixed_costs=objective,
        offset=proto.objective_offset,
        predicted=selection,
        column_names=names,
        row_names=filled_names([constraint.name for constraint in constraints], "constraint"),
    )
