"""What the OR-Tools adapters share: the user's variables, sparse rows, and the names of solvers."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imle_opt_solvers.errors import UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = [
    "as_float",
    "canonical_solver",
    "describe",
    "filled_names",
    "no_linear_form",
    "only_linear_objective",
    "plain_variables",
    "refuse_inexact",
    "refuse_shadowed_highs",
    "sparse_rows",
]

IntArray = NDArray[np.int64]

_ALIASES = {"sat": "cp-sat", "cp_sat": "cp-sat", "cpsat": "cp-sat", "gscip": "scip"}


def canonical_solver(name: str, known: Sequence[str], where: str) -> str:
    """Return the one spelling of a solver's name.

    Raises:
        UnsupportedModelError: not one of `known`.
    """
    lowered = name.lower()
    canonical = _ALIASES.get(lowered, lowered)
    if canonical not in known:
        advice = (
            " PDLP is a first-order method, whose answers are neither vertices nor proven optimal."
            if canonical == "pdlp"
            else ""
        )
        raise UnsupportedModelError(
            f"`solver` must be one of {', '.join(known)} for {where}, not {name!r}.{advice} "
            f"engine='highs' solves every linear model."
        )
    return canonical


def refuse_inexact(solver: str, columns: LinearModel) -> None:
    """Refuse a solver that would silently solve another problem: relaxed, or rounded to a grid.

    Raises:
        UnsupportedModelError: integer variables for a linear programming solver, continuous ones for CP-SAT.
    """
    if solver in ("glop", "clp") and columns.integrality.any():
        raise UnsupportedModelError(
            f"{solver} solves linear programs only: it would relax {_first(columns, True)!r}, which must be "
            f"integer. Use solver='scip' or engine='highs'."
        )
    if solver == "cp-sat" and not columns.integrality.all():
        raise UnsupportedModelError(
            f"CP-SAT has integer variables only: it would round {_first(columns, False)!r}, which is "
            f"continuous, to a grid. Use solver='scip' or engine='highs'."
        )


def refuse_shadowed_highs(solver: str) -> None:
    """Refuse OR-Tools' HiGHS in a process where it does not work, and may end the process.

    PuLP loads highspy for the whole process to see; an OR-Tools that is loaded later binds its own HiGHS to
    that other version.

    Raises:
        UnsupportedModelError: PuLP was imported before OR-Tools.
    """
    if solver == "highs" and _loaded("pulp") < _loaded("ortools"):
        raise UnsupportedModelError(
            "OR-Tools' own HiGHS does not work once PuLP has been imported before OR-Tools: PuLP loads "
            "another HiGHS for the whole process. Import ortools first, or use engine='highs'."
        )


def _loaded(package: str) -> float:
    """Return when a package's first compiled module was loaded, or PuLP itself, as a rank; inf for never."""
    for rank, (name, module) in enumerate(tuple(sys.modules.items())):
        compiled = str(getattr(module, "__file__", "")).endswith((".so", ".pyd"))
        if name == package == "pulp" or (compiled and name.startswith(f"{package}.")):
            return rank
    return math.inf


def _first(columns: LinearModel, integer: bool) -> str:
    return columns.column_names[int(np.flatnonzero(columns.integrality == integer)[0])]


def plain_variables(variables: object) -> object:
    """Return `variables` with pandas Series and Index objects, also in dicts and lists, made into arrays."""
    if isinstance(variables, Mapping):
        return {key: plain_variables(value) for key, value in variables.items()}
    if isinstance(variables, (list, tuple)):
        return [plain_variables(item) for item in variables]
    to_numpy = getattr(variables, "to_numpy", None)
    return variables if to_numpy is None else to_numpy()


def filled_names(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return `names` with empty ones replaced by the kind and index."""
    return tuple(name or f"{kind}_{index}" for index, name in enumerate(names))


def sparse_rows(
    rows: ArrayLike, columns: ArrayLike, values: ArrayLike, shape: tuple[int, int]
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return CSR pointers, columns and values of a matrix given entry by entry; repeated entries add up."""
    row_index, column_index = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
    keys, inverse = np.unique(row_index * shape[1] + column_index, return_inverse=True)
    data = np.bincount(inverse, weights=np.asarray(values, dtype=np.float64), minlength=len(keys))
    starts = np.searchsorted(keys, np.arange(shape[0] + 1) * shape[1])
    return starts.astype(np.int64), keys % max(shape[1], 1), data.astype(np.float64)


def describe(name: str, index: int) -> str:
    """Return how a message calls a constraint: by name, or by index where it has none."""
    return repr(name) if name else f"number {index}"


def no_linear_form(what: str, kind: str) -> UnsupportedModelError:
    """Return the error for a construct that a `LinearModel` cannot hold."""
    return UnsupportedModelError(
        f"{what} is {kind}: the linear engines take linear constraints and objectives only. Keep the model's "
        f"own solver with engine='native', or model it with linear constraints."
    )


def only_linear_objective(what: str) -> UnsupportedModelError:
    """Return the error for an objective that is not linear, or not the only one."""
    return UnsupportedModelError(
        f"The model has {what}: costs are the coefficients of one linear objective. Drop it, or wrap your "
        f"own solving code with FunctionSolver."
    )


def as_float(value: Any, what: str) -> float:
    """Return an integer as a float, or refuse one that floats cannot hold exactly."""
    number = float(value)
    if int(number) != value:
        raise UnsupportedModelError(
            f"{what} is {value}, which is beyond the integers that floating point holds exactly (2^53). Make "
            f"it smaller, or keep the model's own solver with engine='native'."
        )
    return number
