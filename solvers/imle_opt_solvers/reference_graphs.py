"""Slow, plainly correct answers for paths and trees that tests compare with: enumeration and recursion.

Nothing here shares code with the kernels. Sizes: up to about 8 nodes and 15 edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from imle_opt_solvers.arcs import CostsOn
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.reference import Enumeration
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["acyclic_optimum", "enumerate_paths", "enumerate_spanning_forests", "has_negative_cycle"]

_Step = tuple[int, int]
"""A way out of a node: the edge, and the node that it leads to."""


def enumerate_paths(graph: Graph, source: int, target: int, costs_on: CostsOn = "edges") -> Enumeration:
    """Enumerate all simple paths between two node indices, parallel edges one by one.

    Returns:
        Decisions (N, m), or (N, n) with costs on vertices, both ends counted; N is 0 where there is no path.
    """
    size = graph.num_edges if costs_on == "edges" else graph.num_nodes
    decisions: list[FloatArray] = []
    for nodes, edges in _paths(_steps(graph), [source], [], target):
        decision = np.zeros(size)
        decision[edges if costs_on == "edges" else nodes] = 1.0
        decisions.append(decision)
    stacked = np.array(decisions).reshape(-1, size)
    return Enumeration(stacked, np.zeros(len(stacked)), Sense.MIN)


def enumerate_spanning_forests(graph: Graph, sense: Sense | str = Sense.MIN) -> Enumeration:
    """Enumerate all largest sets of edges without a cycle: spanning trees, or forests of several components.

    Returns:
        Decisions (N, m).
    """
    ends = list(zip(graph.tails.tolist(), graph.heads.tolist(), strict=True))
    forests = [
        edges
        for size in range(graph.num_nodes)
        for edges in itertools.combinations(range(graph.num_edges), size)
        if _is_forest([ends[edge] for edge in edges], graph.num_nodes)
    ]
    chosen = [edges for edges in forests if len(edges) == len(forests[-1])]
    decisions = np.zeros((len(chosen), graph.num_edges))
    for row, edges in enumerate(chosen):
        decisions[row, list(edges)] = 1.0
    return Enumeration(decisions, np.zeros(len(chosen)), Sense(sense))


def acyclic_optimum(
    graph: Graph, source: int, target: int, costs: FloatArray, costs_on: CostsOn = "edges"
) -> float:
    """Return the cost of the cheapest path on a directed graph without cycles, by recursion.

        d(u) = min over arcs (u, v) of cost + d(v),    d(target) = 0

    Args:
        graph: directed, without cycles.
        source: node index.
        target: node index.
        costs: (m,), or (n,) with costs on vertices.
        costs_on: `"edges"` or `"vertices"`.

    Returns:
        The cost, inf where there is no path.
    """
    steps = _steps(graph)

    def remaining(node: int) -> float:
        if node == target:
            return 0.0
        return min(
            (
                float(costs[edge if costs_on == "edges" else head]) + remaining(head)
                for edge, head in steps[node]
            ),
            default=float("inf"),
        )

    return remaining(source) + (float(costs[source]) if costs_on == "vertices" else 0.0)


def has_negative_cycle(
    graph: Graph, source: int, target: int, costs: FloatArray, costs_on: CostsOn = "edges"
) -> bool:
    """Whether some walk from source to target passes through a cycle of negative cost (self-loops aside).

    By the cheapest walks between all pairs of nodes of at most n arcs, arc by arc.

    Args:
        graph: the graph; an undirected edge is a cycle of two arcs.
        source: node index.
        target: node index.
        costs: (m,), or (n,) with costs on vertices; integers, for an answer without rounding.
        costs_on: `"edges"` or `"vertices"`.
    """
    arcs = np.full((graph.num_nodes, graph.num_nodes), np.inf)
    for tail, steps in enumerate(_steps(graph)):
        for edge, head in steps:
            arcs[tail, head] = min(arcs[tail, head], costs[edge if costs_on == "edges" else head])
    walks = np.where(np.eye(graph.num_nodes, dtype=np.bool_), 0.0, np.inf)
    for _ in range(graph.num_nodes):
        walks = np.minimum(walks, (walks[:, :, None] + arcs[None, :, :]).min(axis=1))
    between = np.isfinite(walks[source]) & np.isfinite(walks[:, target])
    return bool((np.diag(walks)[between] < 0).any())


def _steps(graph: Graph) -> list[list[_Step]]:
    """Return the ways out of every node, self-loops left out."""
    steps: list[list[_Step]] = [[] for _ in range(graph.num_nodes)]
    for edge, (tail, head) in enumerate(zip(graph.tails.tolist(), graph.heads.tolist(), strict=True)):
        if tail == head:
            continue
        steps[tail].append((edge, head))
        if not graph.directed:
            steps[head].append((edge, tail))
    return steps


def _paths(
    steps: list[list[_Step]], nodes: list[int], edges: list[int], target: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the nodes and edges of every way to go on from `nodes` to the target without a repetition."""
    if nodes[-1] == target:
        yield nodes, edges
        return
    for edge, head in steps[nodes[-1]]:
        if head not in nodes:
            yield from _paths(steps, [*nodes, head], [*edges, edge], target)


def _is_forest(ends: list[tuple[int, int]], num_nodes: int) -> bool:
    component = list(range(num_nodes))
    for tail, head in ends:
        if component[tail] == component[head]:
            return False
        old, new = component[tail], component[head]
        component = [new if label == old else label for label in component]
    return True
