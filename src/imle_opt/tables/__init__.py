"""Tables of costs from files: one row per instance, one column per cost.

CSV, Parquet, `.npy` and `.npz`, read without running code in them. Where both the table and the model have
names, columns are matched by name, in any order; else by position. Torch is not needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from imle_opt.tables.array_rows import open_npy, open_npz, open_parquet
from imle_opt.tables.csv_rows import open_csv
from imle_opt.tables.opened import OpenTable, RowBlock, listed
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = [
    "CostSource",
    "CostTable",
    "arrange",
    "open_costs",
    "open_table",
    "read_costs",
    "read_table",
]

_UNNAMED = "A column without a name is an index: write the table without it (pandas: index=False)."
_BLOCK_BYTES = 2**21


@dataclass(frozen=True)
class CostTable:
    """A table of finite numbers, as it stands in its file.

    Args:
        path: the file.
        columns: the header; None where the file has none.
        values: (rows, columns).
    """

    path: Path
    columns: tuple[str, ...] | None
    values: FloatArray


@dataclass(frozen=True)
class CostSource:
    """Costs in a file, in the order and shape that a solver takes, to be read a block at a time.

    Args:
        table: the file.
        order: which of its columns holds each cost; None: in their own order.
        shape: the solver's shape.
    """

    table: OpenTable
    order: tuple[int, ...] | None
    shape: tuple[int, ...]

    def blocks(self) -> Iterator[RowBlock]:
        """Read from the first row: values (b, *shape), with labels where the table has a label column.

        Raises:
            InvalidInputError: a cell that is missing, not a number, or infinite.
        """
        size = max(1, _BLOCK_BYTES // (8 * self.table.width))
        order = None if self.order is None else list(self.order)
        for values, labels in self.table.read(size):
            ordered = values if order is None else values[:, order]
            yield RowBlock(np.ascontiguousarray(ordered).reshape(len(values), *self.shape), labels)


def open_costs(
    path: Path, *, names: Sequence[str] | None, shape: tuple[int, ...], label: str | None = None
) -> CostSource:
    """Open a table of costs, and match its columns.

    Args:
        path: a `.csv`, `.parquet`, `.npy` or `.npz` file, the formats of `read_table`.
        names: the solver's `names`: one per cost, or None.
        shape: the solver's `shape`; a table holds it flattened, in row-major order.
        label: the header of a column that holds labels instead of costs, if it is there.

    Raises:
        InvalidInputError: what `open_table` and `arrange` refuse.
    """
    table = open_table(path, names=names, label=label)
    return CostSource(table, _column_order(path, table.columns, table.width, names, shape), shape)


def read_costs(path: Path, *, names: Sequence[str] | None, shape: tuple[int, ...]) -> FloatArray:
    """Read the costs of a batch, in the order and shape that a solver takes.

    Args:
        path: a `.csv`, `.parquet`, `.npy` or `.npz` file, the formats of `read_table`.
        names: the solver's `names`: one per cost, or None.
        shape: the solver's `shape`; a table holds it flattened, in row-major order.

    Returns:
        (rows, *shape).

    Raises:
        InvalidInputError: what `read_table` and `arrange` refuse.
    """
    source = open_costs(path, names=names, shape=shape)
    return np.concatenate([block.values for block in source.blocks()])


def arrange(table: CostTable, *, names: Sequence[str] | None, shape: tuple[int, ...]) -> FloatArray:
    """Return a table's values in the order and shape that a solver takes, (rows, *shape).

    Args:
        table: what was read.
        names: the solver's names; where they and the table's header are there, columns are matched by name,
            unless the header is 0, 1, 2, ..., which means no names.
        shape: the solver's shape.

    Raises:
        InvalidInputError: missing, unknown or repeated columns, or another number of them.
    """
    order = _column_order(table.path, table.columns, table.values.shape[1], names, shape)
    values = table.values if order is None else table.values[:, list(order)]
    return np.ascontiguousarray(values).reshape(len(values), *shape)


def _column_order(
    path: Path,
    columns: tuple[str, ...] | None,
    width: int,
    names: Sequence[str] | None,
    shape: tuple[int, ...],
) -> tuple[int, ...] | None:
    """Return which column holds each cost; None where they are in their order."""
    order = None
    if columns is not None:
        _refuse_repeated(path, columns)
    if columns is not None and names is not None and not _is_positional(columns, names):
        _refuse_other_columns(path, columns, names)
        position = {name: index for index, name in enumerate(columns)}
        order = tuple(position[name] for name in names)
    needed = int(np.prod(shape, dtype=np.int64))
    if width != needed:
        of_shape = "" if len(shape) == 1 else f", of shape {shape} in row-major order"
        raise InvalidInputError(
            f"{path}: the table has {width} columns and the model takes {needed} "
            f"costs{of_shape}. {_UNNAMED if '' in (columns or ()) else 'Give one column per cost.'}"
        )
    return order


def _is_positional(columns: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the model's names are not unique, or the table's are the numbers 0, 1, 2, ... of no names."""
    numbered = list(columns) == [str(index) for index in range(len(columns))]
    return len(set(names)) < len(names) or (numbered and set(columns) != set(names))


