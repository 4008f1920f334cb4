"""What all structures share: what they answer, and which rows of a batch they answer for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = ["Answer", "Structure", "has_unit_bounds", "proven", "solve_usable", "unchanged_rows"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True)
class Answer:
    """What a kernel found for a batch.

    Args:
        values: (B, columns); NaN in rows without a decision.
        proven: (B,) whether they are optimal. The other rows are left to an engine for linear models.
    """

    values: FloatArray
    proven: BoolArray


class Structure(Protocol):
    """A linear model that a kernel solves."""

    @property
    def engine(self) -> str:
        """What runs, for `Traits.engine`."""
        ...

    def solve(self, costs: FloatArray, bounds: RowBounds | None) -> Answer:
        """Minimise.

        Args:
            costs: (B, columns), of all columns of the model.
            bounds: the sides and bounds of each row; None: the model's own.
        """
        ...


def solve_usable(
    usable: BoolArray, solve: Callable[[IntArray | slice], tuple[FloatArray, BoolArray]], columns: int
) -> Answer:
    """Solve the usable rows of a batch (B,), without copies where all of them are.

    Args:
        usable: (B,).
        solve: from some rows, or a slice over all, to their values (R, columns) and which are proven (R,).
        columns: of the model.
    """
    if usable.all():
        return Answer(*solve(slice(None)))
    rows = np.flatnonzero(usable)
    values, proven = np.full((len(usable), columns), np.nan), np.zeros(len(usable), dtype=np.bool_)
    if rows.size:
        values[rows], proven[rows] = solve(rows)
    return Answer(values, proven)


def proven(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return values (R, columns), all of them proven optimal."""
    return values, np.ones(len(values), dtype=np.bool_)


def has_unit_bounds(model: LinearModel) -> bool:
    """Whether every variable lies in [0, 1]."""
    return bool((model.column_lower == 0).all() and (model.column_upper == 1).all())


def unchanged_rows(model: LinearModel, bounds: RowBounds | None, rows: int, *, sides: bool) -> BoolArray:
    """Return which rows of a batch (B,) have the model's own bounds of variables and, if asked, its sides."""
    same = np.ones(rows, dtype=np.bool_)
    if bounds is None:
        return same
    pairs = [(bounds.column_lower, model.column_lower), (bounds.column_upper, model.column_upper)]
    if sides:
        pairs += [(bounds.row_lower, model.row_lower), (bounds.row_upper, model.row_upper)]
    for given, own in pairs:
        if given is not None:
            same &= (given == own).all(axis=1)
    return same
