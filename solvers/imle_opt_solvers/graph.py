"""A graph as arrays: node labels and the ends of every edge, in one fixed order.

The order of the nodes and edges is the order of the costs. From a NetworkX graph it is `list(G.nodes)` and
`list(G.edges)` (with keys, where there are parallel edges), as they were when the graph was read; from arrays
it is the order of the rows. `Graph.node_names` and `Graph.edge_names` show it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imle_opt_solvers.errors import ModelError

__all__ = ["Graph", "as_graph"]

IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and edges in a fixed order; it holds no costs.

    Args:
        nodes: one label per node, all different.
        tails: (m,) index of each edge's first node.
        heads: (m,) index of each edge's second node.
        directed: whether an edge leads from tail to head only.
        keys: (m,) what tells parallel edges apart; None where there are none.

    Raises:
        ModelError: no nodes, a label that comes twice, or ends that are not nodes.
    """

    nodes: tuple[Hashable, ...]
    tails: IntArray
    heads: IntArray
    directed: bool
    keys: tuple[Hashable, ...] | None = None

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ModelError("The graph has no nodes.")
        if len(self.positions) < len(self.nodes):
            raise ModelError("Two nodes of the graph have the same label: make the labels different.")
        for ends in (self.tails, self.heads):
            outside = np.flatnonzero((ends < 0) | (ends >= len(self.nodes)))
            if outside.size:
                raise ModelError(
                    f"Edge {outside[0]} ends at node {ends[outside[0]]}, but the graph has "
                    f"{len(self.nodes)} nodes, 0 to {len(self.nodes) - 1}."
                )

    @classmethod
    def from_edges(cls, edges: ArrayLike, *, directed: bool, num_nodes: int | None = None) -> Graph:
        """Return the graph whose nodes are `0, 1, ..., num_nodes - 1`.

        Args:
            edges: (m, 2) integers, the two ends of each edge. Rows may repeat: parallel edges.
            directed: whether an edge leads from the first to the second node only.
            num_nodes: None for the largest end plus one.

        Raises:
            ModelError: not an (m, 2) array of integers, or an end outside of `0, ..., num_nodes - 1`.
        """
        ends = np.asarray(edges)
        if ends.size == 0:
            ends = np.empty((0, 2), dtype=np.int64)
        if ends.dtype.kind not in "iu" or ends.ndim != 2 or ends.shape[1] != 2:
            raise ModelError(
                f"`edges` must be an (m, 2) array of integers, the two ends of each edge; it has shape "
                f"{ends.shape} and dtype {ends.dtype}."
            )
        count = int(ends.max(initial=-1)) + 1 if num_nodes is None else num_nodes
        pairs = ends.astype(np.int64)
        return cls(
            nodes=tuple(range(count)),
            tails=pairs[:, 0].copy(),
            heads=pairs[:, 1].copy(),
            directed=directed,
            keys=_parallel_keys(pairs, directed),
        )

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    @property
    def num_edges(self) -> int:
        """Number of edges, self-loops and parallel edges counted."""
        return len(self.tails)

    @cached_property
    def positions(self) -> dict[Hashable, int]:
        """The index of each node label."""
        return {label: position for position, label in enumerate(self.nodes)}

    @property
    def node_names(self) -> tuple[str, ...]:
        """Each node's label as text."""
        return tuple(map(str, self.nodes))

    @property
    def edge_names(self) -> tuple[str, ...]:
        """`u-v` for each edge of an undirected graph, `u->v` of a directed one; `[key]` follows if keyed."""
        names, link = self.node_names, "->" if self.directed else "-"
        ends = zip(self.tails.tolist(), self.heads.tolist(), strict=True)
        plain = [f"{names[tail]}{link}{names[head]}" for tail, head in ends]
        if self.keys is None:
            return tuple(plain)
        return tuple(f"{name}[{key}]" for name, key in zip(plain, self.keys, strict=True))


def as_graph(graph: object, *, directed: bool | None = None, num_nodes: int | None = None) -> Graph:
    """Return `graph` as arrays; what is given is read once and left as it is.

    Args:
        graph: a `Graph`; a NetworkX `Graph`, `DiGraph`, `MultiGraph` or `MultiDiGraph`; or edges (m, 2).
        directed: needed with edges, and with edges only.
        num_nodes: as in `Graph.from_edges`.

    Raises:
        ModelError: none of these, edges without `directed`, or `directed` or `num_nodes` with a graph.
    """
    if isinstance(graph, (np.ndarray, list)):
        if directed is None:
            raise ModelError("Edges given as an array need `directed=True` or `directed=False`.")
        return Graph.from_edges(graph, directed=directed, num_nodes=num_nodes)
    if directed is not None or num_nodes is not None:
        raise ModelError("`directed` and `num_nodes` go with edges given as an array; a graph knows its own.")
    if isinstance(graph, Graph):
        return graph
    if is_networkx(graph):
        from imle_opt_solvers.adapters.networkx_graph import read_graph

        return read_graph(graph)
    raise ModelError(
        f"`graph` must be a NetworkX graph, an (m, 2) array of edges or an imle-opt `Graph`, not a "
        f"{type(graph).__name__}."
    )


def is_networkx(graph: object) -> bool:
    """Whether `graph` is a NetworkX graph, told without importing NetworkX."""
    return any(base.__module__.partition(".")[0] == "networkx" for base in type(graph).__mro__)


def list_some(labels: Sequence[Any], most: int = 6) -> str:
    """Return the first few labels as text, for error messages."""
    return ", ".join(map(repr, labels[:most])) + (", ..." if len(labels) > most else "")


def _parallel_keys(pairs: IntArray, directed: bool) -> tuple[int, ...] | None:
    """Return how often each pair came before, or None where all pairs differ."""
    seen: dict[tuple[int, ...], int] = {}
    keys: list[int] = []
    for pair in pairs.tolist():
        ends = tuple(pair) if directed else tuple(sorted(pair))
        keys.append(seen.get(ends, 0))
        seen[ends] = keys[-1] + 1
    return tuple(keys) if any(keys) else None
