"""How long rows took when they were solved before, to begin with those that take longest."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import final

from imle_opt_solvers._chunks import Chunk, ChunkTime
from imle_opt_solvers.solution import FloatArray

__all__ = ["RowHistory"]

_BYTES = 8
_CAPACITY = 2**16
"""Rows; some 10 MB."""


@final
class RowHistory:
    """Seconds per row, found again by the content of its costs.

    What is known about a row is what that row took: a row's place in its batch says nothing, because batches
    are shuffled. So this helps where costs come again (true costs in every epoch, evaluation), and changes
    nothing for perturbed costs. It decides about the order of work alone, never about an answer; two rows
    that share a key, or differ in their `instances`, cost no more than a worse order.
    """

    def __init__(self) -> None:
        self._seconds: OrderedDict[bytes, float] = OrderedDict()

    @staticmethod
    def keys(costs: FloatArray) -> list[bytes]:
        """Return one key per row of costs (B, *shape): a digest, about a microsecond for 144 costs."""
        return [hashlib.blake2b(row, digest_size=_BYTES).digest() for row in costs]

    def longest_first(self, chunks: Sequence[Chunk], keys: Sequence[bytes]) -> tuple[Chunk, ...]:
        """Order chunks by what their rows took before, the longest first.

        Rows that are not known count as much as known ones do on average; equals stay in their order. With
        exact times, p workers take at most 4/3 - 1/(3p) times as long as with the best order, where another
        order may take 2 - 1/p times as long (Graham, Bounds on multiprocessing timing anomalies, 1969).
        """
        known = {key: self._seconds[key] for key in keys if key in self._seconds}
        if not known:
            return tuple(chunks)
        average = sum(known.values()) / len(known)

        def expected(chunk: Chunk) -> float:
            return sum(known.get(key, average) for key in keys[chunk.rows])

        return tuple(sorted(chunks, key=expected, reverse=True))

    def learn(self, keys: Sequence[bytes], times: Iterable[ChunkTime]) -> None:
        """Take note of what the rows of a batch took; the rows of one chunk share its seconds."""
        for chunk, seconds, _ in times:
            for key in keys[chunk.rows]:
                self._seconds[key] = seconds / chunk.size
                self._seconds.move_to_end(key)
        while len(self._seconds) > _CAPACITY:
            self._seconds.popitem(last=False)
