"""Random small graphs for the tests of paths and trees."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from imle_opt_solvers.graph import Graph


@st.composite
def graphs(draw, directed=None, acyclic=False, max_nodes=6, max_edges=9):
    """Graphs with parallel edges, self-loops and separate parts now and then."""
    num_nodes = draw(st.integers(1, max_nodes))
    node = st.integers(0, num_nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), min_size=1, max_size=max_edges))
    if acyclic:
        edges = [tuple(sorted(edge)) for edge in edges]
    if directed is None:
        directed = draw(st.booleans())
    return Graph.from_edges(np.array(edges), directed=directed, num_nodes=num_nodes)


def integer_costs(draw, rows, size, low, high):
    """Integers, so that sums are exact and ties are frequent."""
    flat = draw(st.lists(st.integers(low, high), min_size=rows * size, max_size=rows * size))
    return np.array(flat, dtype=np.float64).reshape(rows, size)


def roads():
    """An undirected NetworkX graph with names, a self-loop and costs of its own."""
    graph = nx.Graph()
    graph.add_nodes_from(["home", "mill", "bridge", "market", "tower"])
    for tail, head, weight in [
        ("home", "mill", 2.0),
        ("home", "bridge", 5.0),
        ("mill", "bridge", 1.0),
        ("mill", "market", 7.0),
        ("bridge", "market", 3.0),
        ("market", "market", 1.0),
        ("bridge", "tower", 2.0),
        ("tower", "market", 4.0),
    ]:
        graph.add_edge(tail, head, weight=weight)
    return graph


def ferries():
    """A directed multigraph with cycles and parallel edges by key."""
    graph = nx.MultiDiGraph()
    for tail, head, key in [
        ("a", "b", "day"),
        ("a", "b", "night"),
        ("b", "c", "day"),
        ("c", "b", "day"),
        ("a", "c", "day"),
        ("c", "d", "day"),
        ("b", "d", "express"),
        ("d", "a", "day"),
    ]:
        graph.add_edge(tail, head, key=key)
    return graph


def stages():
    """A directed graph without cycles."""
    graph = nx.DiGraph()
    graph.add_edges_from([(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 4)])
    return graph


def state(graph):
    """All that a NetworkX graph holds, to tell whether it has changed."""
    edges = graph.edges(keys=True, data=True) if graph.is_multigraph() else graph.edges(data=True)
    return repr((list(graph.nodes(data=True)), list(edges), graph.graph))
