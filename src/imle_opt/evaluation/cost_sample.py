"""A sample of the costs of a table, the same however its rows are cut into blocks: for drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.solution import FloatArray

__all__ = ["CostSample", "SampledCosts"]

_MOST = 400
_STRIDE = 7919
"""A prime: neighbouring samples show different costs of a row."""


@final
@dataclass(frozen=True, eq=False)
class SampledCosts:
    """Some costs of a table, spread evenly over its rows.

    Args:
        true: (T,).
        predicted: (T,) of the same rows and variables, by the first seed of a method.
    """

    true: FloatArray
    predicted: FloatArray


@final
@dataclass(frozen=True)
class CostSample:
    """Which costs are sampled: number t is in row `t rows / T`, T = 400 at most.

    Args:
        rows: N, of the whole table.
        size: costs of a row.
    """

    rows: int
    size: int

    @property
    def count(self) -> int:
        """T."""
        return min(_MOST, self.rows * self.size)

    def between(self, start: int, stop: int) -> slice:
        """Return which samples lie in the rows from `start` to before `stop`."""
        first, last = (-(-row * self.count // self.rows) for row in (start, stop))
        return slice(first, last)

    def take(self, table: FloatArray, start: int) -> FloatArray:
        """Return the samples in some rows of the table.

        Args:
            table: (b, size), the rows from `start` on.
            start: the first row.
        """
        samples = self.between(start, start + len(table))
        numbers: NDArray[np.int64] = np.arange(samples.start, samples.stop)
        rows, entries = numbers * self.rows // self.count, numbers * _STRIDE % self.size
        return np.asarray(table[rows - start, entries], dtype=np.float64)
