"""A linear model as the text of a free-format MPS file, with all digits of every number.

Rows are called R0, R1, ... and columns C0, C1, ...: a model's own names may repeat, or hold spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = ["ModelBounds", "MpsText", "bounds_of_row"]


@dataclass(frozen=True)
class ModelBounds:
    """The sides and bounds of one row of a batch.

    Args:
        row_lower: (rows,).
        row_upper: (rows,).
        column_lower: (columns,).
        column_upper: (columns,).
    """

    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray

    @property
    def crossed(self) -> bool:
        """Whether some lower side is above its upper side, so that nothing is feasible."""
        rows_crossed = (self.row_lower > self.row_upper).any()
        return bool(rows_crossed or (self.column_lower > self.column_upper).any())


def bounds_of_row(model: LinearModel, given: RowBounds | None, row: int) -> ModelBounds:
    """Return the sides and bounds of one row of a batch: the model's own where `given` has none."""
    if given is None:
        return ModelBounds(model.row_lower, model.row_upper, model.column_lower, model.column_upper)
    return ModelBounds(
        model.row_lower if given.row_lower is None else given.row_lower[row],
        model.row_upper if given.row_upper is None else given.row_upper[row],
        model.column_lower if given.column_lower is None else given.column_lower[row],
        model.column_upper if given.column_upper is None else given.column_upper[row],
    )


@final
class MpsText:
    """Writes one model again and again, with other costs and bounds; the matrix is formatted once.

    Args:
        model: the model.
    """

    def __init__(self, model: LinearModel) -> None:
        self._markers = _integer_markers(model)
        self._entries = _matrix_entries(model)

    def minimise(self, costs: FloatArray, bounds: ModelBounds) -> str:
        """Return the file that asks for the minimum of `costs` (columns,) within `bounds`."""
        return "".join(
            [
                "NAME MODEL FREE\nROWS\n N COST\n",
                *_row_types(bounds),
                "COLUMNS\n",
                *self._columns(costs),
                "RHS\n",
                *_right_hand_sides(bounds),
                "RANGES\n",
                *_ranges(bounds),
                "BOUNDS\n",
                *_column_bounds(bounds),
                "ENDATA\n",
            ]
        )

    def _columns(self, costs: FloatArray) -> Iterator[str]:
        for column, cost in enumerate(costs.tolist()):
            yield self._markers[column]
            yield f" C{column} COST {cost!r}\n"
            yield self._entries[column]
        yield self._markers[-1]


def _integer_markers(model: LinearModel) -> tuple[str, ...]:
    """Return what goes before each column, and after the last: a marker where integrality changes."""
    switched = np.diff(model.integrality.astype(int), prepend=0, append=0)
    text = {0: "", 1: " MARKER 'MARKER' 'INTORG'\n", -1: " MARKER 'MARKER' 'INTEND'\n"}
    return tuple(text[int(change)] for change in switched)


def _matrix_entries(model: LinearModel) -> tuple[str, ...]:
    lines: list[list[str]] = [[] for _ in range(model.num_columns)]
    rows = np.repeat(np.arange(model.num_rows), np.diff(model.row_starts))
    entries = zip(rows.tolist(), model.row_columns.tolist(), model.row_values.tolist(), strict=True)
    for row, column, value in entries:
        lines[column].append(f" C{column} R{row} {value!r}\n")
    return tuple("".join(column) for column in lines)


def _sides(bounds: ModelBounds) -> Iterator[tuple[int, float, float]]:
    pairs = zip(bounds.row_lower.tolist(), bounds.row_upper.tolist(), strict=True)
    for row, (lower, upper) in enumerate(pairs):
        yield row, lower, upper


def _row_types(bounds: ModelBounds) -> Iterator[str]:
    for row, lower, upper in _sides(bounds):
        if lower == upper:
            kind = "E"
        elif np.isfinite(upper):
            kind = "L"
        else:
            kind = "G" if np.isfinite(lower) else "N"
        yield f" {kind} R{row}\n"


def _right_hand_sides(bounds: ModelBounds) -> Iterator[str]:
    for row, lower, upper in _sides(bounds):
        side = upper if np.isfinite(upper) else lower
        if np.isfinite(side):
            yield f" RHS R{row} {side!r}\n"


def _ranges(bounds: ModelBounds) -> Iterator[str]:
    for row, lower, upper in _sides(bounds):
        if np.isfinite(upper - lower) and lower < upper:
            yield f" RNG R{row} {upper - lower!r}\n"


def _column_bounds(bounds: ModelBounds) -> Iterator[str]:
    pairs = zip(bounds.column_lower.tolist(), bounds.column_upper.tolist(), strict=True)
    for column, (lower, upper) in enumerate(pairs):
        # Both are always written: readers differ in the defaults of integer columns.
        if np.isinf(lower) and np.isinf(upper):
            yield f" FR BND C{column}\n"
            continue
        yield f" MI BND C{column}\n" if np.isinf(lower) else f" LO BND C{column} {lower!r}\n"
        yield f" PL BND C{column}\n" if np.isinf(upper) else f" UP BND C{column} {upper!r}\n"
