"""The rows of a batch, in memory that a pool and its worker processes share.

That memory is an anonymous file: it has no name, so that nothing is left behind however its processes end.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.solution import FloatArray, Solution, Status

__all__ = ["RowViews", "SharedRows", "anonymous_file"]

_STATUSES = tuple(Status)
_CODES = {status: code for code, status in enumerate(_STATUSES)}
_OPTIMAL = _CODES[Status.OPTIMAL]


def anonymous_file() -> int:
    """Return the descriptor of a new file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("imle-opt")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@dataclass(frozen=True)
class RowViews:
    """One batch, with room for its answers.

    Args:
        costs: (B, width).
        decisions: (B, width).
        objectives: (B,).
        gaps: (B,).
        statuses: (B,) places in the list of statuses.
    """

    costs: FloatArray
    decisions: FloatArray
    objectives: FloatArray
    gaps: FloatArray
    statuses: NDArray[np.uint8]

    @classmethod
    def over(cls, costs: FloatArray) -> Self:
        """Make room for the answers to a batch, in this process alone."""
        rows = len(costs)
        flat = costs.reshape(rows, math.prod(costs.shape[1:]))
        answers = np.empty_like(flat), np.empty(rows), np.empty(rows), np.empty(rows, dtype=np.uint8)
        return cls(flat, *answers)

    def write(self, rows: slice, solution: Solution) -> None:
        """Store the solution of some rows."""
        self.decisions[rows] = solution.decisions.reshape(len(solution.statuses), -1)
        self.objectives[rows] = solution.objectives
        self.gaps[rows] = solution.gaps
        statuses = solution.statuses
        if statuses.count(Status.OPTIMAL) == len(statuses):  # ten times as fast as one by one
            self.statuses[rows] = _OPTIMAL
        else:
            self.statuses[rows] = [_CODES[status] for status in statuses]

    def fail(self, rows: slice) -> None:
        """Store that some rows came to nothing."""
        self.decisions[rows] = self.objectives[rows] = self.gaps[rows] = np.nan
        self.statuses[rows] = _CODES[Status.ERROR]

    def read(self, shape: tuple[int, ...]) -> Solution:
        """Return a copy of the whole batch."""
        rows = len(self.statuses)
        codes = self.statuses.tobytes()
        if codes.count(_OPTIMAL) == rows:
            statuses = (Status.OPTIMAL,) * rows
        else:
            statuses = tuple(_STATUSES[code] for code in codes)
        return Solution(
            self.decisions.reshape(rows, *shape).copy(),
            self.objectives.copy(),
            statuses,
            self.gaps.copy(),
            0.0,
        )


@final
class SharedRows:
    """A batch of any size in an anonymous file that grows with the largest batch seen.

    Args:
        descriptor: of the file.
        width: the number of costs of one row.
    """

    def __init__(self, descriptor: int, width: int) -> None:
        self.descriptor = descriptor
        self.width = width
        self._room = 0
        self._memory: mmap.mmap | None = None
        self._last: RowViews | None = None

    @classmethod
    def create(cls, width: int) -> Self:
        """Make the file, without room for any row."""
        return cls(anonymous_file(), width)

    def reserve(self, rows: int) -> RowViews:
        """Make room for a batch, and return it; earlier contents are lost."""
        size = self._size(rows)
        if size > self._room:
            os.ftruncate(self.descriptor, size)
            self._room = size
        return self.views(rows)

    def views(self, rows: int) -> RowViews:
        """Return the batch that the other side has made room for."""
        if self._last is not None and len(self._last.costs) == rows:  # training has one batch size
            return self._last
        memory = self._memory
        if memory is None or len(memory) < self._size(rows):
            memory = self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        cells = rows * self.width
        numbers = np.ndarray(2 * (cells + rows), dtype=np.float64, buffer=memory)
        costs, decisions, objectives, gaps = np.split(numbers, [cells, 2 * cells, 2 * cells + rows])
        self._last = RowViews(
            costs.reshape(rows, self.width),
            decisions.reshape(rows, self.width),
            objectives,
            gaps,
            np.ndarray(rows, dtype=np.uint8, buffer=memory, offset=numbers.nbytes),
        )
        return self._last

    def close(self) -> None:
        """Give the memory back; a worker that still maps it keeps its own share until it ends."""
        self._memory = self._last = None
        os.close(self.descriptor)

    def _size(self, rows: int) -> int:
        return rows * (16 * self.width + 17)
