"""0-1 knapsacks: variables that are 0 or 1, under one to four one-sided constraints.

A variable whose coefficients are negative counts as 1 - y, and a lower side as the upper one of the negated
row: covering `w z >= d` is packing what is left out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import INFINITE, LinearModel
from imle_opt_solvers.solution import FloatArray, Limits
from imle_opt_solvers.structures.structure import Answer, has_unit_bounds, solve_usable, unchanged_rows

__all__ = ["Knapsacks", "recognise_knapsack"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_MOST_CONSTRAINTS = 4
"""With more, the relaxation to one constraint bounds too loosely, and branch and bound over the LP wins."""
_TOLERANCE = 1e-9
"""Relative to a constraint's side: 0.1 + 0.2 is to fit into 0.3."""
_MOST_NODES = 200_000
_NODES_PER_SECOND = 1e7
_FIRST_ROWS, _MOST_ROWS = 32, 1024
_SECONDS_AT_ONCE = 0.05
"""Rows searched in one call grow in number until it takes about as long, and shrink where it takes longer."""
_MOST_STATES = 50_000_000
_STATES_PER_SECOND = 2e8
_STATES_PER_NODE = 20
"""A node of the search takes about as long as so many states of dynamic programming."""


@final
@dataclass(frozen=True, eq=False)
class Knapsacks:
    """A model that is a 0-1 knapsack with r constraints: `max <profits, y>` over `weights y <= capacities`.

    Args:
        model: the model; constraint i is its row i.
        weights: (r, columns), not negative.
        flipped: (columns,) where x = 1 - y.
        from_above: (r,) where the row has an upper side; the others have a lower one.
        limits: `seconds` cuts the search short.
    """

    model: LinearModel
    weights: FloatArray
    flipped: BoolArray
    from_above: BoolArray
    limits: Limits

    @property
    def engine(self) -> str:
        """What runs."""
        return "kernel:knapsack"

    def capacities(self, bounds: RowBounds | None) -> FloatArray:
        """Return the capacities, (r,) or (B, r); NaN where the row is no longer one-sided as it was."""
        lower = self.model.row_lower if bounds is None or bounds.row_lower is None else bounds.row_lower
        upper = self.model.row_upper if bounds is None or bounds.row_upper is None else bounds.row_upper
        sides = np.where(self.from_above, upper, -lower)
        others = np.where(self.from_above, -lower, upper)
        scale = np.abs(sides)
        capacities = sides + self.weights[:, self.flipped].sum(axis=1)
        capacities = capacities + _TOLERANCE * np.maximum(scale, np.abs(capacities))
        most = self.weights.sum(axis=1)
        return np.where(others >= INFINITE, np.minimum(capacities, most), np.nan)

    def solve(self, costs: FloatArray, bounds: RowBounds | None) -> Answer:
        """Search every row; one that is cut short is solved by capacity, where that is affordable."""
        profits = np.where(self.flipped, costs, -costs) if self.flipped.any() else -costs
        capacities = np.broadcast_to(self.capacities(bounds), (len(costs), len(self.weights)))
        usable = unchanged_rows(self.model, bounds, len(costs), sides=False)
        usable &= (capacities >= 0).all(axis=1)

        def solve(rows: IntArray | slice) -> tuple[FloatArray, BoolArray]:
            found, proven = self._solve(profits[rows], capacities[rows].copy())
            return (np.where(self.flipped, 1.0 - found, found) if self.flipped.any() else found), proven

        return solve_usable(usable, solve, self.model.num_columns)

    def _solve(self, profits: FloatArray, capacities: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Solve the rows (R, columns) for capacities (R, r), in parts that leave Ctrl-C a gap."""
        from imle_opt_solvers.kernels import knapsack as kernels

        found, proven = np.empty(profits.shape), np.empty(len(profits), dtype=np.bool_)
        states = self._states(capacities)
        nodes = self._most_nodes(states)
        start, size = 0, _FIRST_ROWS
        while start < len(profits):
            part, began = slice(start, start + size), time.perf_counter()
            found[part], proven[part] = kernels.search(
                profits[part], self.weights, capacities[part], nodes[part]
            )
            start += size
            seconds = time.perf_counter() - began
            if seconds < _SECONDS_AT_ONCE / 2:
                size = min(2 * size, _MOST_ROWS)
            elif seconds > _SECONDS_AT_ONCE:
                size = max(1, size // 2)
        for row in np.flatnonzero(~proven & (states > 0)).tolist():
            weights, whole = self.weights[0].astype(np.int64), np.floor(capacities[row]).astype(np.int64)
            found[row] = kernels.by_capacity(profits[row : row + 1], weights, whole)[0]
            proven[row] = True
        return found, proven

    def _states(self, capacities: FloatArray) -> IntArray:
        """Return how many states dynamic programming has in each row (R,); 0 where it is no option."""
        states = self.weights.shape[1] * (capacities[:, 0] + 1)
        affordable: float = _MOST_STATES
        if self.limits.seconds is not None:
            affordable = min(affordable, self.limits.seconds * _STATES_PER_SECOND)
        if len(self.weights) > 1 or (self.weights != np.round(self.weights)).any():
            affordable = 0.0
        return np.where(states <= affordable, states, 0.0).astype(np.int64)

    def _most_nodes(self, states: IntArray) -> IntArray:
        """Return how long to search in each row (R,): not much longer than dynamic programming takes."""
        nodes = np.where(states > 0, np.clip(states // _STATES_PER_NODE, 1000, _MOST_NODES), _MOST_NODES)
        if self.limits.seconds is None:
            return nodes
        return np.minimum(nodes, int(self.limits.seconds * _NODES_PER_SECOND))


def recognise_knapsack(model: LinearModel, limits: Limits) -> Knapsacks | None:
    """Return the model's structure where its columns are binary and its rows can be made into a packing."""
    rows = model.num_rows
    if not 1 <= rows <= _MOST_CONSTRAINTS or not has_unit_bounds(model) or not model.integrality.all():
        return None
    above = np.asarray(model.row_upper < INFINITE)
    below = np.asarray(model.row_lower > -INFINITE)
    if (above == below).any():
        return None
    matrix = np.zeros((rows, model.num_columns))
    index = np.repeat(np.arange(rows), np.diff(model.row_starts))
    np.add.at(matrix, (index, model.row_columns), model.row_values)
    matrix = np.where(above, 1.0, -1.0)[:, None] * matrix
    flipped = np.asarray((matrix <= 0).all(axis=0) & (matrix < 0).any(axis=0))
    if (matrix[:, ~flipped] < 0).any():
        return None
    found = Knapsacks(model, np.abs(matrix), flipped, above, limits)
    return found if (found.capacities(None) >= 0).all() else None
