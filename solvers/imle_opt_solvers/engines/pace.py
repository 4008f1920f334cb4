"""Whether a walk through a batch is faster than one solve after the other, as measured.

Only time depends on it: what a walk proves is what a solve returns.
"""

from __future__ import annotations

from typing import final

import numpy as np

__all__ = ["Pace"]

_ROWS_BEFORE_WALKS = 32
"""Compiled code is worth its start only where there are rows enough."""
_WALKS_BEFORE_VERDICT = 3
"""The first walk compiles, or loads what was compiled."""
_REMEMBERED = 16


@final
class Pace:
    """Seconds a row of the last solves and walks."""

    def __init__(self) -> None:
        self._rows = 0
        self._given_up = False
        self._solves: list[float] = []
        self._walks: list[float] = []

    def worth_a_walk(self, rows: int) -> bool:
        """Count the rows of a batch, and tell whether to walk through it."""
        self._rows += rows
        if self._given_up or self._rows < _ROWS_BEFORE_WALKS:
            return False
        if len(self._walks) < _WALKS_BEFORE_VERDICT or len(self._solves) < _WALKS_BEFORE_VERDICT:
            return True
        return bool(np.min(self._walks[1:]) <= np.median(self._solves))

    def solves_wanted(self) -> int:
        """How many solves are still to be timed."""
        return max(0, _WALKS_BEFORE_VERDICT - len(self._solves))

    def give_up(self) -> None:
        """Never walk: there is no basis to start from."""
        self._given_up = True

    def note_walk(self, seconds: float, rows: int) -> None:
        """Remember a walk through a batch."""
        self._walks = [*self._walks[-_REMEMBERED:], seconds / rows]

    def note_solve(self, seconds: float) -> None:
        """Remember a solve of one relaxation."""
        self._solves = [*self._solves[-_REMEMBERED:], seconds]
