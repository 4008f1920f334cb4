"""Per-row graphs and node labels: which rows of a batch share a graph, and which nodes they name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.graph import Graph, as_graph, list_some

__all__ = ["group_by_graph", "node_index", "node_indices"]

IntArray = NDArray[np.int64]


def group_by_graph(given: NDArray[Any] | None, own: Graph, rows: int) -> list[tuple[Graph, IntArray]]:
    """Return each distinct graph with the rows that use it.

    Args:
        given: one graph per row, or edges (B, m, 2) for graphs with the nodes and direction of `own`. Graphs
            are told apart by identity and read once each. None: all rows use `own`.
        own: the solver's own graph.
        rows: B.

    Raises:
        InvalidInputError: an entry that is not a graph; the message names the row.
    """
    if given is None:
        return [(own, np.arange(rows))]
    graphs = [given[row] for row in range(rows)]  # held, so that no identity is used twice
    groups: dict[int, list[int]] = {}
    for row, graph in enumerate(graphs):
        groups.setdefault(id(graph), []).append(row)
    return [(_read(graphs[group[0]], own, group[0]), np.array(group)) for group in groups.values()]


def _read(graph: object, own: Graph, row: int) -> Graph:
    try:
        if isinstance(graph, np.ndarray):
            return as_graph(graph, directed=own.directed, num_nodes=own.num_nodes)
        return as_graph(graph)
    except ModelError as error:
        raise InvalidInputError(f"`instances['graph']`, row {row}: {error}") from error


def node_indices(given: NDArray[Any] | None, own: Any, graph: Graph, rows: IntArray, key: str) -> IntArray:
    """Return the node that each row names.

    Args:
        given: (B,) labels, or (B, k) for labels that are tuples; None: all rows name `own`.
        own: the solver's own label.
        graph: the graph of these rows.
        rows: (R,) the rows wanted.
        key: `"source"` or `"target"`.

    Returns:
        (R,) node indices.

    Raises:
        InvalidInputError: a label that is not a node; the message names the row.
    """
    labels = [own] if given is None else given[rows].tolist()
    positions = [graph.positions.get(_as_label(label)) for label in labels]
    if None in positions:
        first = positions.index(None)
        raise InvalidInputError(
            f"Row {rows[first]} has the {key} {_as_label(labels[first])!r}, which is not a node of its "
            f"graph. It has {graph.num_nodes}: {list_some(graph.nodes)}."
        )
    return np.repeat(np.array(positions, dtype=np.int64), len(rows) if given is None else 1)


def node_index(label: object, graph: Graph, key: str) -> int:
    """Return the node called `label`.

    Raises:
        ModelError: the graph has no such node.
    """
    position = graph.positions.get(_as_label(label))
    if position is None:
        raise ModelError(
            f"`{key}` is {label!r}, which is not a node of the graph. The graph has {graph.num_nodes}: "
            f"{list_some(graph.nodes)}."
        )
    return position


def _as_label(label: Any) -> Any:
    """Return a label as a graph holds it: rows of an array become tuples, as in a grid."""
    if isinstance(label, np.ndarray):
        label = label.tolist()
    return tuple(label) if isinstance(label, list) else label
