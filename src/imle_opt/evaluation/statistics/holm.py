"""Holm's correction of p-values, for those who make several comparisons and would report the lucky one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values adjusted so that the chance of any false finding among them stays at the level.

    With the p-values ascending, p_(1) <= ... <= p_(k):

        adjusted p_(j) = min(1, max over i <= j of (k - i + 1) p_(i))

    Args:
        p_values: NaN where a comparison could not be made: it stays NaN and does not count.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 1979. It needs no independence.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    order = np.argsort(given, kind="stable")[: np.count_nonzero(~np.isnan(given))]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * given[order]))
    return tuple(adjusted.tolist())
