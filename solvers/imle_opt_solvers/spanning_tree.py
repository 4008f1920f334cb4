"""Spanning trees and forests on a graph whose edge costs vary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np

from imle_opt_solvers._checks import check_option, refuse_overflow
from imle_opt_solvers._graph_checks import (
    GraphEngine,
    check_num_costs,
    costs_shape,
    read_graph_costs,
)
from imle_opt_solvers._graph_rows import group_by_graph
from imle_opt_solvers.arcs import Arcs, compile_region
from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.graph import Graph, as_graph
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["SpanningTree"]

_PRIM_ADVANTAGE = 4.0
"""Prim's n² is as fast as Kruskal's m log2 m at about this ratio (measured from 8 to 200 nodes)."""


_DIRECTED = (
    "is directed, and a spanning tree needs an undirected graph: pass `graph.to_undirected()`. "
    "(Arborescences are another problem, which SpanningTree does not solve.)"
)


@final
class SpanningTree(Solver):
    """The cheapest (or dearest) spanning tree: `min <z, costs>` over the spanning forests z.

    A decision is 1 on the edges of the tree. On a disconnected graph it is a forest, one tree per component,
    so that every decision has `nodes - components` ones. Costs of any sign are exact; self-loops are never
    chosen, nor more than one of parallel edges.

    Args:
        graph: an undirected NetworkX graph, with parallel edges or not; an imle-opt `Graph`; or edges (m, 2)
            of nodes 0, 1, ... It is read once and left unchanged.
        sense: `"min"` or `"max"`.
        weight: the attribute in which a NetworkX graph keeps its own costs. They are kept as `graph_costs`
            if every edge has one, for use as a starting point; solving uses only the costs that it is given.
            None: do not read them.
        shape: the shape of the costs; None for `(edges,)`. Their order is that of `names`:
            `list(graph.edges)`.
        num_nodes: with an array of edges: the number of nodes; None for the largest plus one.
        engine: `"kernel"` (also `"auto"`) runs compiled code on arrays, the whole batch in one call: Prim's
            algorithm on dense graphs, Kruskal's on sparse ones; `"native"` calls NetworkX row by row.
        on_failure: see `Solver`; no row can fail.

    Raises:
        ModelError: a directed graph, or one without edges.
        InvalidInputError: an option that does not exist.

    `instances` takes `graph` (one graph per row, each with as many edges, in its own order; edges (B, m, 2)
    too). `traits.cardinality` is that of the solver's own graph.

    One solve per row: O(n² + m) (Prim) or O(m log m) (Kruskal).

    Sources: R. C. Prim (1957), "Shortest connection networks and some generalizations"; J. B. Kruskal (1956),
    "On the shortest spanning subtree of a graph and the traveling salesman problem".
    """

    def __init__(
        self,
        graph: object,
        *,
        sense: Sense | Literal["min", "max"] = "min",
        weight: str | None = "weight",
        shape: tuple[int, ...] | None = None,
        num_nodes: int | None = None,
        engine: GraphEngine = "auto",
        on_failure: OnFailure = "raise",
    ) -> None:
        check_option("sense", sense, tuple(Sense))
        check_option("engine", engine, get_args(GraphEngine))
        edges_given = isinstance(graph, (np.ndarray, list))
        self.graph = as_graph(graph, directed=False if edges_given else None, num_nodes=num_nodes)
        self.engine: GraphEngine = engine
        if self.graph.directed:
            raise ModelError(f"`graph` {_DIRECTED}")
        self._region = _compile(self.graph)
        traits = Traits(
            binary=True,
            cardinality=self._region.size,
            releases_gil=engine != "native",
            takes_instances=("graph",),
            engine="native:networkx" if engine == "native" else f"kernel:{self._region.kernel}",
        )
        super().__init__(
            costs_shape(self.graph.num_edges, shape, "edges"),
            Sense(sense),
            traits,
            names=self.graph.edge_names,
            on_failure=on_failure,
        )
        self.graph_costs = read_graph_costs(graph, weight, self.shape, on_vertices=False)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the rows of each distinct graph in one call."""
        flat = costs.reshape(len(costs), -1)
        refuse_overflow(flat)
        weights = flat if self.sense is Sense.MIN else -flat
        if not instances:  # the usual case, without copies
            return Solution.optimal(costs, self._run(weights, self._region))
        decisions = np.empty(flat.shape)
        for graph, rows in group_by_graph(instances["graph"], self.graph, len(flat)):
            if graph.directed:
                raise InvalidInputError(f"`instances['graph']`, row {rows[0]}: the graph {_DIRECTED}")
            check_num_costs(graph.num_edges, self.shape, "edges", int(rows[0]))
            region = self._region if graph is self.graph else _compile(graph)
            decisions[rows] = self._run(weights[rows], region)
        return Solution.optimal(costs, decisions)

    def _run(self, weights: FloatArray, region: _Region) -> FloatArray:
        """Minimise `weights` (R, m)."""
        graph = region.graph
        if self.engine == "native":
            from imle_opt_solvers.adapters.networkx_graph import solve_trees

            return solve_trees(weights, graph)
        from imle_opt_solvers.kernels import spanning_tree as kernels

        if region.kernel == "prim":
            return kernels.prim(weights, region.arcs)
        return kernels.kruskal(weights, graph.tails, graph.heads, graph.num_nodes, region.size)


@final
@dataclass(frozen=True, eq=False)
class _Region:
    """A graph made ready for trees: its arcs, the size of a spanning forest, and the faster kernel."""

    graph: Graph
    arcs: Arcs
    size: int
    kernel: Literal["prim", "kruskal"]


def _compile(graph: Graph) -> _Region:
    dense = graph.num_nodes**2 <= _PRIM_ADVANTAGE * graph.num_edges * math.log2(max(graph.num_edges, 2))
    arcs = compile_region(graph, "edges").arcs
    return _Region(graph, arcs, _forest_size(graph), "prim" if dense else "kruskal")


def _forest_size(graph: Graph) -> int:
    """Return nodes - components, by joining the ends of each edge."""
    parents = list(range(graph.num_nodes))

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    joins = 0
    for tail, head in zip(graph.tails.tolist(), graph.heads.tolist(), strict=True):
        ends = root(tail), root(head)
        if ends[0] != ends[1]:
            parents[ends[0]] = ends[1]
            joins += 1
    return joins
