"""Checks that paths and trees share."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.graph import is_networkx
from imle_opt_solvers.solution import FloatArray

__all__ = [
    "GraphEngine",
    "check_num_costs",
    "costs_shape",
    "read_graph_costs",
]

GraphEngine: TypeAlias = Literal["auto", "kernel", "native"]


def costs_shape(num_costs: int, shape: int | tuple[int, ...] | None, what: str) -> tuple[int, ...]:
    """Return the shape of the costs: as asked for where that fits, else one dimension."""
    if num_costs == 0:
        raise ModelError(f"The graph has no {what}, so there are no costs to predict.")
    if shape is None:
        return (num_costs,)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if math.prod(shape) != num_costs:
        raise InvalidInputError(f"`shape` {shape} does not fit the {num_costs} {what} of the graph.")
    return shape


def check_num_costs(found: int, shape: tuple[int, ...], what: str, row: int) -> None:
    """Refuse a row's graph that has another number of costs than the solver's own."""
    if found != math.prod(shape):
        raise InvalidInputError(
            f"`instances['graph']`, row {row}: the graph has {found} {what}; every graph must have "
            f"{math.prod(shape)}, as many as there are costs."
        )


def read_graph_costs(
    graph: object, weight: str | None, shape: tuple[int, ...], *, on_vertices: bool
) -> FloatArray | None:
    """Return the costs that a NetworkX graph itself holds under `weight`, or None where it has none."""
    if weight is None or not is_networkx(graph):
        return None
    from imle_opt_solvers.adapters.networkx_graph import read_costs

    costs = read_costs(graph, weight, on_vertices)
    return None if costs is None else costs.reshape(shape)
