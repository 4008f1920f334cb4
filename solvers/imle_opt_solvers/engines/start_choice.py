"""Whether the last basis is a better start than none, as counted in simplex iterations.

Primal simplex from the last optimum is fast where costs resemble those of the row before; where they do not,
dual simplex from the slack basis needs fewer iterations.
"""

from __future__ import annotations

from typing import final

import numpy as np

__all__ = ["StartChoice"]

_TRIALS = 4
_PERIOD = 64
"""After so many rows both are tried again: costs change while a network learns."""


@final
class StartChoice:
    """Counts of the last trials of both starts."""

    def __init__(self) -> None:
        self._row = 0
        self._iterations: dict[bool, list[int]] = {False: [], True: []}

    def fresh(self) -> bool:
        """Tell whether to forget the last basis for the next row."""
        at = self._row % _PERIOD
        if at < 2 * _TRIALS:
            return at < _TRIALS
        cold, warm = (np.median(self._iterations[fresh]) for fresh in (True, False))
        return bool(cold < warm)

    def note(self, iterations: int) -> None:
        """Remember what the row took, solved as `fresh` said."""
        fresh = self.fresh()
        self._iterations[fresh] = [*self._iterations[fresh][1 - _TRIALS :], iterations]
        self._row += 1
