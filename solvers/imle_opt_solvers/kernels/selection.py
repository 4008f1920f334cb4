"""The k largest entries of every row of a batch, and the rank of every entry, in one call.

A row's answer is a function of that row alone; of equal entries, the first comes first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled
from imle_opt_solvers.kernels._heap import pop, push

__all__ = ["ranks", "top_k"]

FloatArray = NDArray[np.float64]


@compiled
def top_k(theta: FloatArray, k: int) -> FloatArray:
    """Mark the k largest entries of each row: n log k steps.

    A heap holds the worst of those kept so far on top, or, where more are kept than not, the best of those
    that are left out.

    Args:
        theta: (B, n).
        k: from 0 to n.

    Returns:
        (B, n), 0 or 1.
    """
    rows, size = theta.shape
    few = 2 * k <= size
    held = k if few else size - k
    marked = 1.0 if few else 0.0
    decisions = np.full(theta.shape, 1.0 - marked)
    keys = np.empty(held + 1)
    nodes = np.empty(held + 1, dtype=np.int64)
    for row in range(rows):
        count = 0
        for entry in range(size):
            # Of equal entries, the last is the worst to keep, and the first to leave out.
            key = theta[row, entry] if few else -theta[row, entry]
            node = size - 1 - entry if few else entry
            if count < held:
                count = push(keys, nodes, count, key, node)
            elif held > 0 and (key > keys[0] or (key == keys[0] and not few)):
                count = push(keys, nodes, pop(keys, nodes, count), key, node)
        for place in range(held):
            decisions[row, size - 1 - nodes[place] if few else nodes[place]] = marked
    return decisions


@compiled
def ranks(theta: FloatArray) -> FloatArray:
    """Return the rank of each entry within its row, 1 for the smallest.

    Args:
        theta: (B, n).

    Returns:
        (B, n), a permutation of 1, ..., n in each row.
    """
    decisions = np.empty(theta.shape)
    for row in range(theta.shape[0]):
        order = np.argsort(theta[row], kind="mergesort")  # stable
        for place in range(order.size):
            decisions[row, order[place]] = place + 1.0
    return decisions
