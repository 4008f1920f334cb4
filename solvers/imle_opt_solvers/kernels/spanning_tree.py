"""Minimum spanning forests of a whole batch in one call; costs of any sign.

Each kernel returns the decisions (B, m), 0 or 1. A row's answer is a function of that row alone: the
workspace is reset, and ties are broken the same way every time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.arcs import Arcs
from imle_opt_solvers.kernels._compile import compiled

__all__ = ["kruskal", "prim"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@compiled
def prim(costs: FloatArray, arcs: Arcs) -> FloatArray:
    """Prim's algorithm with a linear search for the nearest node: n² + m steps, best on dense graphs.

    Args:
        costs: (B, m).
        arcs: both arcs of every edge; `entries` are edges.
    """
    num_nodes = arcs.starts.size - 1
    decisions = np.zeros(costs.shape)
    distances = np.empty(num_nodes)
    edges = np.empty(num_nodes, dtype=np.int64)
    waiting = np.empty(num_nodes, dtype=np.int64)
    for row in range(costs.shape[0]):
        distances[:] = np.inf
        for node in range(num_nodes):
            waiting[node] = node
        for left in range(num_nodes, 0, -1):
            place = 0
            for other in range(1, left):
                if distances[waiting[other]] < distances[waiting[place]]:
                    place = other
            node = waiting[place]
            waiting[place] = waiting[left - 1]
            if distances[node] < np.inf:  # else it starts a new component
                decisions[row, edges[node]] = 1.0
            for arc in range(arcs.starts[node], arcs.starts[node + 1]):
                head = arcs.heads[arc]
                cost = costs[row, arcs.entries[arc]]
                if cost < distances[head]:  # where `head` has joined, no one looks again
                    distances[head] = cost
                    edges[head] = arcs.entries[arc]
    return decisions


@compiled
def _root(parents: IntArray, node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@compiled
def kruskal(costs: FloatArray, tails: IntArray, heads: IntArray, num_nodes: int, size: int) -> FloatArray:
    """Kruskal's algorithm: m log m steps, best on sparse graphs.

    Args:
        costs: (B, m).
        tails: (m,) one end of each edge.
        heads: (m,) the other end.
        num_nodes: n.
        size: number of edges of a spanning forest.
    """
    decisions = np.zeros(costs.shape)
    parents = np.empty(num_nodes, dtype=np.int64)
    for row in range(costs.shape[0]):
        order = np.argsort(costs[row], kind="mergesort")  # stable: equal costs keep the order of the edges
        for node in range(num_nodes):
            parents[node] = node
        found = 0
        for place in range(order.size):
            if found == size:
                break
            edge = int(order[place])
            tail = _root(parents, tails[edge])
            head = _root(parents, heads[edge])
            if tail != head:
                parents[max(tail, head)] = min(tail, head)
                decisions[row, edge] = 1.0
                found += 1
    return decisions
