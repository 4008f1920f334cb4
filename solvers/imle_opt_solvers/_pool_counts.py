"""What a pool has done so far."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from imle_opt_solvers._chunks import Solved
from imle_opt_solvers.solution import Status

__all__ = ["PoolCounts", "PoolStats"]

_WINDOW = 4096
_PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class PoolStats:
    """What a pool has done so far.

    Args:
        solves: rows solved.
        inline_solves: how many of them where the call came from, because sending them takes longer.
        hits: how many of them a `CachedSolver` inside the pool answered; one around the pool counts its own.
        solver_seconds: time in the solver, added up over the workers.
        transfer_seconds: time on the way to the workers and back, added up over the chunks.
        waiting_seconds: time that workers had nothing to do while a batch was in progress, added up.
        seconds: wall clock of all batches; the start of the workers is not counted.
        restarts: workers that were replaced.
        statuses: how many rows ended with each status.
        percentiles: seconds in the solver for one row, by percentile: 50, 90 and 99. Over the last 4,096
            chunks, whose rows count as equally long; empty before the first batch.
        row_seconds: what one row takes, from the last batches; None before the first.
        overhead_seconds: what sending one batch takes, from the last batches; None before the first.
        inline_below: batches of fewer rows are solved where the call comes from. 0 where all are sent (with
            `chunk` or `timeout`, or once a worker was lost), infinite where none is (a single worker), None
            as long as too little is known.
    """

    solves: int
    inline_solves: int
    hits: int
    solver_seconds: float
    transfer_seconds: float
    waiting_seconds: float
    seconds: float
    restarts: int
    statuses: Mapping[Status, int]
    percentiles: Mapping[int, float]
    row_seconds: float | None
    overhead_seconds: float | None
    inline_below: float | None


@final
class PoolCounts:
    """Sums over the batches of a pool; the attributes are those of `PoolStats`."""

    def __init__(self) -> None:
        self.statuses: Counter[Status] = Counter()
        self.inline_solves = self.hits = 0
        self.solver_seconds = self.transfer_seconds = self.waiting_seconds = self.seconds = 0.0
        self._chunks: deque[tuple[float, int]] = deque(maxlen=_WINDOW)

    def add(self, solved: Solved, seconds: float, workers: int) -> None:
        """Count a batch that took `seconds`; `workers` is 0 for one that was not sent."""
        statuses = solved.solution.statuses
        if statuses.count(Status.OPTIMAL) == len(statuses):  # five times as fast as one by one
            self.statuses[Status.OPTIMAL] += len(statuses)
        else:
            self.statuses.update(statuses)
        self.hits += solved.hits
        self.solver_seconds += solved.solver_seconds
        self.seconds += seconds
        for chunk, taken, _ in solved.times:
            size = chunk.size
            self._chunks.append((taken / size, size))
        if workers:
            self.transfer_seconds += solved.transfer_seconds
            self.waiting_seconds += max(
                0.0, workers * seconds - sum(each.round_trip for each in solved.times)
            )
        else:
            self.inline_solves += len(statuses)

    def percentiles(self) -> dict[int, float]:
        """Return the seconds that so many percent of the last rows did not exceed."""
        if not self._chunks:
            return {}
        seconds, rows = np.array(sorted(self._chunks)).T
        shares = np.cumsum(rows) / rows.sum()
        return {each: float(seconds[np.searchsorted(shares, each / 100)]) for each in _PERCENTILES}
