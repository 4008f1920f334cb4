"""Tables of costs from files: one row per instance, one column per cost.

CSV, Parquet, `.npy` and `.npz`, read without running code in them. Where both the table and the model have
names, columns are matched by name, in any order; else by position. Torch is not needed here.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["CostTable", "arrange", "read_costs", "read_table"]

_MOST_SHOWN = 6
_UNNAMED = "A column without a name is an index: write the table without it (pandas: index=False)."


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
    return arrange(read_table(path, names=names), names=names, shape=shape)


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
    values, columns = table.values, table.columns
    if columns is not None:
        _refuse_repeated(table)
    if columns is not None and names is not None and not _is_positional(columns, names):
        _refuse_other_columns(table, names)
        position = {name: index for index, name in enumerate(columns)}
        values = values[:, [position[name] for name in names]]
    width = int(np.prod(shape, dtype=np.int64))
    if values.shape[1] != width:
        of_shape = "" if len(shape) == 1 else f", of shape {shape} in row-major order"
        raise InvalidInputError(
            f"{table.path}: the table has {values.shape[1]} columns and the model takes {width} "
            f"costs{of_shape}. {_UNNAMED if '' in (table.columns or ()) else 'Give one column per cost.'}"
        )
    return np.ascontiguousarray(values).reshape(len(values), *shape)


def _is_positional(columns: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the model's names are not unique, or the table's are the numbers 0, 1, 2, ... of no names."""
    return len(set(names)) < len(names) or (_is_numbered(columns) and set(columns) != set(names))


def _is_numbered(columns: Sequence[str]) -> bool:
    return list(columns) == [str(index) for index in range(len(columns))]


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
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(
            f"{path}: cannot tell the format of a table from the ending {path.suffix!r}. Use "
            f"{', '.join(sorted(_READERS))}."
        )
    if not path.is_file():
        what = "is a directory, not a file" if path.is_dir() else "no such file"
        raise InvalidInputError(f"{path}: {what}.")
    return reader(path, names)


def _read_csv(path: Path, names: Sequence[str] | None) -> CostTable:
    lines = _csv_lines(path)
    if not lines:
        raise InvalidInputError(f"{path}: the file is empty. It needs one line per instance.")
    first = [cell.strip() for cell in lines[0][1]]
    if len(first) == 1 and any(separator in first[0] for separator in ";\t"):
        raise InvalidInputError(f"{path}: the cells are not separated by commas: {first[0]!r}. Write it so.")
    header = tuple(first) if _is_header(first, names) else None
    body = lines[1:] if header else lines
    if not body:
        raise InvalidInputError(f"{path}: the file has a header and no rows. It needs one line per instance.")
    values = np.empty((len(body), len(first)))
    for row, (line, cells) in enumerate(body):
        values[row] = _numbers(path, line, cells, header, len(first))
    return CostTable(path, header, values)


def _csv_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that are not blank, with their numbers in the file (from 1)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            return [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path}: cannot be read as CSV text: {error}.") from error


def _is_header(cells: Sequence[str], names: Sequence[str] | None) -> bool:
    known = set(names or ())
    if set(cells) == known:
        return True
    words = [cell for cell in cells if cell and _number(cell) is None]
    if words:
        return len(words) == len([cell for cell in cells if cell]) or not known.isdisjoint(cells)
    unnamed = cells[1:] if not cells[0] else cells
    return len(unnamed) > 1 and _is_numbered(unnamed)


def _numbers(
    path: Path, line: int, cells: Sequence[str], header: tuple[str, ...] | None, width: int
) -> list[float]:
    if len(cells) != width:
        raise InvalidInputError(
            f"{path}, line {line}: {len(cells)} cells, and {width} in the "
            f"{'header' if header else 'first line'}. Separate cells by commas, write decimals with a point, "
            f"and fill every cell."
        )
    numbers: list[float] = []
    for index, cell in enumerate(cells):
        number = _number(cell)
        if number is None or not np.isfinite(number):
            raise _bad_cell(path, f"line {line}", _label(header, index), cell.strip(), number)
        numbers.append(number)
    return numbers


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _bad_cell(path: Path, row: str, column: str, cell: str, number: float | None) -> InvalidInputError:
    if not cell or (number is not None and np.isnan(number)) or cell.lower() in ("na", "n/a", "null", "none"):
        problem = "the cell is missing"
    else:
        problem = f"{cell!r} is {'not a number' if number is None else 'not finite'}"
    return InvalidInputError(f"{path}, {row}, {column}: {problem}. Every cell must hold a finite number.")


