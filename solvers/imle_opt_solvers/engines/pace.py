"""Whether a walk through a batch is faster than one solve after the other, as measured.

Where a walk takes w seconds a row and settles a share p of them, and a solve takes s, walking pays where
w + (1 - p) s < s. It has to pay clearly, since the next rows may lie farther apart. Only time depends on it:
what a walk proves is what a solve returns.
"""

from __future__ import annotations

from typing import final

import numpy as np

__all__ = ["LARGEST_BLOCK", "Pace"]

LARGEST_BLOCK = 512
"""Rows to walk at a time, which are put in order by their distances."""
_PROBE = 32
"""Rows to walk before anything is known. Compiled code is worth its start only where there are so many."""
_CLEARLY = 0.8
_PERIOD = 4096
"""After so many rows the way not taken is tried again: costs change while a network learns."""
_WALKS_REMEMBERED, _SOLVES_REMEMBERED = 5, 16
"""Solves differ: with branch and bound and without. Their mean counts."""


@final
class Pace:
    """Seconds a row of the last solves and walks.

    Args:
        solves_before_verdict: how many solves are timed first.
    """

    def __init__(self, solves_before_verdict: int) -> None:
        self._solves_before_verdict = solves_before_verdict
        self._rows = 0
        self._rows_since_trial = 0
        self._given_up = False
        self._solves: list[float] = []
        self._walks: list[float] = []
        self._shares: list[float] = []

    def begin(self, rows: int) -> None:
        """Count the rows of a batch."""
        self._rows += rows

    def rows_to_walk(self, rows: int) -> int:
        """Return how many of the next rows to walk through; 0 for none of the next `LARGEST_BLOCK`."""
        if self._given_up or self._rows < _PROBE:
            return 0
        if not self._walks or len(self._solves) < self._solves_before_verdict:
            return min(rows, _PROBE)
        block = min(rows, LARGEST_BLOCK)
        self._rows_since_trial += block
        if np.median(self._walks) <= _CLEARLY * np.mean(self._shares) * np.mean(self._solves):
            return block
        return min(rows, _PROBE) if self._starts_trial() else 0

    def solves_wanted(self) -> int:
        """Return how many solves are to be timed: a walk that leaves no row open has no rival's time."""
        missing = self._solves_before_verdict - len(self._solves)
        return max(missing, int(self._starts_trial()))

    def give_up(self) -> None:
        """Never walk: there is no basis to start from."""
        self._given_up = True

    def note_walk(self, seconds: float, rows: int, settled: int) -> None:
        """Remember a walk through some rows, `settled` of which need no solve after it."""
        self._walks = [*self._walks[1 - _WALKS_REMEMBERED :], seconds / rows]
        self._shares = [*self._shares[1 - _WALKS_REMEMBERED :], settled / rows]

    def note_solve(self, seconds: float) -> None:
        """Remember a solve of one row."""
        self._solves = [*self._solves[1 - _SOLVES_REMEMBERED :], seconds]

    def _starts_trial(self) -> bool:
        if self._rows_since_trial < _PERIOD:
            return False
        self._rows_since_trial = 0
        return True
