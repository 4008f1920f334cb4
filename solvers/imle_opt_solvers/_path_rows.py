"""The cheapest paths of a batch by the fastest kernel that is exact for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.arcs import PathRegion
from imle_opt_solvers.solution import FloatArray

__all__ = ["PathTask", "cheapest_paths", "has_negative"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class PathTask:
    """Rows of a batch that share a graph: their numbers, sources and targets, each (R,)."""

    region: PathRegion
    rows: IntArray
    sources: IntArray
    targets: IntArray


def cheapest_paths(costs: FloatArray, task: PathTask) -> tuple[FloatArray, IntArray]:
    """Run the kernels on `costs` (R, m); return decisions (R, m) and codes (R,)."""
    from imle_opt_solvers.kernels import shortest_path as kernels

    region, on_vertices = task.region, task.region.on_vertices
    if region.order is not None:
        return kernels.acyclic(costs, region.arcs, region.order, task.sources, task.targets, on_vertices)
    signed = has_negative(costs)
    if not signed.any():  # the usual case, without copies
        return kernels.dijkstra(costs, region.arcs, task.sources, task.targets, on_vertices)
    decisions, codes = np.empty(costs.shape), np.empty(len(costs), dtype=np.int64)
    for rows, kernel in ((~signed, kernels.dijkstra), (signed, kernels.bellman_ford)):
        if rows.any():
            decisions[rows], codes[rows] = kernel(
                costs[rows], region.arcs, task.sources[rows], task.targets[rows], on_vertices
            )
    return decisions, codes


def has_negative(costs: FloatArray) -> BoolArray:
    """Return which rows (R,) have a negative cost."""
    if costs.min(initial=0.0) >= 0:  # many times faster than row by row
        return np.zeros(len(costs), dtype=np.bool_)
    return np.asarray((costs < 0).any(axis=1))
