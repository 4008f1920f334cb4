"""A basis of a polytope with its dense inverse: what simplex methods share.

    A x - s = 0,    lower <= (x, s) <= upper

Columns come first, then one slack per row, whose column of the matrix is -1 in that row.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled

__all__ = [
    "AT_LOWER",
    "AT_UPPER",
    "BASIC",
    "EXACT",
    "FEASIBLE",
    "FIXED",
    "FREE",
    "PIVOT",
    "REFACTOR",
    "WHOLE",
    "Basis",
    "Polytope",
    "compute_duals",
    "exchange",
    "reduced_cost",
    "refactor",
    "write_point",
    "write_step",
    "wrongness",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
FlagArray: TypeAlias = NDArray[np.int8]

EXACT = 4
"""The point has only whole numbers and meets its constraints to the last bit: it is the vertex itself."""
BASIC, AT_LOWER, AT_UPPER, FREE, FIXED = 0, 1, 2, 3, 4
PIVOT = 1e-7
"""Smaller entries of a step move nothing."""
FEASIBLE = 1e-9
WHOLE = 1e-9
"""A value is a whole number up to here."""
REFACTOR = 50
"""Pivots before the inverse is computed anew."""


class Polytope(NamedTuple):
    """The feasible region, columns first, then one slack per row.

    Args:
        starts: (n + 1,) CSC column pointers of A.
        rows: (nonzeros,) CSC row indices.
        values: (nonzeros,) CSC values.
        lower: (n + rows,) lower bounds, those of the constraints last.
        upper: (n + rows,) upper bounds.
    """

    starts: IntArray
    rows: IntArray
    values: FloatArray
    lower: FloatArray
    upper: FloatArray


class Basis(NamedTuple):
    """Where the walk stands; changed in place.

    Args:
        basics: (rows,) the basic columns.
        state: (n + rows,) 0 basic, 1 at the lower bound, 2 at the upper, 3 free at zero, 4 fixed.
        inverse: (rows, rows) B^-1.
        values: (n + rows,) the point.
        pivots: (1,) since `inverse` was computed anew; negative where it must be.
    """

    basics: IntArray
    state: FlagArray
    inverse: FloatArray
    values: FloatArray
    pivots: IntArray


@compiled
def refactor(polytope: Polytope, basis: Basis) -> bool:
    """Compute B^-1 and the point anew; False where the basis is singular."""
    basics, inverse, values = basis.basics, basis.inverse, basis.values
    size, columns = basics.size, polytope.starts.size - 1
    basis.pivots[0] = 0
    work = np.zeros((size, size))
    for place in range(size):
        column = basics[place]
        if column >= columns:
            work[column - columns, place] = -1.0
        else:
            for entry in range(polytope.starts[column], polytope.starts[column + 1]):
                work[polytope.rows[entry], place] = polytope.values[entry]
    inverse[:] = 0.0
    for i in range(size):
        inverse[i, i] = 1.0
    for k in range(size):
        best = k
        for i in range(k + 1, size):
            if abs(work[i, k]) > abs(work[best, k]):
                best = i
        if abs(work[best, k]) < 1e-10:
            return False
        if best != k:
            for j in range(size):
                work[k, j], work[best, j] = work[best, j], work[k, j]
                inverse[k, j], inverse[best, j] = inverse[best, j], inverse[k, j]
        factor = 1.0 / work[k, k]
        for j in range(size):
            work[k, j] *= factor
            inverse[k, j] *= factor
        for i in range(size):
            factor = work[i, k]
            if i != k and factor != 0.0:
                for j in range(k, size):
                    work[i, j] -= factor * work[k, j]
                for j in range(size):
                    inverse[i, j] -= factor * inverse[k, j]
    sides = np.zeros(size)
    for column in range(columns + size):
        if basis.state[column] == BASIC:
            continue
        value = 0.0
        if basis.state[column] == AT_UPPER:
            value = polytope.upper[column]
        elif basis.state[column] != FREE:
            value = polytope.lower[column]
        values[column] = value
        if column >= columns:
            sides[column - columns] += value
        elif value != 0.0:
            for entry in range(polytope.starts[column], polytope.starts[column + 1]):
                sides[polytope.rows[entry]] -= polytope.values[entry] * value
    for place in range(size):
        total = 0.0
        for i in range(size):
            total += inverse[place, i] * sides[i]
        values[basics[place]] = total
    return True


@compiled
def reduced_cost(polytope: Polytope, costs: FloatArray, duals: FloatArray, column: int) -> float:
    columns = polytope.starts.size - 1
    if column >= columns:
        return float(duals[column - columns])
    reduced = float(costs[column])
    for entry in range(polytope.starts[column], polytope.starts[column + 1]):
        reduced -= duals[polytope.rows[entry]] * polytope.values[entry]
    return reduced


@compiled
def wrongness(state: int, reduced: float) -> float:
    """Return how wrong the sign of a moving column's reduced cost is; not positive where it is right."""
    if state == AT_LOWER:
        return -reduced
    if state == AT_UPPER:
        return reduced
    return abs(reduced)


