"""Shortest paths of a whole batch in one call, on arcs in CSR form.

Arc a pays `costs[row, arcs.entries[a]]`. With costs on vertices that is the cost of the node which it enters;
the first node's own cost is the same for all paths, and is marked at the end.

Each kernel returns the decisions (B, m), 0 or 1, and a code per row. A row's answer is a function of that row
alone: the workspace is reset, and ties are broken by index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.arcs import FOUND, NEGATIVE_CYCLE, NO_PATH, Arcs
from imle_opt_solvers.kernels._compile import compiled
from imle_opt_solvers.kernels._heap import pop, push

__all__ = ["acyclic", "bellman_ford", "dijkstra", "negative_cycles"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_ROUNDING = 4.0 * 2.0**-52
"""Per arc and relative to the sum of absolute costs: a cycle nearer to zero than this counts as zero."""


@compiled
def _mark(
    decision: FloatArray, arrivals: IntArray, arcs: Arcs, source: int, target: int, on_vertices: bool
) -> None:
    """Follow the arcs of arrival back from target to source, and mark what they pay."""
    node = target
    while node != source:
        arc = arrivals[node]
        decision[arcs.entries[arc]] = 1.0
        node = arcs.tails[arc]
    if on_vertices:
        decision[source] = 1.0


@compiled
def dijkstra(
    costs: FloatArray, arcs: Arcs, sources: IntArray, targets: IntArray, on_vertices: bool
) -> tuple[FloatArray, IntArray]:
    """Dijkstra's algorithm with a binary heap; costs are non-negative."""
    rows = costs.shape[0]
    num_nodes = arcs.starts.size - 1
    decisions = np.zeros(costs.shape)
    codes = np.zeros(rows, dtype=np.int64)
    distances = np.empty(num_nodes)
    arrivals = np.empty(num_nodes, dtype=np.int64)
    settled = np.empty(num_nodes, dtype=np.bool_)
    keys = np.empty(arcs.heads.size + 1)
    nodes = np.empty(arcs.heads.size + 1, dtype=np.int64)
    for row in range(rows):
        source = sources[row]
        target = targets[row]
        distances[:] = np.inf
        settled[:] = False
        distances[source] = 0.0
        size = push(keys, nodes, 0, 0.0, source)
        while size > 0 and not settled[target]:
            node = nodes[0]
            size = pop(keys, nodes, size)
            if settled[node]:
                continue
            settled[node] = True
            for arc in range(arcs.starts[node], arcs.starts[node + 1]):
                head = arcs.heads[arc]
                distance = distances[node] + costs[row, arcs.entries[arc]]
                if distance < distances[head]:
                    distances[head] = distance
                    arrivals[head] = arc
                    size = push(keys, nodes, size, distance, head)
        if settled[target]:
            _mark(decisions[row], arrivals, arcs, source, target, on_vertices)
        else:
            codes[row] = NO_PATH
    return decisions, codes


@compiled
def acyclic(
    costs: FloatArray, arcs: Arcs, order: IntArray, sources: IntArray, targets: IntArray, on_vertices: bool
) -> tuple[FloatArray, IntArray]:
    """Dynamic programming along a topological `order` (n,) of the nodes; costs of any sign."""
    rows = costs.shape[0]
    num_nodes = arcs.starts.size - 1
    decisions = np.zeros(costs.shape)
    codes = np.zeros(rows, dtype=np.int64)
    distances = np.empty(num_nodes)
    arrivals = np.empty(num_nodes, dtype=np.int64)
    places = np.empty(num_nodes, dtype=np.int64)
    for place in range(num_nodes):
        places[order[place]] = place
    for row in range(rows):
        source = sources[row]
        target = targets[row]
        distances[:] = np.inf
        distances[source] = 0.0
        for place in range(places[source], places[target]):
            node = order[place]
            if distances[node] == np.inf:
                continue
            for arc in range(arcs.starts[node], arcs.starts[node + 1]):
                distance = distances[node] + costs[row, arcs.entries[arc]]
                if distance < distances[arcs.heads[arc]]:
                    distances[arcs.heads[arc]] = distance
                    arrivals[arcs.heads[arc]] = arc
        if distances[target] < np.inf:
            _mark(decisions[row], arrivals, arcs, source, target, on_vertices)
        else:
            codes[row] = NO_PATH
    return decisions, codes


