"""Tables to files: CSV, Parquet, `.npy` and `.npz`, the formats that `tables` reads."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["check_writable", "write_table"]


def check_writable(path: Path, option: str) -> None:
    """Refuse a file that `write_table` could not write, before any work is done.

    Args:
        path: the file.
        option: that named it, for the message.

    Raises:
        InvalidInputError: another ending, or a folder that does not exist.
    """
    if path.suffix.lower() not in _WRITERS:
        raise InvalidInputError(
            f"{option} {path}: cannot tell the format of a table from the ending {path.suffix!r}. Use "
            f"{', '.join(sorted(_WRITERS))}."
        )
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInputError(f"{option} {path}: the folder {path.parent} does not exist.")


def write_table(path: Path, values: FloatArray, names: Sequence[str] | None) -> None:
    """Write one row per instance.

    Args:
        path: its ending says the format.
        values: (rows, *shape); a row is written flattened, in row-major order. NaN is an empty cell in CSV.
        names: one per column, for the header; None, or names that repeat: 0, 1, 2, ..., which `read_table`
            takes for no names. NumPy's formats hold no names.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    flat = values.reshape(len(values), -1)
    header = list(names) if names is not None and len(set(names)) == len(names) else None
    columns = header or [str(index) for index in range(flat.shape[1])]
    try:
        _WRITERS[path.suffix.lower()](path, flat, columns)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written: {error.strerror}.") from error


def _write_csv(path: Path, values: FloatArray, columns: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in values.tolist():
            writer.writerow([_cell(value) for value in row])


def _cell(value: float) -> float | int | str:
    if value != value:  # NaN
        return ""
    return int(value) if value.is_integer() else value


def _write_parquet(path: Path, values: FloatArray, columns: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [pa.array(np.ascontiguousarray(column), from_pandas=True) for column in values.T]
    pq.write_table(pa.table(arrays, names=columns), path)


def _write_npy(path: Path, values: FloatArray, columns: list[str]) -> None:
    np.save(path, values)


def _write_npz(path: Path, values: FloatArray, columns: list[str]) -> None:
    np.savez(path, costs=values)


_Writer: TypeAlias = Callable[[Path, FloatArray, list[str]], Any]
_WRITERS: Mapping[str, _Writer] = MappingProxyType(
    {
        ".csv": _write_csv,
        ".parquet": _write_parquet,
        ".pq": _write_parquet,
        ".npy": _write_npy,
        ".npz": _write_npz,
    }
)
