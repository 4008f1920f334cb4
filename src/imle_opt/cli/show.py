"""Results for people: a table of colours on a terminal, aligned text in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["show_table"]


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """Print rows of text under a header on stdout, and notes below.

    Args:
        header: one title per column; in a pipe it is left out where all titles are empty.
        rows: cells.
        notes: lines that a reader must know.
    """
    console = Console()
    if not console.is_terminal:
        print("\n".join([*_aligned(header, rows), *(f"note: {note}" for note in notes)]))
        return
    table = Table(show_header=any(header))
    for title in header:
        table.add_column(Text(title))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    for note in notes:
        console.print(Text.assemble(("note:", "yellow"), " ", note), highlight=False)


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(header), *map(list, rows)] if any(header) else [list(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
