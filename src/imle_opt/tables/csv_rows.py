"""CSV tables, read in pieces of text that are each parsed at once.

Large files are parsed by Apache Arrow, many times as fast as cell by cell. A piece that it refuses, or in
which it finds no finite number, is parsed again cell by cell, which takes all that Arrow takes and names
what is wrong by line and column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imle_opt.tables.opened import OpenTable, RowBlock, bad_cell, column_label
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["open_csv"]

_PIECE = 4 * 2**20
_LARGE = 2**20
"""Bytes. Below, loading Arrow takes longer than it saves."""


@dataclass(frozen=True)
class _Layout:
    """Where the numbers of a CSV file are.

    Args:
        path: the file.
        header: its first line, where that is one.
        width: cells per line.
        label: which cell holds a label; None: none does.
        offset: bytes before the first line of numbers.
        lines: how many lines those are.
        large: whether the file is worth Arrow.
    """

    path: Path
    header: tuple[str, ...] | None
    width: int
    label: int | None
    offset: int
    lines: int
    large: bool


def open_csv(path: Path, names: Sequence[str] | None, label: str | None) -> OpenTable:
    """Open a CSV file; its header is told from a row as `imle_opt.tables.read_table` says.

    Args:
        path: the file.
        names: the model's names.
        label: the header of a column that holds labels instead of numbers.

    Raises:
        InvalidInputError: no CSV text, or no rows.
    """
    layout = _layout(path, names, label)
    if next(_lines(layout), None) is None:
        what = "has a header and no rows" if layout.header else "is empty"
        raise InvalidInputError(f"{path}: the file {what}. It needs one line per instance.")
    numbers = _without_label(layout, layout.header) if layout.header else None

    def read(size: int) -> Iterator[RowBlock]:
        return (part for block in _blocks(layout) for part in _split(block, size))

    columns = None if numbers is None else tuple(numbers)
    width = layout.width - (layout.label is not None)
    return OpenTable(path, columns, width, None, layout.label is not None, read)


def _layout(path: Path, names: Sequence[str] | None, label: str | None) -> _Layout:
    try:
        with path.open("rb") as file:
            lines = (line.decode("utf-8-sig") for line in iter(file.readline, b""))
            reader = csv.reader(lines, skipinitialspace=True, strict=True)
            before = 0
            for cells in reader:
                if cells:
                    break
                before = file.tell()
            else:
                raise InvalidInputError(f"{path}: the file is empty. It needs one line per instance.")
            after, count = file.tell(), reader.line_num
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    first = [cell.strip() for cell in cells]
    if len(first) == 1 and any(separator in first[0] for separator in ";\t"):
        raise InvalidInputError(f"{path}: the cells are not separated by commas: {first[0]!r}. Write it so.")
    large = path.stat().st_size >= _LARGE
    if not _is_header(first, names, label):
        return _Layout(path, None, len(first), None, before, 0, large)
    place = first.index(label) if label in first else None
    return _Layout(path, tuple(first), len(first), place, after, count, large)


def _is_header(cells: Sequence[str], names: Sequence[str] | None, label: str | None) -> bool:
    known = set(names or ())
    if set(cells) == known or label in cells:
        return True
    words = [cell for cell in cells if cell and _number(cell) is None]
    if words:
        return len(words) == len([cell for cell in cells if cell]) or not known.isdisjoint(cells)
    unnamed = cells[1:] if not cells[0] else cells
    return len(unnamed) > 1 and list(unnamed) == [str(index) for index in range(len(unnamed))]


def _lines(layout: _Layout) -> Iterator[bytes]:
    """Yield the lines of numbers that are not blank."""
    with layout.path.open("rb") as file:
        file.seek(layout.offset)
        yield from (line for line in file if line.strip())


def _blocks(layout: _Layout) -> Iterator[RowBlock]:
    line = layout.lines
    with layout.path.open("rb") as file:
        file.seek(layout.offset)
        while piece := file.read(_PIECE):
            piece += file.readline()
            block = _parse_at_once(layout, piece) if layout.large else None
            block = block or _parse_cells(layout, piece, line)
            if len(block.values):
                yield block
            line += piece.count(b"\n")


def _split(block: RowBlock, size: int) -> Iterator[RowBlock]:
    for start in range(0, len(block.values), size):
        rows = slice(start, start + size)
        yield RowBlock(block.values[rows], None if block.labels is None else block.labels[rows])


def _parse_at_once(layout: _Layout, piece: bytes) -> RowBlock | None:
    """Parse a piece by Arrow; None where it cannot, or where a number is not finite."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if b'"' in piece:
        return None
    names = [str(index) for index in range(layout.width)]
    types = dict.fromkeys(names, pa.float64())
    if layout.label is not None:
        types[names[layout.label]] = pa.string()
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(piece),
            arrow_csv.ReadOptions(column_names=names, block_size=len(piece) + 1),
            arrow_csv.ParseOptions(quote_char=False),
            arrow_csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowException:
        return None
    values = np.empty((table.num_rows, layout.width - (layout.label is not None)))
    for index, name in enumerate(_without_label(layout, names)):
        values[:, index] = table.column(name).to_numpy()
    if not np.isfinite(values).all():
        return None
    if layout.label is None:
        return RowBlock(values, None)
    return RowBlock(values, [text.strip() for text in table.column(names[layout.label]).to_pylist()])


def _parse_cells(layout: _Layout, piece: bytes, lines: int) -> RowBlock:
    """Parse a piece cell by cell; `lines` come before it in the file."""
    try:
        text = piece.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        rows = [(lines + reader.line_num, cells) for cells in reader if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(layout.path, error) from error
    values = np.empty((len(rows), layout.width - (layout.label is not None)))
    for index, (line, cells) in enumerate(rows):
        values[index] = _numbers(layout, line, cells)
    place = layout.label
    return RowBlock(values, None if place is None else [cells[place].strip() for _, cells in rows])


def _numbers(layout: _Layout, line: int, cells: list[str]) -> list[float]:
    if len(cells) != layout.width:
        raise InvalidInputError(
            f"{layout.path}, line {line}: {len(cells)} cells, and {layout.width} in the "
            f"{'header' if layout.header else 'first line'}. Separate cells by commas, write decimals with a "
            f"point, and fill every cell."
        )
    numbers: list[float] = []
    for index, cell in enumerate(cells):
        if index == layout.label:
            continue
        number = _number(cell)
        if number is None or not np.isfinite(number):
            place = column_label(layout.header, index)
            raise bad_cell(layout.path, f"line {line}", place, cell.strip(), number)
        numbers.append(number)
    return numbers


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _without_label(layout: _Layout, cells: Sequence[str]) -> list[str]:
    return [cell for index, cell in enumerate(cells) if index != layout.label]


def _unreadable(path: Path, error: Exception) -> InvalidInputError:
    return InvalidInputError(f"{path}: cannot be read as CSV text: {error}.")
