"""Dual prices of a packing linear program, by the bounded simplex method on a dense tableau.

max <x, profits>   over  weights x <= capacities,  0 <= x <= 1
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled

__all__ = ["packing_duals"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_TOLERANCE = 1e-9


@compiled
def _entering(gains: FloatArray, at_upper: BoolArray, basic: BoolArray, threshold: float) -> int:
    """Return the nonbasic variable whose change gains the most, or -1."""
    best = threshold
    chosen = -1
    for variable in range(gains.size):
        gain = -gains[variable] if at_upper[variable] else gains[variable]
        if gain > best and not basic[variable]:
            best = gain
            chosen = variable
    return chosen


@compiled
def _pivot(tableau: FloatArray, gains: FloatArray, row: int, entering: int) -> None:
    """Make `entering` the basic variable of `row`."""
    size = tableau.shape[1]
    pivot = tableau[row, entering]
    for column in range(size):
        tableau[row, column] /= pivot
    for other in range(tableau.shape[0]):
        factor = tableau[other, entering]
        if other != row and factor != 0.0:
            for column in range(size):
                tableau[other, column] -= factor * tableau[row, column]
    gain = gains[entering]
    for column in range(size):
        gains[column] -= gain * tableau[row, column]


@compiled
def packing_duals(profits: FloatArray, weights: FloatArray, capacities: FloatArray) -> FloatArray:
    """Return prices (r,) of the constraints, not negative; optimal, unless rounding or cycling cut it short.

    Args:
        profits: (q,), positive.
        weights: (r, q), not negative.
        capacities: (r,), not negative.
    """
    count, size = weights.shape
    if count == 1:
        return np.ones(1)
    tableau = np.zeros((count, size + count))
    gains = np.zeros(size + count)  # of each variable's growth, the basic ones adapting
    upper = np.full(size + count, np.inf)
    at_upper = np.zeros(size + count, dtype=np.bool_)
    basic = np.zeros(size + count, dtype=np.bool_)
    basis = np.empty(count, dtype=np.int64)
    values = np.empty(count)  # of the basic variables
    threshold = 0.0
    for item in range(size):
        gains[item] = profits[item]
        upper[item] = 1.0
        threshold = max(threshold, _TOLERANCE * profits[item])
    for constraint in range(count):
        for item in range(size):
            tableau[constraint, item] = weights[constraint, item]
        tableau[constraint, size + constraint] = 1.0
        values[constraint] = capacities[constraint]
        basis[constraint] = size + constraint
        basic[size + constraint] = True
    for _ in range(10 * (size + count)):
        entering = _entering(gains, at_upper, basic, threshold)
        if entering < 0:
            break
        direction = -1.0 if at_upper[entering] else 1.0
        step = upper[entering]
        leaving = -1
        for row in range(count):
            slope = -direction * tableau[row, entering]
            if slope < -_TOLERANCE:
                limit = values[row] / -slope
            elif slope > _TOLERANCE:
                limit = (upper[basis[row]] - values[row]) / slope
            else:
                continue
            if limit < step:
                step = max(limit, 0.0)
                leaving = row
        for row in range(count):
            values[row] -= direction * tableau[row, entering] * step
        if leaving < 0:
            if step == np.inf:
                break
            at_upper[entering] = not at_upper[entering]
            continue
        left = basis[leaving]
        at_upper[left] = direction * tableau[leaving, entering] < 0
        values[leaving] = upper[entering] - step if at_upper[entering] else step
        basic[left] = False
        basic[entering] = True
        at_upper[entering] = False
        basis[leaving] = entering
        _pivot(tableau, gains, leaving, entering)
    prices = np.empty(count)
    for constraint in range(count):
        prices[constraint] = max(-gains[size + constraint], 0.0)
    return prices
