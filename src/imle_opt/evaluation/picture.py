"""What a decision of a known problem looks like, for those who draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from imle_opt_solvers import ShortestPath, Solver, SpanningTree
from imle_opt_solvers.arcs import CostsOn
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.solution import FloatArray

__all__ = ["GraphPicture", "ItemsPicture", "Picture", "picture_of"]


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
    if isinstance(solver, ShortestPath):
        return GraphPicture(solver.graph, solver.costs_on, _positions(solver.graph))
    if isinstance(solver, SpanningTree):
        return GraphPicture(solver.graph, "edges", _positions(solver.graph))
    return None


def _positions(graph: Graph) -> FloatArray | None:
    labels: list[Any] = list(graph.nodes)
    if not all(isinstance(label, tuple) and len(label) == 2 for label in labels):
        return None
    try:
        return np.array(labels, dtype=np.float64)
    except (TypeError, ValueError):
        return None
