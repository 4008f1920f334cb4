"""NetworkX graphs: read into arrays, and NetworkX's own algorithms as an engine.

The native engine solves row by row on a NetworkX graph of its own, built from the arrays, so that the user's
graph is neither kept nor changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.arcs import FOUND, NEGATIVE_CYCLE, NO_PATH, PathRegion
from imle_opt_solvers.errors import ModelError
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.solution import FloatArray

__all__ = ["read_costs", "read_graph", "solve_paths", "solve_trees"]

IntArray = NDArray[np.int64]
ArcCost: TypeAlias = Callable[[int, int, Mapping[str, Any]], float]


def read_graph(graph: Any) -> Graph:
    """Read a NetworkX graph into arrays, in the order of `list(graph.nodes)` and `list(graph.edges)`.

    Args:
        graph: a `Graph`, `DiGraph`, `MultiGraph` or `MultiDiGraph`; edges of a multigraph keep their keys.

    Raises:
        ModelError: the graph has no nodes.
    """
    nodes = tuple(graph.nodes)
    positions = {label: position for position, label in enumerate(nodes)}
    edges = list(graph.edges(keys=True) if graph.is_multigraph() else graph.edges)
    return Graph(
        nodes=nodes,
        tails=np.array([positions[edge[0]] for edge in edges], dtype=np.int64),
        heads=np.array([positions[edge[1]] for edge in edges], dtype=np.int64),
        directed=graph.is_directed(),
        keys=tuple(edge[2] for edge in edges) if graph.is_multigraph() else None,
    )


def read_costs(graph: Any, weight: str, on_vertices: bool) -> FloatArray | None:
    """Read the attribute `weight` of every edge (or node), in the order of `read_graph`.

    Returns:
        (m,), or None where some edge (or node) does not have it.

    Raises:
        ModelError: an attribute that is not a finite real number.
    """
    pairs = graph.nodes(data=weight) if on_vertices else graph.edges(data=weight)
    items = [(item[:-1], item[-1]) for item in pairs]
    if any(value is None for _, value in items):
        return None
    for where, value in items:
        if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
            what = "Node" if on_vertices else "Edge"
            raise ModelError(
                f"{what} {where[0] if on_vertices else where!r} has {weight!r} = {value!r}, which is not a "
                f"finite number: mend it, or pass weight=None to leave the graph's own costs unread."
            )
    return np.array([value for _, value in items], dtype=np.float64)


def solve_paths(
    costs: FloatArray, region: PathRegion, sources: IntArray, targets: IntArray
) -> tuple[FloatArray, IntArray]:
    """Solve each row with NetworkX: Dijkstra where no cost is negative, else Bellman-Ford.

    Args:
        costs: (B, m).
        region: the graph, compiled.
        sources: (B,) node indices.
        targets: (B,) node indices.

    Returns:
        Decisions (B, m) and codes (B,), as the kernels of `kernels.shortest_path` return them.
    """
    network = _path_network(region.graph)
    decisions = np.zeros(costs.shape)
    codes = np.full(len(costs), FOUND, dtype=np.int64)
    for row, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        cost = _vertex_cost(costs[row]) if region.on_vertices else _edge_cost(costs[row])
        path = _shortest_path(network, source, target, cost, bool((costs[row] < 0).any()))
        if isinstance(path, int):
            codes[row] = path
        elif region.on_vertices:
            decisions[row, path] = 1.0
        else:
            steps = (network.edges[step]["edges"] for step in pairwise(path))
            decisions[row, [_cheapest(edges, costs[row]) for edges in steps]] = 1.0
    return decisions, codes


def _path_network(graph: Graph) -> Any:
    """Return a simple graph in which each edge lists the edges that it stands for: parallel ones are one."""
    network = nx.DiGraph() if graph.directed else nx.Graph()
    network.add_nodes_from(range(graph.num_nodes))
    for edge, (tail, head) in enumerate(zip(graph.tails.tolist(), graph.heads.tolist(), strict=True)):
        if tail == head:
            continue
        if not network.has_edge(tail, head):
            network.add_edge(tail, head, edges=[])
        network.edges[tail, head]["edges"].append(edge)
    return network


def _cheapest(edges: list[int], costs: FloatArray) -> int:
    return min(edges, key=lambda edge: float(costs[edge]))


def _edge_cost(costs: FloatArray) -> ArcCost:
    return lambda _, __, data: float(costs[data["edges"]].min())


def _vertex_cost(costs: FloatArray) -> ArcCost:
    return lambda _, head, __: float(costs[head])


def _shortest_path(network: Any, source: int, target: int, cost: ArcCost, signed: bool) -> list[int] | int:
    """Return the nodes of a shortest path, or a code."""
    if source == target:
        return [source]
    if signed:
        network = _between(network, source, target)
    search = nx.bellman_ford_path if signed else nx.dijkstra_path
    try:
        return list(search(network, source, target, weight=cost))
    except nx.NetworkXNoPath:
        return NO_PATH
    except nx.NetworkXUnbounded:
        return NEGATIVE_CYCLE


def _between(network: Any, source: int, target: int) -> Any:
    """Return the part of the graph on some walk from source to target: cycles elsewhere do no harm."""
    backward = network.reverse(copy=False) if network.is_directed() else network
    ahead = nx.descendants(network, source) | {source}
    behind = nx.descendants(backward, target) | {target}
    return network.subgraph((ahead & behind) | {source, target})


def solve_trees(costs: FloatArray, graph: Graph) -> FloatArray:
    """Solve each row with `networkx.minimum_spanning_edges` (Kruskal).

    Args:
        costs: (B, m), minimised.
        graph: an undirected graph.

    Returns:
        Decisions (B, m).
    """
    network = nx.MultiGraph()
    network.add_nodes_from(range(graph.num_nodes))
    for edge, (tail, head) in enumerate(zip(graph.tails.tolist(), graph.heads.tolist(), strict=True)):
        if tail != head:
            network.add_edge(tail, head, key=edge)
    decisions = np.zeros(costs.shape)
    for row, values in enumerate(costs.tolist()):
        for _, _, edge, data in network.edges(keys=True, data=True):
            data["weight"] = values[edge]
        tree = nx.minimum_spanning_edges(network, algorithm="kruskal", keys=True, data=False)
        decisions[row, [edge for _, _, edge in tree]] = 1.0
    return decisions
