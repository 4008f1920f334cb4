"""0-1 knapsacks of a whole batch in one call: profits of any sign, weights that are not negative.

    max <z, profits>    over z in {0, 1}^m with  weights z <= capacities

`by_capacity` is dynamic programming over an integer capacity; `search` is branch and bound for any number of
constraints, which gives a row up after a number of nodes. A row's answer is a function of that row alone, and
no item without profit is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled
from imle_opt_solvers.kernels._heap import pop, push
from imle_opt_solvers.kernels._packing_duals import packing_duals

__all__ = ["by_capacity", "search"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@compiled
def by_capacity(profits: FloatArray, weights: IntArray, capacities: IntArray) -> FloatArray:
    """Solve one integer constraint by dynamic programming: m * capacity steps.

        V_i(c) = max(V_{i-1}(c), V_{i-1}(c - weight_i) + profit_i)

    Args:
        profits: (B, m).
        weights: (m,), not negative.
        capacities: (B,), not negative.

    Returns:
        (B, m), 0 or 1.
    """
    rows, size = profits.shape
    decisions = np.zeros(profits.shape)
    most = capacities.max()
    best = np.empty(most + 1)
    taken = np.empty((size, most + 1), dtype=np.bool_)
    for row in range(rows):
        capacity = capacities[row]
        later = 0  # what the items to come weigh: no state below `capacity - later` leads to the end
        for item in range(size):
            if profits[row, item] > 0 and weights[item] <= capacity:
                later += weights[item]
        best[: capacity + 1] = 0.0
        for item in range(size):
            profit = profits[row, item]
            weight = weights[item]
            if profit <= 0 or weight > capacity:
                continue
            later -= weight
            for used in range(capacity, max(weight, capacity - later) - 1, -1):
                value = best[used - weight] + profit
                taken[item, used] = value > best[used]
                if value > best[used]:
                    best[used] = value
        left = capacity
        for item in range(size - 1, -1, -1):
            if profits[row, item] > 0 and weights[item] <= left and taken[item, left]:
                decisions[row, item] = 1.0
                left -= weights[item]
    return decisions


@compiled
def _last_fitting(sums: FloatArray, first: int, room: float) -> int:
    """Return the largest k >= first with `sums[k] - sums[first] <= room`; sums ascend."""
    low = first
    high = sums.size - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if sums[middle] - sums[first] <= room:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def _explore(
    profits: FloatArray,
    weights: FloatArray,
    capacities: FloatArray,
    multipliers: FloatArray,
    nodes: int,
    decision: FloatArray,
) -> bool:
    """Depth-first branch and bound over items in the order of their efficiency; False if cut short.

    The bound of a node is that of the relaxation to one constraint, the sum of all weighted by `multipliers`
    (a surrogate), solved as a linear program: items in order until one no longer fits, of which a part.

    Args:
        profits: (q,), positive, in the order of efficiency.
        weights: (r, q); each item fits on its own.
        capacities: (r,).
        multipliers: (r,), not negative.
        nodes: visited at most.
        decision: (q,) filled in: the best found.
    """
    count, size = weights.shape
    surrogate = np.zeros(size)
    room = 0.0
    for constraint in range(count):
        room += multipliers[constraint] * capacities[constraint]
        for item in range(size):
            surrogate[item] += multipliers[constraint] * weights[constraint, item]
    gains = np.zeros(size + 1)
    loads = np.zeros(size + 1)
    for item in range(size):
        gains[item + 1] = gains[item] + profits[item]
        loads[item + 1] = loads[item] + surrogate[item]
    # What is left, per depth: adding up and taking away again would drift.
    lefts = np.empty((size + 1, count))
    rooms = np.empty(size + 1)
    values = np.empty(size + 1)
    for constraint in range(count):
        lefts[0, constraint] = capacities[constraint]
    rooms[0] = room
    values[0] = 0.0
    chosen = np.zeros(size, dtype=np.bool_)
    best = 0.0
    item = 0
    for _ in range(nodes):
        full = _last_fitting(loads, item, rooms[item])
        bound = values[item] + (gains[full] - gains[item])
        if full < size:
            bound += (rooms[item] - (loads[full] - loads[item])) * (profits[full] / surrogate[full])
        if item < size and bound > best:
            fits = True
            for constraint in range(count):
                fits = fits and weights[constraint, item] <= lefts[item, constraint]
            share = 1.0 if fits else 0.0
            chosen[item] = fits
            item += 1
            values[item] = values[item - 1] + share * profits[item - 1]
            rooms[item] = rooms[item - 1] - share * surrogate[item - 1]
            for constraint in range(count):
                lefts[item, constraint] = lefts[item - 1, constraint] - share * weights[constraint, item - 1]
            continue
        if item == size and values[item] > best:
            best = values[item]
            for other in range(size):
                decision[other] = 1.0 if chosen[other] else 0.0
        item -= 1
        while item >= 0 and not chosen[item]:
            item -= 1
        if item < 0:
            return True
        chosen[item] = False
        item += 1
        values[item] = values[item - 1]
        rooms[item] = rooms[item - 1]
        for constraint in range(count):
            lefts[item, constraint] = lefts[item - 1, constraint]
    return False


@compiled
def search(
    profits: FloatArray, weights: FloatArray, capacities: FloatArray, nodes: IntArray
) -> tuple[FloatArray, BoolArray]:
    """Solve any number of constraints by branch and bound.

    Args:
        profits: (B, m).
        weights: (r, m), not negative.
        capacities: (B, r), not negative; what exceeds them by rounding must have been added.
        nodes: (B,) visited in each row at most.

    Returns:
        (B, m), 0 or 1: the optimum or, where the search was cut short, the best found; and (B,) whether it
        is proven optimal.

    Source: E. Horowitz and S. Sahni (1974), "Computing partitions with applications to the knapsack problem";
    F. Glover (1968), "Surrogate constraints".
    """
    rows, size = profits.shape
    count = weights.shape[0]
    decisions = np.zeros(profits.shape)
    proven = np.zeros(rows, dtype=np.bool_)
    items = np.empty(size, dtype=np.int64)
    keys = np.empty(size)
    order = np.empty(size, dtype=np.int64)
    gains = np.empty(size)
    loads = np.empty((count, size))
    found = np.empty(size)
    for row in range(rows):
        number = 0
        for item in range(size):
            fits = profits[row, item] > 0
            for constraint in range(count):
                fits = fits and weights[constraint, item] <= capacities[row, constraint]
            if fits:
                items[number] = item
                gains[number] = profits[row, item]
                for constraint in range(count):
                    loads[constraint, number] = weights[constraint, item]
                number += 1
        multipliers = packing_duals(gains[:number], loads[:, :number], capacities[row])
        left = 0
        for place in range(number):
            load = 0.0
            for constraint in range(count):
                load += multipliers[constraint] * loads[constraint, place]
            left = push(keys, order, left, -gains[place] / load if load > 0 else -np.inf, items[place])
        for place in range(number):  # the most efficient first
            item = order[0]
            left = pop(keys, order, left)
            items[place] = item
            gains[place] = profits[row, item]
            for constraint in range(count):
                loads[constraint, place] = weights[constraint, item]
        found[:] = 0.0
        proven[row] = _explore(
            gains[:number], loads[:, :number], capacities[row], multipliers, nodes[row], found
        )
        for place in range(number):
            decisions[row, items[place]] = found[place]
    return decisions, proven
