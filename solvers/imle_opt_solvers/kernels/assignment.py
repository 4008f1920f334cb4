"""Cheapest assignments of a whole batch in one call; costs of any sign.

The dual prices `v` of columns are kept so that every assigned row i pays its smallest `c_ij - v_j`, columns
without a row are at price 0 and all others at most there: that is optimality, once all rows are assigned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled

__all__ = ["assign"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PASSES = 2
"""Passes of augmenting row reduction, as in the paper."""


@compiled
def _bid(cost: FloatArray, prices: FloatArray, columns: IntArray, rows: IntArray, free: IntArray) -> int:
    """Augmenting row reduction: free rows outbid others, at a price; return how many stay free.

    A row takes its cheapest column, whose price falls by as much as the row would pay more for its second
    best. Rounding may leave the price as it was, and two rows would take turns for ever: steps are counted.
    """
    count = free.size
    for _ in range(_PASSES):
        waiting = count
        place = count = 0
        steps = 4 * free.size
        while place < waiting:
            row = free[place]
            place += 1
            best = second = np.inf
            first = other = -1
            for column in range(prices.size):
                value = cost[row, column] - prices[column]
                if value < best:
                    second, other = best, first
                    best, first = value, column
                elif value < second:
                    second, other = value, column
            outbids = best < second
            owner = rows[first]
            if outbids:
                prices[first] -= second - best
            elif owner >= 0:
                first = other
                owner = rows[first]
            columns[row] = first
            rows[first] = row
            if owner < 0:
                continue
            columns[owner] = -1
            steps -= 1
            if outbids and steps > 0:
                place -= 1
                free[place] = owner
            else:
                free[count] = owner
                count += 1
    return count


@compiled
def _augment(
    cost: FloatArray,
    prices: FloatArray,
    columns: IntArray,
    rows: IntArray,
    start: int,
    distances: FloatArray,
    tails: IntArray,
    waiting: IntArray,
) -> None:
    """Assign the free row `start` along the cheapest alternating path (Dijkstra on reduced costs)."""
    size = prices.size
    for column in range(size):
        distances[column] = cost[start, column] - prices[column]
        tails[column] = start
        waiting[column] = column
    left = size
    while True:
        place = 0
        for other in range(1, left):
            nearer = distances[waiting[other]] - distances[waiting[place]]
            if nearer < 0 or (nearer == 0 and rows[waiting[other]] < 0 <= rows[waiting[place]]):
                place = other
        sink = waiting[place]
        if rows[sink] < 0:
            break
        left -= 1
        waiting[place] = waiting[left]
        waiting[left] = sink
        row = rows[sink]
        through = distances[sink] - (cost[row, sink] - prices[sink])
        for other in range(left):
            column = waiting[other]
            distance = through + (cost[row, column] - prices[column])
            if distance < distances[column]:
                distances[column] = distance
                tails[column] = row
    for place in range(left, size):
        column = waiting[place]
        prices[column] += distances[column] - distances[sink]
    column = sink
    while True:
        row = tails[column]
        rows[column] = row
        column, columns[row] = columns[row], column
        if row == start:
            break


@compiled
def assign(costs: FloatArray) -> FloatArray:
    """Give each row of a cost matrix a column of its own, as cheaply as possible: n m² steps at most.

    Args:
        costs: (B, n, m), n <= m.

    Returns:
        (B, n, m), 0 or 1.

    Source: R. Jonker and A. Volgenant (1987), "A shortest augmenting path algorithm for dense and sparse
    linear assignment problems"; D. F. Crouse (2016), "On implementing 2D rectangular assignment algorithms".
    """
    batch, size, width = costs.shape
    decisions = np.zeros(costs.shape)
    prices = np.empty(width)
    distances = np.empty(width)
    columns = np.empty(size, dtype=np.int64)
    rows = np.empty(width, dtype=np.int64)
    free = np.empty(size, dtype=np.int64)
    tails = np.empty(width, dtype=np.int64)
    waiting = np.empty(width, dtype=np.int64)
    for item in range(batch):
        cost = costs[item]
        prices[:] = 0.0
        columns[:] = -1
        rows[:] = -1
        for row in range(size):
            free[row] = row
        count = size
        if width > 1:
            count = _bid(cost, prices, columns, rows, free)
        for place in range(count):
            _augment(cost, prices, columns, rows, free[place], distances, tails, waiting)
        for row in range(size):
            decisions[item, row, columns[row]] = 1.0
    return decisions
