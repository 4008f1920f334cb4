"""Tables in Parquet and NumPy files, read a block at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from imle_opt.tables.opened import (
    OpenTable,
    RowBlock,
    bad_cell,
    first_line,
    listed,
    refuse_not_finite,
    row_label,
)
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["open_npy", "open_npz", "open_parquet"]

_READ_BUFFER = 2**18
_HEADER_READERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def open_parquet(path: Path, names: Sequence[str] | None, label: str | None) -> OpenTable:
    """Open a Parquet file of numeric columns.

    Args:
        path: the file.
        names: not needed.
        label: the name of a column that holds labels instead of numbers; of any type.

    Raises:
        InvalidInputError: no Parquet file, no rows, or columns of something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # A buffer: a row group may hold the whole table, and would be read as a whole.
        file: Any = pq.ParquetFile(path, buffer_size=_READ_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path}: cannot be read as Parquet: {first_line(error)}.") from error
    with file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    columns = tuple(str(name) for name in schema.names if name != label)
    if not columns or not rows:
        raise InvalidInputError(f"{path}: the table is empty. It needs one row per instance.")
    for name in columns:
        kind = schema.field(name).type if schema.names.count(name) == 1 else pa.float64()
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise InvalidInputError(
                f"{path}, column {name!r}: holds {kind}, not numbers. Convert it, or leave it out."
            )
    labelled = label in schema.names

    def read(size: int) -> Iterator[RowBlock]:
        first = 0
        with pq.ParquetFile(path, buffer_size=_READ_BUFFER, pre_buffer=False) as opened:
            for batch in _batches(path, opened, size):
                values = _batch_values(path, batch, label, first)
                refuse_not_finite(path, columns, values, first)
                yield RowBlock(values, _labels(path, batch, label, first) if labelled else None)
                first += len(values)

    return OpenTable(path, columns, len(columns), rows, labelled, read)


def _batches(path: Path, file: Any, size: int) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from file.iter_batches(batch_size=size)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path}: cannot be read as Parquet: {first_line(error)}.") from error


def _batch_values(path: Path, batch: Any, label: str | None, first: int) -> FloatArray:
    chosen = [(index, name) for index, name in enumerate(batch.schema.names) if name != label]
    values = np.empty((batch.num_rows, len(chosen)))
    for position, (index, name) in enumerate(chosen):
        column = batch.column(index)
        if column.null_count:
            row = first + column.is_null().to_pylist().index(True)
            raise bad_cell(path, row_label(row), f"column {name!r}", "", None)
        values[:, position] = column.to_numpy(zero_copy_only=False)
    return values


def _labels(path: Path, batch: Any, label: str | None, first: int) -> list[str]:
    cells = batch.column(batch.schema.names.index(label)).to_pylist()
    if None in cells:
        raise bad_cell(path, row_label(first + cells.index(None)), f"column {label!r}", "", None)
    return list(map(str, cells))


def open_npy(path: Path, names: Sequence[str] | None, label: str | None) -> OpenTable:
    """Open an `.npy` file: (rows, columns), or (rows, *shape), flattened.

    Args:
        path: the file.
        names: not needed.
        label: not needed: there are no named columns.

    Raises:
        InvalidInputError: no array of real numbers, or an empty one.
    """
    array = _mapped(path)
    width = _checked_width(path, array.shape, array.dtype)
    rows = len(array)

    def read(size: int) -> Iterator[RowBlock]:
        for start in range(0, rows, size):
            # Mapped anew for each block: pages that were read leave this process's memory with the mapping.
            part = np.asarray(_mapped(path)[start : start + size], dtype=np.float64)
            values = np.array(part.reshape(len(part), width))
            refuse_not_finite(path, None, values, start)
            yield RowBlock(values, None)

    return OpenTable(path, None, width, rows, False, read)


def _mapped(path: Path) -> NDArray[Any]:
    try:
        loaded: object = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable_array(path, error) from error
    if not isinstance(loaded, np.ndarray):
        raise _misnamed(path)
    return loaded


def open_npz(path: Path, names: Sequence[str] | None, label: str | None) -> OpenTable:
    """Open an `.npz` file: its only array, or the one called `costs`; as `open_npy`.

    Args:
        path: the file.
        names: not needed.
        label: not needed: there are no named columns.

    Raises:
        InvalidInputError: no such array of real numbers, or an empty one.
    """
    with path.open("rb") as opened:
        if opened.read(len(npy_format.MAGIC_PREFIX)) == npy_format.MAGIC_PREFIX:
            raise _misnamed(path)
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(path, archive.namelist())
            with archive.open(member) as file:
                shape, fortran_order, dtype = _header(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise _unreadable_array(path, error) from error
    width = _checked_width(path, shape, dtype)

    def read(size: int) -> Iterator[RowBlock]:
        start = 0
        for part in _npz_parts(path, member, size, whole=fortran_order):
            values = part.astype(np.float64).reshape(len(part), width)
            refuse_not_finite(path, None, values, start)
            yield RowBlock(values, None)
            start += len(part)

    return OpenTable(path, None, width, int(shape[0]), False, read)


def _member(path: Path, members: list[str]) -> str:
    keys = [member.removesuffix(".npy") for member in members]
    key = keys[0] if len(keys) == 1 else "costs"
    if key not in keys:
        raise InvalidInputError(
            f"{path}: holds the arrays {listed(keys)}; keep one, or call the right one 'costs'."
        )
    return members[keys.index(key)]


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(file)
    if version not in _HEADER_READERS:
        raise ValueError(f"version {version} of the format is not for plain arrays")
    return _HEADER_READERS[version](file)


def _npz_parts(path: Path, member: str, size: int, *, whole: bool) -> Iterator[NDArray[Any]]:
    """Yield blocks of rows; an array in Fortran order has no rows to read one after another."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            if whole:
                array = npy_format.read_array(file, allow_pickle=False)
                yield from (array[start : start + size] for start in range(0, len(array), size))
                return
            shape, _, dtype = _header(file)
            row_shape = shape[1:]
            row_bytes = dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
            for start in range(0, shape[0], size):
                rows = min(size, shape[0] - start)
                data = file.read(rows * row_bytes)
                yield np.frombuffer(data, dtype=dtype).reshape(rows, *row_shape)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable_array(path, error) from error


def _checked_width(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    if dtype.kind == "O":
        raise _unreadable_array(path, ValueError("it holds Python objects"))
    if dtype.kind not in "fiub":
        raise InvalidInputError(f"{path}: the array must hold real numbers, not dtype {dtype}.")
    if len(shape) < 2 or 0 in shape:
        raise InvalidInputError(
            f"{path}: the array has shape {shape}; it must be (rows, columns), one row per instance, "
            f"and not empty."
        )
    return int(np.prod(shape[1:], dtype=np.int64))


def _misnamed(path: Path) -> InvalidInputError:
    return InvalidInputError(f"{path}: the content is not what the ending {path.suffix!r} says: rename it.")


def _unreadable_array(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{path}: cannot be read as a NumPy file of numbers ({first_line(error)}). Write it with np.save or "
        f"np.savez; arrays of Python objects are refused, because reading them can run code."
    )