def read_table(path: Path, *, names: Sequence[str] | None = None) -> CostTable:
    """Read a table of costs.

    * `.csv`: comma-separated. The first line is a header where none of its cells is a number; where one of
      them is a name of the model's; or where they are 0, 1, 2, ..., as pandas writes columns without names.
    * `.parquet`, `.pq`: numeric columns.
    * `.npy`: (rows, columns), or (rows, *shape) of any rank, which is flattened.
    * `.npz`: the same, of its only array or of the one called `costs`.

    Args:
        path: the file.
        names: the model's names, to tell a header of numbers from a row of costs.

    Raises:
        InvalidInputError: no such file, another format, an unreadable or empty file, or a cell that is
            missing, not a number, or infinite: by line and column.
    """
    table = open_table(path, names=names)
    size = max(1, _BLOCK_BYTES // (8 * table.width))
    return CostTable(path, table.columns, np.concatenate([block.values for block in table.read(size)]))


def open_table(path: Path, *, names: Sequence[str] | None = None, label: str | None = None) -> OpenTable:
    """Open a table of costs, to be read a block at a time; formats and errors are those of `read_table`.

    Args:
        path: the file.
        names: as for `read_table`.
        label: the header of a column that holds labels instead of costs, if it is there.

    Raises:
        InvalidInputError: no such file, another format, or an unreadable or empty file; what is wrong with a
            cell is raised when it is read.
    """
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        raise InvalidInputError(
            f"{path}: cannot tell the format of a table from the ending {path.suffix!r}. Use "
            f"{', '.join(sorted(_OPENERS))}."
        )
    if not path.is_file():
        what = "is a directory, not a file" if path.is_dir() else "no such file"
        raise InvalidInputError(f"{path}: {what}.")
    return opener(path, names, label)


def _refuse_repeated(path: Path, columns: Sequence[str]) -> None:
    repeated = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if repeated:
        raise InvalidInputError(
            f"{path}: the header names {listed(repeated)} more than once. Give each column a name of its own."
        )


def _refuse_other_columns(path: Path, columns: Sequence[str], names: Sequence[str]) -> None:
    known, given = set(names), set(columns)
    missing = [name for name in names if name not in given]
    unknown = [name for name in columns if name not in known]
    if not missing and not unknown:
        return
    parts = [
        f"{what} {listed(found)}" for what, found in (("lacks", missing), ("has unknown", unknown)) if found
    ]
    advice = f"The model's costs are {listed(names)}."
    if any(name in ("", "Unnamed: 0", "__index_level_0__") for name in unknown):
        advice = _UNNAMED
    raise InvalidInputError(f"{path}: the header {' and '.join(parts)}. {advice}")


_Opener: TypeAlias = Callable[[Path, Sequence[str] | None, str | None], OpenTable]
_OPENERS: dict[str, _Opener] = {
    ".csv": open_csv,
    ".parquet": open_parquet,
    ".pq": open_parquet,
    ".npy": open_npy,
    ".npz": open_npz,
}
