"""An order of rows in which neighbours resemble each other."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled

__all__ = ["nearest_chain"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


@compiled
def nearest_chain(points: FloatArray, block: int) -> IntArray:
    """Return an order (B,) that goes from each row to the nearest one that is left, from row 0.

    Args:
        points: (B, k).
        block: rows are ordered within blocks of so many: B x block x k steps.
    """
    size, width = points.shape
    order = np.arange(size)
    for place in range(size - 1):
        last = min(size, (place // block + 1) * block)
        nearest, least = place + 1, np.inf
        for other in range(place + 1, last):
            distance = 0.0
            for k in range(width):
                difference = points[order[place], k] - points[order[other], k]
                distance += difference * difference
            if distance < least:
                nearest, least = other, distance
        order[place + 1], order[nearest] = order[nearest], order[place + 1]
    return order
