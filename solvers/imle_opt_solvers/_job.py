"""One batch on its way through workers that can be lost."""

from __future__ import annotations

import pickle
from collections import deque
from typing import final

from imle_opt_solvers._chunks import Batch, Chunk, ChunkTime, name_rows

__all__ = ["Job"]


@final
class Job:
    """Which chunks are still to be solved, and what became of the others.

    Args:
        batch: the rows and their chunks, in the order in which they are to be handed out.
        retries: how often the rows of a lost worker are solved again, one by one.

    Attributes:
        pending: chunks that no worker has.
        given_up: chunks that were lost too often.
        times: of the chunks that are solved.
        hits: rows that a cache in a worker answered.
    """

    def __init__(self, batch: Batch, retries: int = 0) -> None:
        self.batch = batch
        self.pending = deque(batch.chunks)
        self.given_up: list[Chunk] = []
        self.times: list[ChunkTime] = []
        self.hits = 0
        self._retries = retries
        self._raised: list[tuple[Chunk, bytes]] = []

    def solved(self, time: ChunkTime, hits: int) -> None:
        """Take note of a chunk that is solved."""
        self.times.append(time)
        self.hits += hits

    def raised(self, chunk: Chunk, exception: bytes) -> None:
        """Take note of a pickled exception; nothing more is handed out."""
        self._raised.append((chunk, exception))
        self.pending.clear()

    def lost(self, chunk: Chunk) -> None:
        """Have the rows of a lost worker solved again, or give them up."""
        if self._raised:
            return
        if chunk.lost >= self._retries:
            self.given_up.append(chunk)
        else:
            self.pending.extendleft(reversed(chunk.singly()))

    def check(self) -> None:
        """Raise the exception of the first chunk in the order of the rows, if there is any."""
        if not self._raised:
            return
        chunk, pickled = min(self._raised, key=lambda each: each[0].start)
        error: BaseException = pickle.loads(pickled)
        name_rows(error, chunk)
        raise error
