"""Is a batch worth sending to the workers? What rows and sending them took so far."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import final

__all__ = ["PoolCosts"]

_WINDOW = 9
_FIRST = 3
"""Batches to measure before anything is concluded; the first ones build models and compile."""
_LOOK_AGAIN = 64
"""One of so many inline batches is sent all the same, to measure again."""


@final
class PoolCosts:
    """Seconds per row and per call, as medians of the last batches, on which a busy moment has no bearing."""

    def __init__(self) -> None:
        self._row_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._overheads: deque[float] = deque(maxlen=_WINDOW)
        self._inline = 0

    @property
    def row_seconds(self) -> float | None:
        """Seconds in the solver for one row; None before the first batch."""
        return statistics.median(self._row_seconds) if self._row_seconds else None

    @property
    def overhead_seconds(self) -> float | None:
        """What one call costs beyond its solves, spread evenly; None before the first batch."""
        return statistics.median(self._overheads) if self._overheads else None

    def inline_below(self, workers: int) -> float | None:
        """From how many rows on sending is faster; None before that is known."""
        row_seconds, overhead = self.row_seconds, self.overhead_seconds
        if not row_seconds or overhead is None or len(self._overheads) < _FIRST:
            return None
        if workers == 1:
            return math.inf
        # What is saved grows by one row each up to one row per worker, then by the share of the others.
        few = math.ceil(overhead / row_seconds) + 1
        return few if few <= workers else math.ceil(overhead / (row_seconds * (1 - 1 / workers)))

    def sent(self, rows: int, parallel: int, solver_seconds: float, wall_seconds: float) -> None:
        """Take note of a batch that went to `parallel` workers."""
        self._row_seconds.append(solver_seconds / rows)
        self._overheads.append(max(0.0, wall_seconds - solver_seconds / parallel))

    def solved_inline(self, rows: int, seconds: float) -> None:
        """Take note of a batch that was solved where it was."""
        self._row_seconds.append(seconds / rows)
        self._inline += 1

    def favour_inline(self, rows: int, workers: int) -> bool:
        """Whether solving `rows` here is faster than sending them to `workers`."""
        row_seconds, overhead = self.row_seconds, self.overhead_seconds
        if row_seconds is None or overhead is None or len(self._overheads) < _FIRST:
            return False
        if self._inline % _LOOK_AGAIN == _LOOK_AGAIN - 1:
            self._inline += 1
            return False
        saved = rows * row_seconds * (1 - 1 / min(workers, rows))
        return saved < overhead
