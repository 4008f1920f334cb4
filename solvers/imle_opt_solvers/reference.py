"""Slow, plainly correct answers that tests compare with: enumeration and dynamic programming.

Nothing here shares code with the engines. Sizes: up to about 20 binary variables, or a handful of continuous
ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["Enumeration", "enumerate_linear_model", "knapsack_optimum"]

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Enumeration:
    """Every decision that can be optimal, with its fixed part.

    Args:
        decisions: (N, *shape).
        fixed: (N,) objective of the variables that are not predicted, plus the offset.
        sense: the direction of the objective.
    """

    decisions: FloatArray
    fixed: FloatArray
    sense: Sense

    def objectives(self, costs: FloatArray) -> FloatArray:
        """Return the objective of every decision under `costs` (*shape,): (N,)."""
        count = len(self.decisions)
        return self.decisions.reshape(count, -1) @ np.ravel(costs) + self.fixed

    def optimum(self, costs: FloatArray) -> float:
        """Return the best objective under `costs` (*shape,)."""
        objectives = self.objectives(costs)
        return float(objectives.min() if self.sense is Sense.MIN else objectives.max())

    def contains(self, decision: FloatArray) -> bool:
        """Whether `decision` (*shape,) is one of the enumerated ones."""
        distances = (
            np.abs(self.decisions - decision).reshape(len(self.decisions), -1).max(axis=1, initial=0.0)
        )
        return bool((distances < 1e-6).any())


def enumerate_linear_model(model: LinearModel) -> Enumeration:
    """Enumerate all integer points and, for each, all vertices of what remains continuous.

    A linear objective that has an optimum has one among these points.

    Raises:
        InvalidInputError: no feasible point, or integer variables without finite bounds.
    """
    points = np.array(list(_points(model)))
    if points.size == 0:
        raise InvalidInputError("The model has no feasible point to enumerate.")
    decisions = points[:, model.predicted.columns].reshape(len(points), *model.predicted.shape)
    return Enumeration(decisions, points @ model.fixed_costs + model.offset, model.sense)


def _points(model: LinearModel) -> Iterator[FloatArray]:
    matrix = _dense(model)
    integer = np.flatnonzero(model.integrality)
    continuous = np.flatnonzero(~model.integrality)
    for assignment in itertools.product(*(_integer_values(model, column) for column in integer)):
        point = np.zeros(model.num_columns)
        point[integer] = assignment
        used = matrix @ point
        sides = (model.row_lower - used, model.row_upper - used)
        bounds = (model.column_lower[continuous], model.column_upper[continuous])
        for vertex in _vertices(matrix[:, continuous], sides, bounds):
            point[continuous] = vertex
            yield point.copy()


def _dense(model: LinearModel) -> FloatArray:
    matrix = np.zeros((model.num_rows, model.num_columns))
    for row in range(model.num_rows):
        entries = slice(model.row_starts[row], model.row_starts[row + 1])
        np.add.at(matrix[row], model.row_columns[entries], model.row_values[entries])
    return matrix


def _integer_values(model: LinearModel, column: np.intp) -> range:
    lower, upper = model.column_lower[column], model.column_upper[column]
    if not np.isfinite([lower, upper]).all():
        raise InvalidInputError(
            f"The integer variable {model.column_names[column]!r} has bounds [{lower}, {upper}]: only finite "
            f"ones can be enumerated."
        )
    return range(int(np.ceil(lower - _TOLERANCE)), int(np.floor(upper + _TOLERANCE)) + 1)


def _vertices(
    matrix: FloatArray, sides: tuple[FloatArray, FloatArray], bounds: tuple[FloatArray, FloatArray]
) -> Iterator[FloatArray]:
    """Yield the vertices of {y: sides[0] <= M y <= sides[1], bounds[0] <= y <= bounds[1]}."""
    count = matrix.shape[1]
    normals = np.vstack([matrix, matrix, np.eye(count), np.eye(count)])
    values = np.concatenate([*sides, *bounds])
    finite = np.flatnonzero(np.isfinite(values))
    for chosen in itertools.combinations(finite, count):
        basis = normals[list(chosen)]
        if count and abs(np.linalg.det(basis)) < _TOLERANCE:
            continue
        vertex = np.linalg.solve(basis, values[list(chosen)]).astype(np.float64) if count else np.empty(0)
        if _within(matrix @ vertex, sides) and _within(vertex, bounds):
            yield vertex


def _within(values: FloatArray, sides: tuple[FloatArray, FloatArray]) -> bool:
    return bool((values >= sides[0] - _TOLERANCE).all() and (values <= sides[1] + _TOLERANCE).all())


def knapsack_optimum(profits: ArrayLike, weights: NDArray[np.integer], capacity: int) -> float:
    """Return the best profit of a 0-1 knapsack by dynamic programming over the capacity.

    `V[w] <- max(V[w], V[w - weight_i] + profit_i)`, items with negative profit left out by the maximum.

    Args:
        profits: (m,).
        weights: (m,) non-negative integers.
        capacity: integer.
    """
    best = np.zeros(capacity + 1)
    for profit, weight in zip(np.asarray(profits, dtype=np.float64), np.asarray(weights), strict=True):
        if weight <= capacity:
            best[weight:] = np.maximum(best[weight:], best[: capacity + 1 - weight] + profit)
    return float(best[capacity])
