"""The vertex that a solver's answer stands for, to the last bit.

Two solvers that find the same optimal vertex of a mixed-integer model give its continuous variables with
other roundings. Given its whole numbers, the vertex is fixed by which bounds and sides it touches,

    A_TF x_F = b_T - A_TR x_R,

F the variables strictly between their bounds, T the constraints that bind, R the rest. All answers that agree
on F and T become the same one here.
"""

from __future__ import annotations

from typing import final

import numpy as np

from imle_opt_solvers.linear_model import INFINITE, LinearModel
from imle_opt_solvers.row_answer import exact_integers
from imle_opt_solvers.solution import FloatArray

__all__ = ["Vertices", "has_plain_data"]

_LARGEST_NUMBER = 1000
_MOST_ENTRIES = 4_000_000
_TOUCHES = 1e-6
"""A bound or side is touched within this distance, relative to `1 + |side|`."""
_CLEAR = 1e-4
"""A bound or side is clearly not touched from this distance on."""
_RESIDUAL = 1e-9
_WHOLE = 1e-9
"""Nearer to a whole number, a value is that number."""


@final
class Vertices:
    """The vertices of one mixed-integer model over its own sides and bounds.

    Args:
        model: the model, which is held as a dense matrix.
    """

    @staticmethod
    def can_hold(model: LinearModel) -> bool:
        """Whether some variable is continuous, and the matrix is not too large."""
        return not model.integrality.all() and model.num_rows * model.num_columns <= _MOST_ENTRIES

    def __init__(self, model: LinearModel) -> None:
        self._model = model
        rows = np.repeat(np.arange(model.num_rows), np.diff(model.row_starts))
        self._matrix = np.zeros((model.num_rows, model.num_columns))
        np.add.at(self._matrix, (rows, model.row_columns), model.row_values)

    def find(self, point: FloatArray, *, clear: bool) -> FloatArray | None:
        """Return the vertex that a feasible point (columns,) is near, or None.

        Args:
            point: integers exact, the rest to within a solver's tolerance.
            clear: None, too, where it is not plain which bounds and sides the vertex touches, so that another
                solver's answer might be read otherwise.
        """
        model = self._model
        lower = _slack(point - model.column_lower, model.column_lower)
        upper = _slack(model.column_upper - point, model.column_upper)
        activities = self._matrix @ point
        below = _slack(activities - model.row_lower, model.row_lower)
        above = _slack(model.row_upper - activities, model.row_upper)
        nearest = np.concatenate([np.minimum(lower, upper)[~model.integrality], np.minimum(below, above)])
        if clear and ((nearest > _RESIDUAL) & (nearest < _CLEAR)).any():
            return None
        vertex = np.where(lower <= _TOUCHES, model.column_lower, point)
        vertex = np.where(upper <= _TOUCHES, model.column_upper, vertex)
        vertex = exact_integers(np.where(model.integrality, point, vertex), model.integrality)
        free = ~model.integrality & (np.minimum(lower, upper) > _TOUCHES)
        if free.any():
            sides = np.where(below <= _TOUCHES, model.row_lower, model.row_upper)
            tight = np.minimum(below, above) <= _TOUCHES
            found = self._solve(vertex, free, tight, sides)
            if found is None:
                return None
            whole = np.round(found) + 0.0
            vertex[free] = np.where(np.abs(found - whole) <= _WHOLE, whole, found)
        moved = float(np.abs(vertex - point).max(initial=0.0))
        return vertex if moved <= _CLEAR and self._is_feasible(vertex) else None

    def _solve(
        self, vertex: FloatArray, free: np.ndarray, tight: np.ndarray, sides: FloatArray
    ) -> FloatArray | None:
        """Return the free values, or None where the constraints that bind do not fix them."""
        matrix = self._matrix[tight][:, free]
        fixed = np.where(free, 0.0, vertex)
        wanted = sides[tight] - self._matrix[tight] @ fixed
        if len(matrix) < matrix.shape[1]:
            return None
        found, _, rank, _ = np.linalg.lstsq(matrix, wanted, rcond=None)
        if rank < matrix.shape[1]:
            return None
        residual = np.abs(matrix @ found - wanted) / (1.0 + np.abs(sides[tight]))
        return np.asarray(found, dtype=np.float64) if residual.max(initial=0.0) <= _RESIDUAL else None

    def _is_feasible(self, vertex: FloatArray) -> bool:
        model = self._model
        activities = self._matrix @ vertex
        slacks = (
            _slack(vertex - model.column_lower, model.column_lower),
            _slack(model.column_upper - vertex, model.column_upper),
            _slack(activities - model.row_lower, model.row_lower),
            _slack(model.row_upper - activities, model.row_upper),
        )
        return all(slack.min(initial=0.0) >= -_RESIDUAL for slack in slacks)


def has_plain_data(model: LinearModel) -> bool:
    """Whether coefficients, sides and bounds are whole numbers up to 1,000.

    Solvers take variables for whole and constraints for met within some 1e-6. Real coefficients or large ones
    make that decide between decisions; among these, vertices lie farther apart.
    """
    arrays = (
        model.row_values,
        model.row_lower,
        model.row_upper,
        model.column_lower,
        model.column_upper,
    )
    numbers = np.concatenate(arrays)
    finite = numbers[np.abs(numbers) < INFINITE]
    return bool((finite == np.round(finite)).all() and np.abs(finite).max(initial=0.0) <= _LARGEST_NUMBER)


def _slack(distance: FloatArray, side: FloatArray) -> FloatArray:
    """Return a distance relative to `1 + |side|`; infinite where there is no side."""
    finite = np.isfinite(side)
    return np.where(finite, distance / (1.0 + np.abs(np.where(finite, side, 0.0))), np.inf)
