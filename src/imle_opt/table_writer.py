"""Tables to files: CSV, Parquet, `.npy` and `.npz`, the formats that `tables` reads."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["BlockWriter", "check_writable", "open_writer", "write_table"]

BlockWriter: TypeAlias = Callable[[FloatArray], Any]
"""Takes rows, (b, *shape)."""


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
    """Write one row per instance, all at once; see `open_writer`.

    Args:
        path: its ending says the format.
        values: (rows, *shape).
        names: one per column.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    with open_writer(path, names, math.prod(values.shape[1:])) as write:
        write(values)


@contextmanager
def open_writer(path: Path, names: Sequence[str] | None, width: int) -> Generator[BlockWriter]:
    """Yield a function that appends rows to a table, which is there when all is written, and not before.

    CSV and Parquet are written as the rows come; NumPy's formats are held in memory until the end.

    Args:
        path: its ending says the format. NaN is an empty cell in CSV, a null in Parquet.
        names: one per column, for the header; None, or names that repeat: 0, 1, 2, ..., which `read_table`
            takes for no names. NumPy's formats hold no names.
        width: number of columns; a row (*shape) is written flattened, in row-major order.

    Raises:
        InvalidInputError: the file cannot be written.
    """
    header = list(names) if names is not None and len(set(names)) == len(names) else None
    columns = header or [str(index) for index in range(width)]
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        with _WRITERS[path.suffix.lower()](partial, columns) as write:
            yield lambda values: write(values.reshape(len(values), width))
        partial.replace(path)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path, columns: list[str]) -> Generator[BlockWriter]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        yield lambda values: writer.writerows([_cell(value) for value in row] for row in values.tolist())


def _cell(value: float) -> float | int | str:
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() else value


@contextmanager
def _parquet(path: Path, columns: list[str]) -> Generator[BlockWriter]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema: Any = pa.schema([(name, pa.float64()) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:

        def write(values: FloatArray) -> None:
            arrays = [pa.array(np.ascontiguousarray(column), from_pandas=True) for column in values.T]
            writer.write_table(pa.table(arrays, schema=schema))

        yield write


@contextmanager
def _npy(path: Path, columns: list[str]) -> Generator[BlockWriter]:
    blocks: list[FloatArray] = []
    yield blocks.append
    np.save(path, np.concatenate(blocks))


@contextmanager
def _npz(path: Path, columns: list[str]) -> Generator[BlockWriter]:
    blocks: list[FloatArray] = []
    yield blocks.append
    np.savez(path, costs=np.concatenate(blocks))


_Writer: TypeAlias = Callable[[Path, list[str]], AbstractContextManager[BlockWriter]]
_WRITERS: Mapping[str, _Writer] = MappingProxyType(
    {".csv": _csv, ".parquet": _parquet, ".pq": _parquet, ".npy": _npy, ".npz": _npz}
)
