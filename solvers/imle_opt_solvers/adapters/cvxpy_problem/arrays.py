"""A linear or mixed-integer cvxpy problem as arrays.

cvxpy compiles the problem for HiGHS once. Its objective is then `c = Q [parameter; 1]`, an exact affine map,
of which every column that belongs to the Parameter must be a plain +1 (or -1, where cvxpy has turned a
maximisation round).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.error import SolverError
from numpy.typing import NDArray

from imle_opt_solvers.adapters.cvxpy_problem.costs import BUILDING, CostProblem, cost_problem
from imle_opt_solvers.errors import UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["is_quadratic", "read"]

_ADVICE = "Use engine='native' (or 'auto') for it."


@dataclass
class _Rows:
    """Constraints and bounds, as they are collected."""

    matrix: Any
    lower: FloatArray
    upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray


def read(problem: Any, variables: object = None) -> LinearModel:
    """Turn a cvxpy problem into arrays; the problem is left as it is.

    Args:
        problem: a `cvxpy.Problem` with one Parameter, the costs of one Variable; see `cost_problem`. Absolute
            values, maxima and other piecewise-linear terms are taken too.
        variables: None; the Parameter says it.

    Returns:
        The model. Its predicted columns are the Variable's entries in row-major order. Constraints have no
        names in cvxpy, and cvxpy rewrites them: rows are called `row 0`, ...

    Raises:
        ModelError: as `cost_problem`.
        UnsupportedModelError: a quadratic or conic problem, or as `cost_problem`.
    """
    costs = cost_problem(problem, variables)
    data = _compiled(costs)
    program = data["param_prob"]
    objective = program.q.tocsc()
    size = costs.parameter.size
    first = program.param_id_to_col[costs.parameter.id]
    constant = objective[:, [program.total_param_size]].toarray().ravel()
    sign = -1.0 if costs.sense is Sense.MAX else 1.0
    columns = _predicted_columns(objective[:, first : first + size], sign, costs)
    rows = _rows(data)
    names = _column_names(program, columns, costs)
    fixed, offset = sign * constant[:-1], float(sign * constant[-1])
    integrality = np.zeros(len(fixed), dtype=np.bool_)
    integrality[[*data["bool_vars_idx"], *data["int_vars_idx"]]] = True
    if fixed[columns].any():
        fixed, integrality, names = _split_fixed(fixed, columns, rows, integrality, names)
    matrix = rows.matrix.tocsr()
    return LinearModel(
        sense=costs.sense,
        row_starts=matrix.indptr.astype(np.int64),
        row_columns=matrix.indices.astype(np.int64),
        row_values=matrix.data.astype(np.float64),
        row_lower=rows.lower,
        row_upper=rows.upper,
        column_lower=rows.column_lower,
        column_upper=rows.column_upper,
        integrality=integrality,
        fixed_costs=fixed,
        offset=offset,
        predicted=Selection(columns, costs.shape),
        column_names=tuple(names),
        row_names=tuple(f"row {row}" for row in range(matrix.shape[0])),
    )


def _compiled(costs: CostProblem) -> Any:
    costs.parameter.value = np.zeros(costs.shape)
    with BUILDING:
        try:
            data, _, _ = costs.problem.get_problem_data(cp.HIGHS, solver_opts={})
        except SolverError as error:
            raise UnsupportedModelError(f"The cvxpy problem is not linear. {_ADVICE}") from error
    if is_quadratic(data):
        raise UnsupportedModelError(f"The cvxpy problem has a quadratic objective. {_ADVICE}")
    return data


def is_quadratic(data: Any) -> bool:
    """Whether what cvxpy has compiled holds a quadratic objective; an empty one is linear."""
    return "P" in data and data["P"].nnz > 0


def _predicted_columns(block: Any, sign: float, costs: CostProblem) -> NDArray[np.int64]:
    """Return the column of each cost in row-major order; `block` is the Parameter's part of Q."""
    block = block.tocsc()
    block.eliminate_zeros()
    plain = (np.diff(block.indptr) == 1).all() and (block.data == sign).all()
    columns: NDArray[np.int64] = block.indices.astype(np.int64)
    if not plain or (columns == block.shape[0] - 1).any() or len(np.unique(columns)) < len(columns):
        raise UnsupportedModelError(
            f"cvxpy does not keep one column for each entry of the Variable {costs.variable.name()!r}: its "
            f"attributes tie some together. {_ADVICE}"
        )
    # cvxpy counts entries column by column.
    order = np.arange(len(columns)).reshape(costs.shape, order="F").ravel()
    return columns[order]


