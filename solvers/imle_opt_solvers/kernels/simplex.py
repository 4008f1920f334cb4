"""Many cost rows over one polytope: a primal simplex that walks from optimum to optimum, and certifies each.

Over `A x - s = 0, lower <= (x, s) <= upper` a basis that is feasible stays so whatever the costs are. For new
costs c it is optimal if and only if the reduced costs

    d_j = c_j - y a_j,    y = c_B B^-1

have the right sign in every column that can move; where they are strictly signed, no other point is optimal.
A row starts from the basis of the row before, and costs as many pivots as the optimum moves. B^-1 is dense:
this is for models of up to some hundred constraints. The walk proves what it finds or says that it cannot;
then another solver must.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled

__all__ = ["EXACT", "OPTIMAL", "UNIQUE", "Basis", "Polytope", "walk"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
FlagArray: TypeAlias = NDArray[np.int8]

OPTIMAL, UNIQUE, EXACT = 1, 2, 4
"""What is proven of a row, as a sum. `UNIQUE`: no other point is optimal. `EXACT`: the point has
only whole numbers and meets its constraints to the last bit, so that it is the vertex itself."""

_BASIC, _AT_LOWER, _AT_UPPER, _FREE, _FIXED = 0, 1, 2, 3, 4
_SIGN = 1e-13
"""Reduced costs of the wrong sign are zero up to here, relative to the largest cost."""
_STRICT = 1e-9
"""Reduced costs are told from zero from here on, relative to the largest cost."""
_RESIDUAL = 1e-12
"""The most that y B may differ from c_B, relative to the largest cost."""
_PIVOT = 1e-7
_FEASIBLE = 1e-9
_WHOLE = 1e-9
_REFACTOR = 50


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
def _refactor(polytope: Polytope, basis: Basis) -> bool:
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
        if basis.state[column] == _BASIC:
            continue
        value = 0.0
        if basis.state[column] == _AT_UPPER:
            value = polytope.upper[column]
        elif basis.state[column] != _FREE:
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
def _reduced_cost(polytope: Polytope, costs: FloatArray, duals: FloatArray, column: int) -> float:
    columns = polytope.starts.size - 1
    if column >= columns:
        return float(duals[column - columns])
    reduced = float(costs[column])
    for entry in range(polytope.starts[column], polytope.starts[column + 1]):
        reduced -= duals[polytope.rows[entry]] * polytope.values[entry]
    return reduced


@compiled
def _compute_duals(basis: Basis, costs: FloatArray, duals: FloatArray) -> None:
    duals[:] = 0.0
    for place in range(basis.basics.size):
        column = basis.basics[place]
        if column < costs.size and costs[column] != 0.0:
            cost = costs[column]
            for i in range(duals.size):
                duals[i] += cost * basis.inverse[place, i]


@compiled
def _entering(
    polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray, tolerance: float
) -> tuple[int, float]:
    """Return the column whose reduced cost is the most wrong, and that cost; -1 where none is."""
    chosen, chosen_cost, worst = -1, 0.0, tolerance
    for column in range(basis.state.size):
        state = basis.state[column]
        if state in (_BASIC, _FIXED):
            continue
        reduced = _reduced_cost(polytope, costs, duals, column)
        if state == _AT_LOWER:
            wrong = -reduced
        elif state == _AT_UPPER:
            wrong = reduced
        else:
            wrong = abs(reduced)
        if wrong > worst:
            chosen, chosen_cost, worst = column, reduced, wrong
    return chosen, chosen_cost


@compiled
def _pivot(
    polytope: Polytope, basis: Basis, column: int, reduced: float, duals: FloatArray, step: FloatArray
) -> bool:
    """Move along one column to the next vertex (or to the column's other bound); False where none comes."""
    basics, inverse, values = basis.basics, basis.inverse, basis.values
    lower, upper = polytope.lower, polytope.upper
    size, columns = basics.size, polytope.starts.size - 1
    if column >= columns:
        for place in range(size):
            step[place] = -inverse[place, column - columns]
    else:
        step[:] = 0.0
        for entry in range(polytope.starts[column], polytope.starts[column + 1]):
            row, value = polytope.rows[entry], polytope.values[entry]
            for place in range(size):
                step[place] += inverse[place, row] * value
    direction = 1.0 if reduced < 0 else -1.0
    length, leaving, size_of_pivot = upper[column] - lower[column], -1, 0.0
    for place in range(size):
        change = -direction * step[place]
        if abs(change) <= _PIVOT:
            continue
        basic = basics[place]
        bound = upper[basic] if change > 0 else lower[basic]
        room = max((bound - values[basic]) / change, 0.0)
        if room < length - _FEASIBLE or (room <= length and abs(change) > size_of_pivot):
            length, leaving, size_of_pivot = min(length, room), place, abs(change)
    if not length < np.inf:
        return False
    for place in range(size):
        values[basics[place]] -= direction * length * step[place]
    if leaving < 0:
        at_lower = basis.state[column] == _AT_LOWER
        basis.state[column] = _AT_UPPER if at_lower else _AT_LOWER
        values[column] = upper[column] if at_lower else lower[column]
        basis.pivots[0] += 1
        return True
    basic = basics[leaving]
    to_upper = -direction * step[leaving] > 0
    if lower[basic] == upper[basic]:
        basis.state[basic] = _FIXED
    else:
        basis.state[basic] = _AT_UPPER if to_upper else _AT_LOWER
    values[basic] = upper[basic] if to_upper else lower[basic]
    values[column] += direction * length
    basics[leaving] = column
    basis.state[column] = _BASIC
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
    return True


@compiled
def _dual_verdict(
    polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray, scale: float
) -> int:
    """Return what the reduced costs prove, in every column anew; 0 where they prove nothing."""
    verdict = OPTIMAL | UNIQUE
    for column in range(basis.state.size):
        state = basis.state[column]
        if state == _FIXED:
            continue
        reduced = _reduced_cost(polytope, costs, duals, column)
        # Written so that a NaN proves nothing.
        if state == _BASIC:
            if not abs(reduced) <= _RESIDUAL * scale:
                return 0
            continue
        right = reduced
        if state == _AT_UPPER:
            right = -reduced
        elif state == _FREE:
            right = -abs(reduced)
        if not right >= -_SIGN * scale:
            return 0
        if not right > _STRICT * scale:
            verdict = OPTIMAL
    return verdict


@compiled
def _round_exactly(polytope: Polytope, basis: Basis, point: FloatArray, activities: FloatArray) -> bool:
    """Write the point with whole numbers; tell whether it is the vertex itself, to the last bit."""
    columns = polytope.starts.size - 1
    activities[:] = 0.0
    for column in range(columns):
        value = np.round(basis.values[column])
        if not abs(basis.values[column] - value) <= _WHOLE:
            return False
        if value < polytope.lower[column] or value > polytope.upper[column]:
            return False
        point[column] = value + 0.0
        if value != 0.0:
            for entry in range(polytope.starts[column], polytope.starts[column + 1]):
                activities[polytope.rows[entry]] += polytope.values[entry] * value
    for row in range(activities.size):
        slack = columns + row
        if basis.state[slack] == _BASIC:
            if activities[row] < polytope.lower[slack] or activities[row] > polytope.upper[slack]:
                return False
        elif activities[row] != basis.values[slack]:
            return False
    return True


@compiled
def _write_point(polytope: Polytope, basis: Basis, point: FloatArray, activities: FloatArray) -> int:
    """Write the point (n,) and return `EXACT` where it is; 0 where it is not; -1 where it is not feasible."""
    for place in range(basis.basics.size):
        column = basis.basics[place]
        value = basis.values[column]
        slack = _FEASIBLE * max(1.0, abs(value))
        if not (polytope.lower[column] - slack <= value <= polytope.upper[column] + slack):
            return -1
    if _round_exactly(polytope, basis, point, activities):
        return EXACT
    for column in range(point.size):
        inside = max(basis.values[column], polytope.lower[column])
        point[column] = min(inside, polytope.upper[column]) + 0.0
    return 0


@compiled
def _walk_row(
    polytope: Polytope, basis: Basis, costs: FloatArray, most_steps: int, point: FloatArray
) -> tuple[int, int]:
    """Write the optimum of one row (n,) and return what is proven of it, and the steps taken.

    The verdict is 0 where the walk gives up, and -1 where it could go on after `most_steps`.
    """
    size = basis.basics.size
    duals, work = np.empty(size), np.empty(size)
    scale = 0.0
    for column in range(costs.size):
        scale = max(scale, abs(costs[column]))
    _compute_duals(basis, costs, duals)
    for step in range(1, most_steps + 1):
        if basis.pivots[0] >= _REFACTOR:
            if not _refactor(polytope, basis):
                return 0, step
            _compute_duals(basis, costs, duals)
        column, reduced = _entering(polytope, basis, costs, duals, _SIGN * scale)
        if column < 0:
            _compute_duals(basis, costs, duals)
            dual = _dual_verdict(polytope, basis, costs, duals, scale)
            primal = _write_point(polytope, basis, point, work) if dual else -1
            if primal >= 0:
                return dual | primal, step
            if basis.pivots[0] == 0 or not _refactor(polytope, basis):
                return 0, step
            _compute_duals(basis, costs, duals)
        elif not _pivot(polytope, basis, column, reduced, duals, work):
            return 0, step
    return -1, most_steps


@compiled
def walk(
    costs: FloatArray,
    polytope: Polytope,
    basis: Basis,
    start: Basis,
    most_pivots: int,
    budget: int,
    progress: IntArray,
    points: FloatArray,
    verdicts: IntArray,
) -> None:
    """Minimise rows of `costs`, each from the optimum of the row before, until the budget is spent.

    Args:
        costs: (B, n).
        polytope: the feasible region.
        basis: a feasible basis to start from; where the walk stands is left in it.
        start: the basis to go on from after a row that was given up; read only.
        most_pivots: of one row, before it is given up.
        budget: about how many pivots to take in this call; call again while `progress[0] < B`.
        progress: (2,) the row that is next, and the pivots that it has had; written.
        points: (B, n), written for the rows done.
        verdicts: (B,) written for the rows done: a sum of `OPTIMAL`, `UNIQUE` and `EXACT`; or 0, and then
            the point means nothing.
    """
    spent = 0
    while progress[0] < costs.shape[0] and spent < budget:
        row = progress[0]
        verdict = 0
        if basis.pivots[0] < 0:
            basis.basics[:] = start.basics
            basis.state[:] = start.state
            sound = _refactor(polytope, basis)
            spent += basis.basics.size
        else:
            sound = True
        if sound:
            most = max(1, min(budget - spent, most_pivots - progress[1]))
            verdict, steps = _walk_row(polytope, basis, costs[row], most, points[row])
            spent += 1 + steps
            progress[1] += steps
            if verdict < 0 and progress[1] < most_pivots:
                return
        verdicts[row] = max(verdict, 0)
        if verdict <= 0:
            basis.pivots[0] = -1
        progress[0], progress[1] = row + 1, 0
