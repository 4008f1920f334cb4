"""How a batch is cut for the workers of a pool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution

__all__ = ["Batch", "Chunk", "ChunkTime", "Solved", "Workers", "cut", "name_rows"]

_PER_WORKER = 4
"""Chunks per worker: rows differ in difficulty, and the last chunk should not be waited for long."""
_LEAST_SENDS = 5
"""A chunk should take so many times as long as sending it, or workers wait for messages."""
_ENOUGH_SENDS = 50
"""Where it takes so many times as long, larger chunks save nothing, and the last one is waited for longer."""


class Chunk(NamedTuple):
    """The rows `start` to `stop` of a batch, solved in one call; `lost` workers were lost with them."""

    start: int
    stop: int
    lost: int = 0

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.start, self.stop)

    def singly(self) -> list[Chunk]:
        """Return the rows one by one, after another loss: the one that is to blame falls alone."""
        return [Chunk(row, row + 1, self.lost + 1) for row in range(self.start, self.stop)]


@dataclass(frozen=True)
class Batch:
    """What `Solver.solve_rows` is given, and how it is cut.

    Args:
        costs: (B, *shape).
        instances: entries with leading dimension B, or None.
        deterministic: see `Solver.solve`.
        chunks: all rows, in the order in which they are to be handed out.
    """

    costs: FloatArray
    instances: Instances | None
    deterministic: bool
    chunks: tuple[Chunk, ...]


class ChunkTime(NamedTuple):
    """What a chunk took: `seconds` in the solver, `round_trip` from sending it to its answer."""

    chunk: Chunk
    seconds: float
    round_trip: float


@dataclass(frozen=True)
class Solved:
    """A solved batch.

    Args:
        solution: in the order of the rows.
        times: of its chunks, in the order in which they were done.
        copy_seconds: for copying costs to where workers read them, and decisions back.
        hits: rows that a cache in a worker answered.
    """

    solution: Solution
    times: tuple[ChunkTime, ...]
    copy_seconds: float
    hits: int = 0

    @property
    def solver_seconds(self) -> float:
        """Seconds in the solver, added up over the workers."""
        return sum([time.seconds for time in self.times])

    @property
    def transfer_seconds(self) -> float:
        """Seconds on the way to the workers and back, added up over the chunks."""
        return self.copy_seconds + sum([max(0.0, trip - seconds) for _, seconds, trip in self.times])


class Workers(Protocol):
    """What a pool solves with: threads, processes or actors."""

    @property
    def restarts(self) -> int:
        """How many workers were replaced so far."""
        ...

    @property
    def send_seconds(self) -> float:
        """About how long it takes to send one chunk."""
        ...

    def start(self) -> None:
        """Start what is not running, and wait until it is ready."""
        ...

    def run(self, batch: Batch) -> Solved:
        """Solve a batch."""
        ...

    def close(self) -> None:
        """End the workers; what they are solving is lost."""
        ...


def cut(
    rows: int,
    workers: int,
    size: int | Literal["auto"],
    row_seconds: float | None,
    send_seconds: float = 1e-4,
) -> tuple[Chunk, ...]:
    """Cut a batch into chunks.

    Args:
        rows: B.
        workers: among how many workers.
        size: rows per chunk, or `"auto"`: a few chunks per worker; more where a row takes long (down to one
            row each, so that hard rows are shared out), fewer where it is fast (down to one per worker).
        row_seconds: what one row takes, where that is known.
        send_seconds: what sending one chunk takes.
    """
    step = _fitting(rows, workers, row_seconds, send_seconds) if size == "auto" else size
    return tuple(Chunk(start, min(start + step, rows)) for start in range(0, rows, step))


def _fitting(rows: int, workers: int, row_seconds: float | None, send_seconds: float) -> int:
    few = math.ceil(rows / (_PER_WORKER * workers))
    if row_seconds:
        few = min(few, math.ceil(_ENOUGH_SENDS * send_seconds / row_seconds))
        few = max(few, math.ceil(_LEAST_SENDS * send_seconds / row_seconds))
    return min(few, math.ceil(rows / workers))


def name_rows(error: BaseException, chunk: Chunk) -> None:
    """Note on an exception which rows were being solved: its message may count from the chunk's first."""
    error.add_note(
        f"Raised in a pool, for rows {chunk.start} to {chunk.stop - 1} of the batch; rows in the message "
        f"count from row {chunk.start}."
    )
