"""PuLP models: `pulp.LpProblem`, of PuLP 3 and of PuLP 4.

The model is read once, never written to and never solved: PuLP's own solving sorts the variables, adds a
dummy one and stores values in them.

Order of the variables: PuLP 4 keeps the order of creation, and so do we. PuLP 3 keeps none, and its
`variables()` sorts by name (x_10 before x_2); there we take the order of first appearance, in the objective
and then in the constraints.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pulp

from imle_opt_solvers.engines.cbc import CbcSolver
from imle_opt_solvers.errors import MissingDependencyError, ModelError, UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel, select_columns
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Sense

__all__ = ["cbc_solver", "find_cbc", "read"]

_SENSES = {1: Sense.MIN, -1: Sense.MAX}


def read(problem: Any, variables: object = None) -> LinearModel:
    """Read a PuLP model into arrays; the model is left as it is.

    Args:
        problem: a `pulp.LpProblem`.
        variables: what to predict: `LpVariable` objects or names, in a dict, list (nested too) or array;
            None: all with an objective coefficient, in the order of the variables.

    Returns:
        The model: its variables in the order of creation (PuLP 4) or of first appearance (PuLP 3), its
        constraints in their order.

    Raises:
        ModelError: a variable that is not in the model, or no objective to take the variables from.
        UnsupportedModelError: special ordered sets.
    """
    _refuse_special_ordered_sets(problem)
    constraints = _constraints(problem)
    columns = _columns(problem, [constraint for _, constraint in constraints])
    names = tuple(str(variable.name) for variable in columns)
    objective = np.zeros(len(columns))
    for variable, coefficient in _terms(problem.objective):
        objective[columns[variable]] += float(coefficient)
    predicted = select_columns(
        _as_lists(variables), column_of=_column_of(columns, names), objective=objective, column_names=names
    )
    objective[predicted.columns] = 0.0
    starts, indices, values = _matrix([constraint for _, constraint in constraints], columns)
    bounds = [_bounds(variable) for variable in columns]
    return LinearModel(
        sense=_SENSES[int(problem.sense)],
        row_starts=starts,
        row_columns=indices,
        row_values=values,
        row_lower=_sides([constraint.getLb() for _, constraint in constraints], -np.inf),
        row_upper=_sides([constraint.getUb() for _, constraint in constraints], np.inf),
        column_lower=np.array([lower for lower, _ in bounds]),
        column_upper=np.array([upper for _, upper in bounds]),
        integrality=np.array([variable.cat != pulp.LpContinuous for variable in columns], dtype=np.bool_),
        fixed_costs=objective,
        offset=0.0 if problem.objective is None else float(problem.objective.constant),
        predicted=predicted,
        column_names=names,
        row_names=tuple(name for name, _ in constraints),
    )


def cbc_solver(
    model: LinearModel,
    *,
    solver: str | None = None,
    limits: Limits | None = None,
    on_failure: OnFailure = "raise",
) -> CbcSolver:
    """Return a solver that runs the CBC program that PuLP ships, as PuLP itself does by default.

    Args:
        model: what `read` returns; or any other linear model.
        solver: None or `"cbc"`.
        limits: see `CbcSolver`.
        on_failure: see `Solver`.

    Raises:
        UnsupportedModelError: another solver than CBC.
        MissingDependencyError: no CBC program: PuLP 4 no longer ships one.
    """
    if solver not in (None, "cbc"):
        raise UnsupportedModelError(
            f"The native engine of PuLP models and of files is CBC, not {solver!r}: use engine='native', or "
            f"engine='highs'."
        )
    return CbcSolver(model, find_cbc(), limits=limits, on_failure=on_failure)


def find_cbc() -> str:
    """Return the path of the CBC program that PuLP uses: shipped with PuLP 3, installed beside PuLP 4.

    Raises:
        MissingDependencyError: there is none.
    """
    shipped = getattr(pulp, "PULP_CBC_CMD", None)
    wanted: str = shipped.pulp_cbc_path if shipped is not None else pulp.COIN_CMD(msg=False).path
    found = shutil.which(wanted)
    if found is None:
        raise MissingDependencyError(
            f"PuLP {pulp.__version__} has no CBC program here. Install it with `pip install 'pulp[cbc]'`, or "
            f"use engine='highs'."
        )
    return found


def _refuse_special_ordered_sets(problem: Any) -> None:
    if problem.has_sos() if hasattr(problem, "has_sos") else problem.sos1 or problem.sos2:
        raise UnsupportedModelError(
            "The PuLP model holds special ordered sets (sos1 or sos2), which no engine here can represent: "
            "write them with binary variables."
        )


def _constraints(problem: Any) -> list[tuple[str, Any]]:
    """Return the constraints with their names, in order.

    PuLP 4 has a method and a name in every constraint; before, a dict knows the names. Since 3.3 the dict is
    `_constraints`, and reading the public `constraints` as a dict warns.
    """
    stored = getattr(problem, "_constraints", None)
    if stored is None:
        stored = problem.constraints
    if isinstance(stored, Mapping):
        return [(str(name), constraint) for name, constraint in stored.items()]
    return [(str(constraint.name), constraint) for constraint in stored()]


def _columns(problem: Any, constraints: list[Any]) -> dict[Any, int]:
    """Return the column of each variable, in order."""
    if hasattr(problem, "exported_variables"):
        return {variable: column for column, variable in enumerate(problem.variables())}
    columns: dict[Any, int] = {}
    for expression in (problem.objective, *constraints):
        for variable, _ in _terms(expression):
            columns.setdefault(variable, len(columns))
    # Variables that the user has added without a term. `variables()` would sort and extend this very list.
    for variable in problem._variables:
        columns.setdefault(variable, len(columns))
    return columns


def _terms(expression: Any) -> list[tuple[Any, Any]]:
    return [] if expression is None else list(expression.items())


def _is_variable(leaf: object) -> bool:
    return hasattr(leaf, "lowBound") and hasattr(leaf, "upBound")


def _column_of(columns: dict[Any, int], names: tuple[str, ...]) -> Callable[[Any], int | None]:
    def column_of(leaf: Any) -> int | None:
        # Numbers and expressions compare with variables by building a constraint, which is true.
        if not _is_variable(leaf):
            return None
        column = columns.get(leaf)
        # PuLP 4 numbers the variables of each model from 0: another model's variable finds a column too.
        if column is None or names[column] != leaf.name:
            raise ModelError(
                f"`variables` names {str(leaf.name)!r}, which is not a variable of this model. PuLP knows a "
                f"variable once it appears in the objective or in a constraint: give it a term, such as "
                f"`problem += x >= 0`."
            )
        return column

    return column_of


def _as_lists(variables: object) -> object:
    """Return nested dicts, which `LpVariable.dicts` makes of two indices, as nested lists."""
    if isinstance(variables, Mapping):
        return [_as_lists(value) for value in variables.values()]
    return variables


def _matrix(constraints: list[Any], columns: dict[Any, int]) -> tuple[Any, Any, FloatArray]:
    starts = [0]
    indices: list[int] = []
    values: list[float] = []
    for constraint in constraints:
        for variable, coefficient in _terms(constraint):
            indices.append(columns[variable])
            values.append(float(coefficient))
        starts.append(len(indices))
    return (
        np.array(starts, dtype=np.int64),
        np.array(indices, dtype=np.int64),
        np.array(values, dtype=np.float64),
    )


def _sides(sides: list[float | None], missing: float) -> FloatArray:
    return np.array([missing if side is None else float(side) for side in sides], dtype=np.float64)


def _bounds(variable: Any) -> tuple[float, float]:
    lower = -np.inf if variable.lowBound is None else float(variable.lowBound)
    upper = np.inf if variable.upBound is None else float(variable.upBound)
    if variable.cat == pulp.LpBinary:
        # PuLP makes a binary variable an integer one in [0, 1], unless `cat` was set afterwards.
        return max(lower, 0.0), min(upper, 1.0)
    return lower, upper