@compiled
def _between(arcs: Arcs, source: int, target: int) -> BoolArray:
    """Mark the nodes on some walk from source to target: cycles elsewhere do no harm."""
    num_nodes = arcs.starts.size - 1
    ahead = np.zeros(num_nodes, dtype=np.bool_)
    behind = np.zeros(num_nodes, dtype=np.bool_)
    ahead[source] = True
    behind[target] = True
    changed = True
    while changed:
        changed = False
        for arc in range(arcs.heads.size):
            if ahead[arcs.tails[arc]] and not ahead[arcs.heads[arc]]:
                ahead[arcs.heads[arc]] = True
                changed = True
        for arc in range(arcs.heads.size - 1, -1, -1):
            if behind[arcs.heads[arc]] and not behind[arcs.tails[arc]]:
                behind[arcs.tails[arc]] = True
                changed = True
    return ahead & behind


@compiled
def _closes_cycle(arrivals: IntArray, arcs: Arcs, arc: int, head: int) -> bool:
    """Whether `head` lies on the tree path to the tail of `arc`, which would enter it again."""
    node = arcs.tails[arc]
    while node != head and arrivals[node] >= 0:
        node = arcs.tails[arrivals[node]]
    return bool(node == head)


@compiled
def _cycle_is_negative(costs: FloatArray, arrivals: IntArray, arcs: Arcs, arc: int, head: int) -> bool:
    """Whether the cycle that `arc` closes at `head` costs less than zero, beyond rounding."""
    total = costs[arcs.entries[arc]]
    size = abs(total)
    length = 1
    node = arcs.tails[arc]
    while node != head:
        cost = costs[arcs.entries[arrivals[node]]]
        total += cost
        size += abs(cost)
        length += 1
        node = arcs.tails[arrivals[node]]
    return bool(total < -_ROUNDING * length * size)


@compiled
def bellman_ford(
    costs: FloatArray, arcs: Arcs, sources: IntArray, targets: IntArray, on_vertices: bool
) -> tuple[FloatArray, IntArray]:
    """Bellman and Ford's algorithm, on the nodes between source and target; costs of any sign.

    An arc that would close a cycle is never taken: the cycle is either negative, which ends the row, or zero
    to within rounding. So the arcs of arrival are a tree at all times, and every path is simple.
    """
    rows = costs.shape[0]
    num_nodes = arcs.starts.size - 1
    decisions = np.zeros(costs.shape)
    codes = np.zeros(rows, dtype=np.int64)
    distances = np.empty(num_nodes)
    arrivals = np.empty(num_nodes, dtype=np.int64)
    usable = _between(arcs, sources[0], targets[0])
    for row in range(rows):
        source = sources[row]
        target = targets[row]
        if row > 0 and (source != sources[row - 1] or target != targets[row - 1]):
            usable = _between(arcs, source, target)
        distances[:] = np.inf
        distances[source] = 0.0
        arrivals[:] = -1
        changed = source != target  # where they are one, the path of no arcs is the only simple one
        passes = 0
        while changed and passes < num_nodes and codes[row] == FOUND:
            changed = False
            passes += 1
            for arc in range(arcs.heads.size):
                tail = arcs.tails[arc]
                head = arcs.heads[arc]
                if distances[tail] == np.inf or not usable[head]:
                    continue
                distance = distances[tail] + costs[row, arcs.entries[arc]]
                if distance >= distances[head]:
                    continue
                if not _closes_cycle(arrivals, arcs, arc, head):
                    distances[head] = distance
                    arrivals[head] = arc
                    changed = True
                elif _cycle_is_negative(costs[row], arrivals, arcs, arc, head):
                    codes[row] = NEGATIVE_CYCLE
                    break
        if codes[row] == FOUND and distances[target] == np.inf:
            codes[row] = NO_PATH
        elif codes[row] == FOUND:
            _mark(decisions[row], arrivals, arcs, source, target, on_vertices)
    return decisions, codes


@compiled
def negative_cycles(costs: FloatArray, arcs: Arcs) -> BoolArray:
    """Return which rows (B,) have a cycle of negative cost anywhere; one within rounding of zero may count.

    Potentials fall along the arcs until none can fall further, which they do within n rounds unless there is
    such a cycle.
    """
    rows = costs.shape[0]
    num_nodes = arcs.starts.size - 1
    found = np.zeros(rows, dtype=np.bool_)
    potentials = np.empty(num_nodes)
    for row in range(rows):
        potentials[:] = 0.0
        changed = True
        passes = 0
        while changed and passes <= num_nodes:
            changed = False
            passes += 1
            for arc in range(arcs.heads.size):
                potential = potentials[arcs.tails[arc]] + costs[row, arcs.entries[arc]]
                if potential < potentials[arcs.heads[arc]]:
                    potentials[arcs.heads[arc]] = potential
                    changed = True
        found[row] = changed
    return found
