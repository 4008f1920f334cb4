"""Sums over instances that are drawn with replacement, fast and in bounded memory for any number of rows.

A bootstrap of n instances draws n of them, again and again. All that is needed of a draw here are sums, and
for many rows those have the same distribution whether rows are drawn or blocks of rows: `blocks` adds rows up
at random to at most `MOST_UNITS` units, and the units are drawn instead. Sums of independent rows keep their
mean, variance and third moment exactly under any such grouping (cumulants of independent terms add up), so
that a million rows cost what two thousand do. Up to `MOST_UNITS` rows nothing is grouped.

Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979; grouping:
the same argument as in Kleiner, Talwalkar, Sarkar and Jordan, "A scalable bootstrap for massive data", 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.solution import FloatArray

__all__ = ["MOST_UNITS", "blocks", "resampled_sums"]

MOST_UNITS = 2048
_CHUNK = 2**20


def blocks(rows: FloatArray, generator: np.random.Generator, most: int = MOST_UNITS) -> FloatArray:
    """Return rows added up at random to at most `most` units of nearly equal numbers of rows.

    Args:
        rows: (n, p).
        generator: draws which rows go together, as tables are often sorted.
        most: of units.

    Returns:
        (min(n, most), p); the rows themselves where there are no more than that.
    """
    if len(rows) <= most:
        return rows
    unit = generator.permutation(len(rows)) % most
    sums = [np.bincount(unit, weights=column, minlength=most) for column in rows.T]
    return np.stack(sums, axis=1).astype(np.float64, copy=False)


def resampled_sums(units: FloatArray, resamples: int, generator: np.random.Generator) -> FloatArray:
    """Return sums over as many units, drawn with replacement.

    Args:
        units: (m, p).
        resamples: how often.
        generator: draws the units.

    Returns:
        (resamples, p).
    """
    count = len(units)
    sums = np.empty((resamples, units.shape[1]))
    step = max(1, _CHUNK // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        sums[start : start + size] = _draw_counts(count, size, generator) @ units
    return sums


def _draw_counts(count: int, size: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """How often each of `count` units is drawn, `size` times over: (size, count), multinomial."""
    drawn = generator.integers(count, size=(size, count))
    drawn += count * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)