def _read_parquet(path: Path, names: Sequence[str] | None) -> CostTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: Any = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path}: cannot be read as Parquet: {_first_line(error)}.") from error
    header = tuple(str(name) for name in table.column_names)
    if not header or not table.num_rows:
        raise InvalidInputError(f"{path}: the table is empty. It needs one row per instance.")
    columns = [_arrow_column(path, name, table.column(index)) for index, name in enumerate(header)]
    return CostTable(path, header, _finite(path, header, np.stack(columns, axis=1)))


def _arrow_column(path: Path, name: str, column: Any) -> FloatArray:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise InvalidInputError(
            f"{path}, column {name!r}: holds {kind}, not numbers. Convert it, or leave it out."
        )
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise _bad_cell(path, _row_label(row), f"column {name!r}", "", None)
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _read_npy(path: Path, names: Sequence[str] | None) -> CostTable:
    return CostTable(path, None, _table_of_array(path, _load(path)))


def _read_npz(path: Path, names: Sequence[str] | None) -> CostTable:
    with _load(path) as archive:
        keys = list(archive.files)
        key = keys[0] if len(keys) == 1 else "costs"
        if key not in keys:
            raise InvalidInputError(
                f"{path}: holds the arrays {_listed(keys)}; keep one, or call the right one 'costs'."
            )
        try:
            array = archive[key]
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise _unreadable_array(path, error) from error
    return CostTable(path, None, _table_of_array(path, array))


def _load(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable_array(path, error) from error
    if isinstance(loaded, np.ndarray) != (path.suffix.lower() == ".npy"):
        raise InvalidInputError(
            f"{path}: the content is not what the ending {path.suffix!r} says: rename it."
        )
    return loaded


def _unreadable_array(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{path}: cannot be read as a NumPy file of numbers ({_first_line(error)}). Write it with np.save or "
        f"np.savez; arrays of Python objects are refused, because reading them can run code."
    )


def _table_of_array(path: Path, array: NDArray[Any]) -> FloatArray:
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"{path}: the array must hold real numbers, not dtype {array.dtype}.")
    if array.ndim < 2 or not array.size:
        raise InvalidInputError(
            f"{path}: the array has shape {array.shape}; it must be (rows, columns), one row per instance, "
            f"and not empty."
        )
    return _finite(path, None, array.reshape(len(array), -1).astype(np.float64))


def _finite(path: Path, header: tuple[str, ...] | None, values: FloatArray) -> FloatArray:
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        row, column = (int(index) for index in bad[0])
        cell = float(values[row, column])
        raise _bad_cell(path, _row_label(row), _label(header, column), str(cell), cell)
    return values


def _refuse_repeated(table: CostTable) -> None:
    columns = table.columns or ()
    repeated = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if repeated:
        raise InvalidInputError(
            f"{table.path}: the header names {_listed(repeated)} more than once. Give each column a name of "
            f"its own."
        )


def _refuse_other_columns(table: CostTable, names: Sequence[str]) -> None:
    columns = table.columns or ()
    known, given = set(names), set(columns)
    missing = [name for name in names if name not in given]
    unknown = [name for name in columns if name not in known]
    if not missing and not unknown:
        return
    parts = [
        f"{what} {_listed(listed)}"
        for what, listed in (("lacks", missing), ("has unknown", unknown))
        if listed
    ]
    advice = f"The model's costs are {_listed(names)}."
    if any(name in ("", "Unnamed: 0", "__index_level_0__") for name in unknown):
        advice = _UNNAMED
    raise InvalidInputError(f"{table.path}: the header {' and '.join(parts)}. {advice}")


def _label(header: tuple[str, ...] | None, index: int) -> str:
    return f"column {index + 1}" if header is None else f"column {header[index]!r}"


def _row_label(row: int) -> str:
    return f"row {row} (counted from 0)"


def _listed(names: Iterable[str]) -> str:
    every = [repr(name) for name in names]
    more = f", and {len(every) - _MOST_SHOWN} more" if len(every) > _MOST_SHOWN else ""
    return ", ".join(every[:_MOST_SHOWN]) + more


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


_Reader: TypeAlias = Callable[[Path, Sequence[str] | None], CostTable]
_READERS: dict[str, _Reader] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".npy": _read_npy,
    ".npz": _read_npz,
}
