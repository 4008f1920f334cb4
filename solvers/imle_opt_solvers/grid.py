"""Shortest paths on a grid: the map of cells that most benchmarks of the field use."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from imle_opt_solvers._graph_checks import GraphEngine
from imle_opt_solvers.arcs import CostsOn
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.shortest_path import NegativeCosts, ShortestPath
from imle_opt_solvers.solution import OnFailure

__all__ = ["Neighbours", "grid_graph", "grid_path"]

Cell: TypeAlias = tuple[int, int]
Neighbours: TypeAlias = Literal[2, 4, 8]

_STEPS: dict[int, tuple[Cell, ...]] = {
    2: ((0, 1), (1, 0)),
    4: ((0, 1), (1, 0)),
    8: ((0, 1), (1, -1), (1, 0), (1, 1)),
}


def grid_graph(shape: tuple[int, ...] = (12, 12), neighbours: Neighbours = 8) -> Graph:
    """Return the graph of a grid's cells.

    Args:
        shape: rows and columns.
        neighbours: 8 for all adjacent cells, 4 without diagonals, both undirected; 2 for right and down only,
            which is directed and without cycles.

    Returns:
        Nodes `(row, column)` in row-major order; edges cell by cell: right, down left, down, down right.

    Raises:
        InvalidInputError: a grid without cells, or another number of neighbours.
    """
    if neighbours not in _STEPS:
        raise InvalidInputError(f"`neighbours` must be 2, 4 or 8, not {neighbours!r}.")
    if len(shape) != 2 or min(shape) < 1:
        raise InvalidInputError(f"`shape` must be (rows, columns), both at least 1, not {shape!r}.")
    rows, columns = shape
    nodes = tuple((row, column) for row in range(rows) for column in range(columns))
    ends = [
        (row * columns + column, (row + down) * columns + column + right)
        for row, column in nodes
        for down, right in _STEPS[neighbours]
        if row + down < rows and 0 <= column + right < columns
    ]
    pairs = np.array(ends, dtype=np.int64).reshape(-1, 2)
    return Graph(nodes, pairs[:, 0].copy(), pairs[:, 1].copy(), directed=neighbours == 2)


def grid_path(
    shape: tuple[int, ...] = (12, 12),
    *,
    neighbours: Neighbours = 8,
    costs_on: CostsOn = "vertices",
    source: Cell = (0, 0),
    target: Cell | None = None,
    negative: NegativeCosts = "error",
    engine: GraphEngine = "auto",
    on_failure: OnFailure = "raise",
) -> ShortestPath:
    """Return the shortest path on a grid, from the top left cell to the bottom right one by default.

    With costs on vertices, costs and decisions have the grid's shape, and the path pays every cell that it
    visits, both ends counted; with costs on edges they are `(edges,)`, in the order of `grid_graph`.

    Args:
        shape: rows and columns.
        neighbours: 8 (with diagonals), 4, or 2 for right and down only: this one takes costs of any sign.
        costs_on: `"vertices"` or `"edges"`.
        source: the first cell, `(row, column)`.
        target: the last cell; None for the bottom right one.
        negative: see `ShortestPath`.
        engine: see `ShortestPath`.
        on_failure: see `Solver`.

    Raises:
        ModelError: a cell outside of the grid, or no way from source to target.
        InvalidInputError: an option that does not exist.

    `instances` takes `source` and `target`, (*batch, 2), and `graph`. One solve per row.
    """
    graph = grid_graph(shape, neighbours)
    return ShortestPath(
        graph,
        source,
        graph.nodes[-1] if target is None else target,
        costs_on=costs_on,
        shape=shape if costs_on == "vertices" else None,
        negative=negative,
        engine=engine,
        on_failure=on_failure,
    )
