"""An opened table: its columns, and its rows a block at a time; and how messages name its places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = [
    "OpenTable",
    "RowBlock",
    "bad_cell",
    "column_label",
    "first_line",
    "listed",
    "refuse_not_finite",
    "row_label",
]

_MOST_SHOWN = 6


class RowBlock(NamedTuple):
    """Some rows of a table, in the order of the file.

    `values` is (b, columns); `labels` is (b,), the text in the label column, or None without one.
    """

    values: FloatArray
    labels: Sequence[str] | None


@dataclass(frozen=True)
class OpenTable:
    """A table of finite numbers in a file.

    Args:
        path: the file.
        columns: the header, less the label column; None where the file has none.
        width: number of columns, less the label column.
        rows: how many; None where the file does not say.
        labelled: whether one column holds labels.
        read: begins to read: the rows in blocks, of at most so many rows as it is given. What is wrong with
            a cell is raised on the way, by file, row and column.
    """

    path: Path
    columns: tuple[str, ...] | None
    width: int
    rows: int | None
    labelled: bool
    read: Callable[[int], Iterator[RowBlock]]


def bad_cell(path: Path, row: str, column: str, cell: str, number: float | None) -> InvalidInputError:
    """Return the error about one cell that is missing, not a number, or not finite."""
    if not cell or (number is not None and np.isnan(number)) or cell.lower() in ("na", "n/a", "null", "none"):
        problem = "the cell is missing"
    else:
        problem = f"{cell!r} is {'not a number' if number is None else 'not finite'}"
    return InvalidInputError(f"{path}, {row}, {column}: {problem}. Every cell must hold a finite number.")


def refuse_not_finite(
    path: Path, columns: tuple[str, ...] | None, values: FloatArray, first_row: int
) -> None:
    """Raise the error about the first cell that is NaN or infinite, if there is one."""
    if np.isfinite(values).all():
        return
    row, column = (int(index) for index in np.argwhere(~np.isfinite(values))[0])
    cell = float(values[row, column])
    raise bad_cell(path, row_label(first_row + row), column_label(columns, column), str(cell), cell)


def column_label(columns: Sequence[str] | None, index: int) -> str:
    """Return how a message calls a column."""
    return f"column {index + 1}" if columns is None else f"column {columns[index]!r}"


def row_label(row: int) -> str:
    """Return how a message calls a row of a file without lines."""
    return f"row {row} (counted from 0)"


def listed(names: Iterable[str]) -> str:
    """Return the first few names in quotes, and how many more there are."""
    every = [repr(name) for name in names]
    more = f", and {len(every) - _MOST_SHOWN} more" if len(every) > _MOST_SHOWN else ""
    return ", ".join(every[:_MOST_SHOWN]) + more


def first_line(error: Exception) -> str:
    """Return the first line of another package's message."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
