"""Feasible points that were met before: the best of them for a row of costs starts its branch and bound.

A start is a cut-off too: branch and bound discards every part of the tree whose bound is no better. Since it
discards none whose bound is better, the optimum stays exact. Where optima tie, the start may be the one that
is returned.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from imle_opt_solvers._checks import as_real_array
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = ["KnownPoints", "check_remembered", "read_starts"]

_TOLERANCE = 1e-6


def check_remembered(remembered: object) -> int:
    """Return `remembered`, a count, or refuse it."""
    if isinstance(remembered, bool) or not isinstance(remembered, (int, np.integer)) or remembered < 0:
        raise InvalidInputError(
            f"`remembered` must be a whole number, 0 or more, not {remembered!r}: how many answers each "
            "thread keeps as starts."
        )
    return int(remembered)


def read_starts(model: LinearModel, starts: ArrayLike | None) -> FloatArray:
    """Return `starts` as (K, columns), feasible and with integers exact.

    Raises:
        InvalidInputError: another shape, or a point that is not feasible.
    """
    if starts is None:
        return np.zeros((0, model.num_columns))
    points = as_real_array(starts, "starts")
    if points.ndim != 2 or points.shape[1] != model.num_columns:
        raise InvalidInputError(
            f"`starts` must have shape (K, {model.num_columns}), one value for each of the model's columns "
            f"(`solver.model.column_names`), not {points.shape}."
        )
    whole = np.where(model.integrality, np.round(points), points) + 0.0
    for row, point in enumerate(points):
        if not (np.isfinite(point).all() and _is_feasible(model, point, whole[row])):
            raise InvalidInputError(
                f"`starts[{row}]` must be a feasible point of the model, and is not: check its bounds, "
                "constraints and integers, and the order of its columns (`solver.model.column_names`)."
            )
    return whole


def _is_feasible(model: LinearModel, point: FloatArray, whole: FloatArray) -> bool:
    activities = model.activities(whole)
    slack = _TOLERANCE * np.maximum(1.0, np.abs(activities))
    inside = (whole >= model.column_lower - _TOLERANCE) & (whole <= model.column_upper + _TOLERANCE)
    met = (activities >= model.row_lower - slack) & (activities <= model.row_upper + slack)
    return bool(inside.all() and met.all() and np.abs(whole - point).max(initial=0.0) <= _TOLERANCE)


@final
class KnownPoints:
    """Distinct points of one polytope, the least recently met forgotten first.

    Args:
        fixed: (K, columns), never forgotten.
        most: how many others to remember.
    """

    def __init__(self, fixed: FloatArray, most: int) -> None:
        self._fixed = len(fixed)
        self._points = np.concatenate([fixed, np.zeros((most, fixed.shape[1]))])
        self._most = most
        self._places: OrderedDict[bytes, int] = OrderedDict()

    def add(self, point: FloatArray) -> None:
        """Remember `point` (columns,)."""
        if self._most == 0:
            return
        key = point.tobytes()
        place = self._places.pop(key, None)
        if place is None:
            full = len(self._places) == self._most
            place = self._places.popitem(last=False)[1] if full else self._fixed + len(self._places)
            self._points[place] = point
        self._places[key] = place

    def best(self, costs: FloatArray, *, fixed_only: bool) -> FloatArray | None:
        """Return the point (columns,) of the least `<costs, point>`, the first of equals; None of none.

        Args:
            costs: (columns,), minimised.
            fixed_only: leave out what `add` remembered.
        """
        points = self._points[: self._fixed + (0 if fixed_only else len(self._places))]
        return points[int(np.argmin(points @ costs))] if len(points) else None
