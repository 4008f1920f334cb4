"""A dual simplex: from a basis whose reduced costs are of the right sign to one that is feasible, too.

New bounds leave a basis dual feasible. The basic column that violates its bounds most leaves, and of the
columns that can move it there, the one whose reduced cost is the first to reach zero enters.

Source: C. E. Lemke (1954), "The dual method of solving the linear programming problem".
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._basis import (
    AT_LOWER,
    AT_UPPER,
    BASIC,
    FEASIBLE,
    FIXED,
    PIVOT,
    REFACTOR,
    Basis,
    Polytope,
    compute_duals,
    exchange,
    reduced_cost,
    refactor,
    write_step,
)
from imle_opt_solvers.kernels._compile import compiled
from imle_opt_solvers.kernels.simplex import STRICT

__all__ = ["FAILED", "restore"]

FloatArray: TypeAlias = NDArray[np.float64]

FAILED = -1
_ROUNDING, _NEGLIGIBLE = 1e-12, 1e-9
"""Entries of a row of the tableau are zero up to the first; up to the second they count against a proof."""
_EMPTY = 1e-6
"""A polytope is empty where a bound stays violated by more."""


@compiled
def _leaving(polytope: Polytope, basis: Basis) -> int:
    """Return the place of the basic column that violates its bounds most; -1 where none does."""
    chosen, worst = -1, FEASIBLE
    for place in range(basis.basics.size):
        column = basis.basics[place]
        value = basis.values[column]
        outside = max(polytope.lower[column] - value, value - polytope.upper[column])
        if outside > worst:
            chosen, worst = place, outside
    return chosen


@compiled
def _entering(
    polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray, leaving: int, rising: bool
) -> tuple[int, float, float]:
    """Return the column that moves a basic one to its bound and keeps all reduced costs of the right sign.

    The reduced cost of that column comes with it, and what all columns whose entries are negligible could
    still move. The column is -1 where none moves it that way.
    """
    columns = polytope.starts.size - 1
    chosen, chosen_cost, least, largest, neglected = -1, 0.0, np.inf, 0.0, 0.0
    for column in range(basis.state.size):
        state = basis.state[column]
        if state in (BASIC, FIXED):
            continue
        entry = 0.0
        if column >= columns:
            entry = -basis.inverse[leaving, column - columns]
        else:
            for place in range(polytope.starts[column], polytope.starts[column + 1]):
                entry += basis.inverse[leaving, polytope.rows[place]] * polytope.values[place]
        if abs(entry) <= _ROUNDING:
            continue
        if abs(entry) <= _NEGLIGIBLE:
            neglected += abs(entry) * (polytope.upper[column] - polytope.lower[column])
            continue
        if (state == AT_LOWER and (entry < 0) != rising) or (state == AT_UPPER and (entry > 0) != rising):
            continue
        reduced = reduced_cost(polytope, costs, duals, column)
        ratio = abs(reduced / entry)
        if ratio < least - STRICT * least or (ratio <= least and abs(entry) > largest):
            chosen, chosen_cost, least, largest = column, reduced, ratio, abs(entry)
    return chosen, chosen_cost, neglected


@compiled
def restore(
    polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray, step: FloatArray, most_steps: int
) -> tuple[int, int]:
    """Dual simplex: make a basis whose reduced costs are right feasible again.

    Returns:
        1 where it is, 0 where the polytope is empty, or `FAILED`; and the steps taken.
    """
    compute_duals(basis, costs, duals)
    for taken in range(most_steps):
        if basis.pivots[0] >= REFACTOR:
            if not refactor(polytope, basis):
                return FAILED, taken
            compute_duals(basis, costs, duals)
        leaving = _leaving(polytope, basis)
        if leaving < 0:
            return 1, taken
        basic = basis.basics[leaving]
        value = basis.values[basic]
        rising = bool(value < polytope.lower[basic])
        bound = polytope.lower[basic] if rising else polytope.upper[basic]
        column, reduced, neglected = _entering(polytope, basis, costs, duals, leaving, rising)
        if column < 0:
            return (0 if abs(value - bound) > _EMPTY + neglected else FAILED), taken
        write_step(polytope, basis, column, step)
        if not abs(step[leaving]) > PIVOT:
            return FAILED, taken
        length = (value - bound) / step[leaving]
        for place in range(step.size):
            basis.values[basis.basics[place]] -= length * step[place]
        basis.values[basic] = bound
        if polytope.lower[basic] == polytope.upper[basic]:
            basis.state[basic] = FIXED
        else:
            basis.state[basic] = AT_LOWER if rising else AT_UPPER
        basis.values[column] += length
        exchange(basis, leaving, column, step, reduced, duals)
    return FAILED, most_steps
