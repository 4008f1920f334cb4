"""What a decision of a known problem looks like, for those who draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from imle_opt_solvers import ShortestPath, Solver, SpanningTree
from imle_opt_solvers.arcs import CostsOn
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = ["GraphPicture", "ItemsPicture", "Picture", "picture_of"]


_MOST_CAPACITIES = 4
"""With more constraints a model is drawn as a knapsack no more."""


@dataclass(frozen=True, eq=False)
class GraphPicture:
    """Decisions that choose edges or nodes of a graph.

    Args:
        graph: its nodes and edges, in the order of the costs.
        costs_on: whether costs and decisions stand for edges or for nodes.
        positions: (nodes, 2) row and column of each node on a map; None where the labels tell of none.
    """

    graph: Graph
    costs_on: CostsOn
    positions: FloatArray | None


@dataclass(frozen=True, eq=False)
class ItemsPicture:
    """Decisions that choose items under capacities.

    Args:
        weights: (constraints, items).
        capacities: (constraints,).
    """

    weights: FloatArray
    capacities: FloatArray


Picture: TypeAlias = GraphPicture | ItemsPicture


def picture_of(solver: Solver) -> Picture | None:
    """Return how to draw a solver's decisions; None where they have no picture."""
    # An import at the top would load an engine also where nothing is solved, as in `imle-opt predict`.
    from imle_opt_solvers import Knapsack

    if isinstance(solver, ShortestPath):
        return GraphPicture(solver.graph, solver.costs_on, _positions(solver.graph))
    if isinstance(solver, SpanningTree):
        return GraphPicture(solver.graph, "edges", _positions(solver.graph))
    if isinstance(solver, Knapsack):
        return ItemsPicture(solver.weights, solver.capacity)
    model = getattr(solver, "model", None)
    return _items(model) if isinstance(model, LinearModel) else None


def _items(model: LinearModel) -> ItemsPicture | None:
    """Return the picture of a linear model that is a knapsack: items that are taken or not, capacities."""
    columns = model.predicted.columns
    packing = (
        len(columns) == model.num_columns
        and model.predicted_binary
        and 1 <= model.num_rows <= _MOST_CAPACITIES
        and np.isneginf(model.row_lower).all()
        and (model.row_values >= 0).all()
    )
    if not packing:
        return None
    rows = np.repeat(np.arange(model.num_rows), np.diff(model.row_starts))
    weights = np.zeros((model.num_rows, model.num_columns))
    np.add.at(weights, (rows, model.row_columns), model.row_values)
    return ItemsPicture(weights[:, columns], model.row_upper)


def _positions(graph: Graph) -> FloatArray | None:
    labels: list[Any] = list(graph.nodes)
    if not all(isinstance(label, tuple) and len(label) == 2 for label in labels):
        return None
    try:
        return np.array(labels, dtype=np.float64)
    except (TypeError, ValueError):
        return None
