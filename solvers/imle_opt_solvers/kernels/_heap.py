"""A binary heap of (key, node) pairs in two arrays, smallest first; equal keys in the order of the nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._compile import compiled

__all__ = ["pop", "push"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@compiled
def push(keys: FloatArray, nodes: IntArray, size: int, key: float, node: int) -> int:
    """Put (key, node) on the heap of `size` items; return the new size."""
    slot = size
    while slot > 0:
        parent = (slot - 1) >> 1
        if keys[parent] < key or (keys[parent] == key and nodes[parent] <= node):
            break
        keys[slot] = keys[parent]
        nodes[slot] = nodes[parent]
        slot = parent
    keys[slot] = key
    nodes[slot] = node
    return size + 1


@compiled
def pop(keys: FloatArray, nodes: IntArray, size: int) -> int:
    """Take the smallest item off the heap (the caller has read it at 0); return the new size."""
    size -= 1
    key = keys[size]
    node = nodes[size]
    slot = 0
    while True:
        child = 2 * slot + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            keys[right] < keys[child] or (keys[right] == keys[child] and nodes[right] < nodes[child])
        ):
            child = right
        if key < keys[child] or (key == keys[child] and node <= nodes[child]):
            break
        keys[slot] = keys[child]
        nodes[slot] = nodes[child]
        slot = child
    keys[slot] = key
    nodes[slot] = node
    return size