def _rows(data: Any) -> _Rows:
    """Return the constraints, those on single columns made into bounds."""
    matrix, lower, upper = _sides(data)
    matrix.eliminate_zeros()
    count = matrix.shape[1]
    given_lower, given_upper = data["lower_bounds"], data["upper_bounds"]
    column_lower = np.full(count, -np.inf) if given_lower is None else np.array(given_lower, dtype=np.float64)
    column_upper = np.full(count, np.inf) if given_upper is None else np.array(given_upper, dtype=np.float64)
    binary = list(data["bool_vars_idx"])
    column_lower[binary] = np.maximum(column_lower[binary], 0.0)
    column_upper[binary] = np.minimum(column_upper[binary], 1.0)
    lengths = np.diff(matrix.indptr)
    single = np.flatnonzero(lengths == 1)
    entries = matrix.indptr[single]
    columns, values = matrix.indices[entries], matrix.data[entries]
    sides = np.sort(np.stack([lower[single] / values, upper[single] / values]), axis=0)
    np.maximum.at(column_lower, columns, sides[0])
    np.minimum.at(column_upper, columns, sides[1])
    kept = lengths != 1
    return _Rows(matrix[np.flatnonzero(kept)], lower[kept], upper[kept], column_lower, column_upper)


def _sides(data: Any) -> tuple[Any, FloatArray, FloatArray]:
    """Return all constraints as lower <= A x <= upper.

    cvxpy compiles for HiGHS as a cone program, A x <= b with the equalities first, or (1.7 does) as a
    quadratic one, A x = b and F x <= G.
    """
    right = np.array(data["b"], dtype=np.float64)
    if "F" in data:
        upper = np.concatenate([right, np.array(data["G"], dtype=np.float64)])
        lower = np.concatenate([right, np.full(len(upper) - len(right), -np.inf)])
        return sp.csr_array(sp.vstack([data["A"], data["F"]])), lower, upper
    lower = np.full(len(right), -np.inf)
    equalities = data["dims"].zero
    lower[:equalities] = right[:equalities]
    return sp.csr_array(data["A"]), lower, right


def _split_fixed(
    fixed: FloatArray,
    columns: NDArray[np.int64],
    rows: _Rows,
    integrality: NDArray[np.bool_],
    names: list[str],
) -> tuple[FloatArray, NDArray[np.bool_], list[str]]:
    """Move fixed costs of predicted columns to a new column t, with the row <fixed, x> - t = 0.

    A `LinearModel` has either a predicted or a fixed cost in a column.
    """
    own = np.zeros(len(fixed))
    own[columns] = fixed[columns]
    fixed = np.append(fixed - own, 1.0)
    matrix = sp.hstack([rows.matrix, sp.csr_array((rows.matrix.shape[0], 1))])
    rows.matrix = sp.vstack([matrix, sp.csr_array(np.append(own, -1.0)[None, :])])
    rows.lower, rows.upper = np.append(rows.lower, 0.0), np.append(rows.upper, 0.0)
    rows.column_lower = np.append(rows.column_lower, -np.inf)
    rows.column_upper = np.append(rows.column_upper, np.inf)
    return fixed, np.append(integrality, False), [*names, "fixed part"]


def _column_names(program: Any, columns: NDArray[np.int64], costs: CostProblem) -> list[str]:
    names = [""] * program.x.size
    for variable in program.variables:
        start = program.var_id_to_col[variable.id]
        for entry in range(variable.size):
            names[start + entry] = f"{variable.name()}({entry})"
    for column, name in zip(columns, costs.names, strict=True):
        names[column] = name
    return names
