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

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._basis import (
    AT_LOWER,
    AT_UPPER,
    BASIC,
    EXACT,
    FEASIBLE,
    FIXED,
    FREE,
    PIVOT,
    REFACTOR,
    Basis,
    Polytope,
    compute_duals,
    exchange,
    reduced_cost,
    refactor,
    write_point,
    write_step,
    wrongness,
)
from imle_opt_solvers.kernels._compile import compiled

__all__ = ["EXACT", "OPTIMAL", "STRICT", "UNIQUE", "Basis", "Polytope", "walk", "walk_row"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

OPTIMAL, UNIQUE = 1, 2
"""What is proven of a row, as a sum, with `EXACT`. `UNIQUE`: no other point is optimal."""
_SIGN = 1e-13
"""Reduced costs of the wrong sign are zero up to here, relative to the largest cost."""
STRICT = 1e-9
"""Reduced costs are told from zero from here on, relative to the largest cost."""
_RESIDUAL = 1e-12
"""The most that y B may differ from c_B, relative to the largest cost."""


@compiled
def _entering(
    polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray, tolerance: float
) -> tuple[int, float]:
    """Return the column whose reduced cost is the most wrong, and that cost; -1 where none is."""
    chosen, chosen_cost, worst = -1, 0.0, tolerance
    for column in range(basis.state.size):
        state = basis.state[column]
        if state in (BASIC, FIXED):
            continue
        reduced = reduced_cost(polytope, costs, duals, column)
        wrong = wrongness(state, reduced)
        if wrong > worst:
            chosen, chosen_cost, worst = column, reduced, wrong
    return chosen, chosen_cost


@compiled
def _pivot(
    polytope: Polytope, basis: Basis, column: int, reduced: float, duals: FloatArray, step: FloatArray
) -> bool:
    """Move along one column to the next vertex (or to the column's other bound); False where none comes."""
    basics, values = basis.basics, basis.values
    lower, upper = polytope.lower, polytope.upper
    size = basics.size
    write_step(polytope, basis, column, step)
    direction = 1.0 if reduced < 0 else -1.0
    length, leaving, size_of_pivot = upper[column] - lower[column], -1, 0.0
    for place in range(size):
        change = -direction * step[place]
        if abs(change) <= PIVOT:
            continue
        basic = basics[place]
        bound = upper[basic] if change > 0 else lower[basic]
        room = max((bound - values[basic]) / change, 0.0)
        if room < length - FEASIBLE or (room <= length and abs(change) > size_of_pivot):
            length, leaving, size_of_pivot = min(length, room), place, abs(change)
    if not length < np.inf:
        return False
    for place in range(size):
        values[basics[place]] -= direction * length * step[place]
    if leaving < 0:
        at_lower = basis.state[column] == AT_LOWER
        basis.state[column] = AT_UPPER if at_lower else AT_LOWER
        values[column] = upper[column] if at_lower else lower[column]
        basis.pivots[0] += 1
        return True
    basic = basics[leaving]
    to_upper = -direction * step[leaving] > 0
    if lower[basic] == upper[basic]:
        basis.state[basic] = FIXED
    else:
        basis.state[basic] = AT_UPPER if to_upper else AT_LOWER
    values[basic] = upper[basic] if to_upper else lower[basic]
    values[column] += direction * length
    exchange(basis, leaving, column, step, reduced, duals)
    return True


@compiled
def _dual_verdict(
    polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray, scale: float
) -> int:
    """Return what the reduced costs prove, in every column anew; 0 where they prove nothing."""
    verdict = OPTIMAL | UNIQUE
    for column in range(basis.state.size):
        state = basis.state[column]
        if state == FIXED:
            continue
        reduced = reduced_cost(polytope, costs, duals, column)
        # Written so that a NaN proves nothing.
        if state == BASIC:
            if not abs(reduced) <= _RESIDUAL * scale:
                return 0
            continue
        right = reduced
        if state == AT_UPPER:
            right = -reduced
        elif state == FREE:
            right = -abs(reduced)
        if not right >= -_SIGN * scale:
            return 0
        if not right > STRICT * scale:
            verdict = OPTIMAL
    return verdict


@compiled
def walk_row(
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
    compute_duals(basis, costs, duals)
    for step in range(1, most_steps + 1):
        if basis.pivots[0] >= REFACTOR:
            if not refactor(polytope, basis):
                return 0, step
            compute_duals(basis, costs, duals)
        column, reduced = _entering(polytope, basis, costs, duals, _SIGN * scale)
        if column < 0:
            compute_duals(basis, costs, duals)
            dual = _dual_verdict(polytope, basis, costs, duals, scale)
            primal = write_point(polytope, basis, point, work) if dual else -1
            if primal >= 0:
                return dual | primal, step
            if basis.pivots[0] == 0 or not refactor(polytope, basis):
                return 0, step
            compute_duals(basis, costs, duals)
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
            sound = refactor(polytope, basis)
            spent += basis.basics.size
        else:
            sound = True
        if sound:
            most = max(1, min(budget - spent, most_pivots - progress[1]))
            verdict, steps = walk_row(polytope, basis, costs[row], most, points[row])
            spent += 1 + steps
            progress[1] += steps
            if verdict < 0 and progress[1] < most_pivots:
                return
        verdicts[row] = max(verdict, 0)
        if verdict <= 0:
            basis.pivots[0] = -1
        progress[0], progress[1] = row + 1, 0
