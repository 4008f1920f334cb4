"""How many rows are solved at a time: one at first, then about as many as take a second or two."""

from __future__ import annotations

from typing import final

__all__ = ["BlockSizes"]

_GROWTH = 8
_SECONDS = 1.5
_BYTES = 2**20
"""Of one array of costs. A block makes some fifteen like it, which should stay near the processor's cache."""


@final
class BlockSizes:
    """The size of the next block, from how long earlier ones took.

    Args:
        width: costs of one row.
    """

    def __init__(self, width: int) -> None:
        self._most = max(16, _BYTES // (8 * width))
        self._next = 1
        self.row_seconds: float | None = None

    def took(self, rows: int, seconds: float) -> None:
        """Take note of a block."""
        self.row_seconds = seconds / rows
        fitting = int(_SECONDS / max(self.row_seconds, 1e-9))
        self._next = max(1, min(fitting, rows * _GROWTH, self._most))

    def next(self, rows_left: int) -> int:
        """Return how many rows the next block has."""
        return min(self._next, rows_left)
