"""The arcs of a graph as CSR arrays, in the form that the path kernels walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.graph import Graph

__all__ = ["FOUND", "NEGATIVE_CYCLE", "NO_PATH", "Arcs", "CostsOn", "PathRegion", "compile_region"]

IntArray = NDArray[np.int64]
CostsOn: TypeAlias = Literal["edges", "vertices"]

FOUND, NO_PATH, NEGATIVE_CYCLE = 0, 1, 2
"""How the search for a path ended: the codes that kernels return per row."""


class Arcs(NamedTuple):
    """Arcs sorted by tail; an undirected edge is two arcs, a self-loop none.

    Args:
        starts: (n + 1,) the arcs that leave node u are `starts[u], ..., starts[u + 1] - 1`.
        tails: (a,) where each arc starts.
        heads: (a,) where it leads.
        entries: (a,) the cost that it pays: its edge or, with costs on vertices, its head.
    """

    starts: IntArray
    tails: IntArray
    heads: IntArray
    entries: IntArray


@final
@dataclass(frozen=True, eq=False)
class PathRegion:
    """A graph made ready for paths.

    Args:
        graph: the graph.
        arcs: its arcs.
        on_vertices: whether costs are on vertices.
        order: (n,) a topological order of the nodes; None where there are cycles.
    """

    graph: Graph
    arcs: Arcs
    on_vertices: bool
    order: IntArray | None

    @property
    def num_costs(self) -> int:
        """Number of costs: edges, or vertices."""
        return self.graph.num_nodes if self.on_vertices else self.graph.num_edges

    def has_path(self, source: int, target: int) -> bool:
        """Whether some path leads from `source` to `target`, both node indices."""
        seen = np.zeros(self.graph.num_nodes, dtype=np.bool_)
        seen[source] = True
        waiting = [source]
        while waiting and not seen[target]:
            node = waiting.pop()
            heads = self.arcs.heads[self.arcs.starts[node] : self.arcs.starts[node + 1]]
            fresh = np.unique(heads[~seen[heads]])
            seen[fresh] = True
            waiting.extend(fresh.tolist())
        return bool(seen[target])


def compile_region(graph: Graph, costs_on: CostsOn) -> PathRegion:
    """Sort the arcs of `graph` by tail (by edge where tails are equal), and order its nodes where it can."""
    edges = np.flatnonzero(graph.tails != graph.heads)
    tails, heads = graph.tails[edges], graph.heads[edges]
    if not graph.directed:
        tails, heads = np.concatenate([tails, heads]), np.concatenate([heads, tails])
        edges = np.concatenate([edges, edges])
    by_tail = np.lexsort((edges, tails))
    tails, heads, edges = tails[by_tail], heads[by_tail], edges[by_tail].astype(np.int64)
    starts = np.zeros(graph.num_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(tails, minlength=graph.num_nodes), out=starts[1:])
    on_vertices = costs_on == "vertices"
    arcs = Arcs(starts, tails, heads, heads.copy() if on_vertices else edges)
    return PathRegion(graph, arcs, on_vertices, _topological_order(arcs) if graph.directed else None)


def _topological_order(arcs: Arcs) -> IntArray | None:
    """Return the nodes so that every arc leads forward (Kahn), or None where there is a cycle."""
    missing = np.bincount(arcs.heads, minlength=len(arcs.starts) - 1).tolist()
    starts, heads = arcs.starts.tolist(), arcs.heads.tolist()
    order = [node for node, count in enumerate(missing) if count == 0]
    for node in order:  # grows while it is walked
        for head in heads[starts[node] : starts[node + 1]]:
            missing[head] -= 1
            if missing[head] == 0:
                order.append(head)
    return np.array(order, dtype=np.int64) if len(order) == len(missing) else None