@compiled
def compute_duals(basis: Basis, costs: FloatArray, duals: FloatArray) -> None:
    duals[:] = 0.0
    for place in range(basis.basics.size):
        column = basis.basics[place]
        if column < costs.size and costs[column] != 0.0:
            cost = costs[column]
            for i in range(duals.size):
                duals[i] += cost * basis.inverse[place, i]


@compiled
def write_step(polytope: Polytope, basis: Basis, column: int, step: FloatArray) -> None:
    """Write B^-1 a_j, (rows,): how the basic columns fall as column j rises by one."""
    inverse, columns = basis.inverse, polytope.starts.size - 1
    if column >= columns:
        for place in range(step.size):
            step[place] = -inverse[place, column - columns]
        return
    step[:] = 0.0
    for entry in range(polytope.starts[column], polytope.starts[column + 1]):
        row, value = polytope.rows[entry], polytope.values[entry]
        for place in range(step.size):
            step[place] += inverse[place, row] * value


@compiled
def exchange(
    basis: Basis, leaving: int, column: int, step: FloatArray, reduced: float, duals: FloatArray
) -> None:
    """Let a column take the place of a basic one, in the basis, its inverse and the duals."""
    inverse, size = basis.inverse, basis.basics.size
    basis.basics[leaving] = column
    basis.state[column] = BASIC
    factor = 1.0 / step[leaving]
    for i in range(size):
        inverse[leaving, i] *= factor
    for place in range(size):
        if place != leaving and step[place] != 0.0:
            factor = step[place]
            for i in range(size):
                inverse[place, i] -= factor * inverse[leaving, i]
    for i in range(size):
        duals[i] += reduced * inverse[leaving, i]
    basis.pivots[0] += 1


@compiled
def _round_exactly(polytope: Polytope, basis: Basis, point: FloatArray, activities: FloatArray) -> bool:
    """Write the point with whole numbers; tell whether it is the vertex itself, to the last bit."""
    columns = polytope.starts.size - 1
    activities[:] = 0.0
    for column in range(columns):
        value = np.round(basis.values[column])
        if not abs(basis.values[column] - value) <= WHOLE:
            return False
        if value < polytope.lower[column] or value > polytope.upper[column]:
            return False
        point[column] = value + 0.0
        if value != 0.0:
            for entry in range(polytope.starts[column], polytope.starts[column + 1]):
                activities[polytope.rows[entry]] += polytope.values[entry] * value
    for row in range(activities.size):
        slack = columns + row
        if basis.state[slack] == BASIC:
            if activities[row] < polytope.lower[slack] or activities[row] > polytope.upper[slack]:
                return False
        elif activities[row] != basis.values[slack]:
            return False
    return True


@compiled
def write_point(polytope: Polytope, basis: Basis, point: FloatArray, activities: FloatArray) -> int:
    """Write the point (n,) and return `EXACT` where it is; 0 where it is not; -1 where it is not feasible."""
    for place in range(basis.basics.size):
        column = basis.basics[place]
        value = basis.values[column]
        slack = FEASIBLE * max(1.0, abs(value))
        if not (polytope.lower[column] - slack <= value <= polytope.upper[column] + slack):
            return -1
    if _round_exactly(polytope, basis, point, activities):
        return EXACT
    for column in range(point.size):
        inside = max(basis.values[column], polytope.lower[column])
        point[column] = min(inside, polytope.upper[column]) + 0.0
    return 0
