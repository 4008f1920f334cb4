"""Cheapest paths: one unit of flow from a source to a target.

The rows say that what leaves a node is what enters it, with one unit more at the source and less at the
target; a row may be multiplied by -1, and one may be missing. The flow may take every arc in full. So a
cheapest flow is a cheapest path, unless a cycle of negative cost is worth going round: such rows of a batch
are left to the linear engine, which then has flow on cycles too, or no bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers._checks import refuse_overflow
from imle_opt_solvers._path_rows import PathTask, cheapest_paths, has_negative
from imle_opt_solvers.arcs import FOUND, PathRegion, compile_region
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.structures._incidence import Incidence, read_incidence
from imle_opt_solvers.structures.structure import Answer, solve_usable

__all__ = ["Ends", "Network", "recognise_network"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Ends(NamedTuple):
    """Where paths begin and end: (B,) each; `valid` where there is one of either."""

    valid: BoolArray
    sources: IntArray
    targets: IntArray


@final
@dataclass(frozen=True, eq=False)
class Network:
    """A model whose answer is a cheapest path.

    Args:
        model: the model.
        incidence: its arcs.
        region: the same, made ready for the kernels; every column is an arc.
        ends: (1,) where the model's own paths begin and end.
        closes: whether some arc takes no flow.
    """

    model: LinearModel
    incidence: Incidence
    region: PathRegion
    ends: Ends
    closes: bool

    @property
    def engine(self) -> str:
        """What runs."""
        return f"kernel:{'dijkstra' if self.region.order is None else 'dag'}"

    def solve(self, costs: FloatArray, bounds: RowBounds | None) -> Answer:
        """Find the path of every row that has one and is free of negative cycles."""
        refuse_overflow(costs)
        ends = self._ends(bounds, len(costs))
        costs, usable = self._open(costs, bounds)
        usable &= ends.valid
        if self.region.order is None:
            usable &= ~self._has_negative_cycle(costs)

        def solve(rows: IntArray | slice) -> tuple[FloatArray, BoolArray]:
            task = PathTask(self.region, np.arange(len(usable))[rows], ends.sources[rows], ends.targets[rows])
            values, codes = cheapest_paths(costs[rows], task)
            lost = codes != FOUND
            if lost.any():
                values[lost] = np.nan
            return values, ~lost

        return solve_usable(usable, solve, self.model.num_columns)

    def _ends(self, bounds: RowBounds | None, rows: int) -> Ends:
        if bounds is None or bounds.row_lower is None or bounds.row_upper is None:
            own = self.ends
            return Ends(own.valid.repeat(rows), own.sources.repeat(rows), own.targets.repeat(rows))
        ends = _ends_of(self.incidence.demands(bounds.row_lower))
        equal = (bounds.row_lower == bounds.row_upper).all(axis=1)
        return Ends(ends.valid & equal, ends.sources, ends.targets)

    def _open(self, costs: FloatArray, bounds: RowBounds | None) -> tuple[FloatArray, BoolArray]:
        """Return the costs with closed arcs at infinity, and the rows (B,) with bounds that a path meets."""
        usable, upper, closes = np.ones(len(costs), dtype=np.bool_), self.model.column_upper, self.closes
        if bounds is not None and bounds.column_lower is not None and bounds.column_upper is not None:
            upper = bounds.column_upper
            usable &= (bounds.column_lower == 0).all(axis=1)
            usable &= ((upper >= 1) | (upper == 0)).all(axis=1)
            closes = bool((upper == 0).any())
        return (np.where(upper == 0, np.inf, costs) if closes else costs), usable

    def _has_negative_cycle(self, costs: FloatArray) -> BoolArray:
        found = np.zeros(len(costs), dtype=np.bool_)
        signed = np.flatnonzero(has_negative(costs))
        if signed.size:
            from imle_opt_solvers.kernels.shortest_path import negative_cycles

            found[signed] = negative_cycles(costs[signed], self.region.arcs)
        return found


def _ends_of(demands: FloatArray) -> Ends:
    """Read the ends off demands (B, nodes): 1 at the source, -1 at the target, 0 elsewhere."""
    sources, targets = demands == 1, demands == -1
    valid = (sources.sum(axis=1) == 1) & (targets.sum(axis=1) == 1) & ((demands != 0).sum(axis=1) == 2)
    return Ends(valid, sources.argmax(axis=1), targets.argmax(axis=1))


def recognise_network(model: LinearModel) -> Network | None:
    """Return the model's structure where its rows conserve one unit of flow, and there is a way for it."""
    upper = model.column_upper
    if (model.row_lower != model.row_upper).any() or (model.column_lower != 0).any():
        return None
    if ((upper < 1) & (upper != 0)).any():
        return None
    incidence = read_incidence(model)
    if incidence is None:
        return None
    ends = _ends_of(incidence.demands(model.row_lower[None]))
    if not ends.valid[0]:
        return None
    nodes = tuple(range(model.num_rows + 1))
    graph = Graph(nodes, incidence.tails, incidence.heads, directed=True)
    region = compile_region(graph, "edges")
    usable = Graph(nodes, incidence.tails[upper > 0], incidence.heads[upper > 0], directed=True)
    if not compile_region(usable, "edges").has_path(int(ends.sources[0]), int(ends.targets[0])):
        return None
    return Network(model, incidence, region, ends, bool((upper == 0).any()))
