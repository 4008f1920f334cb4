"""Intervals of the median and of the interquartile mean, figures that a few dreadful rows do not move.

Median: the values whose ranks a binomial variable with n trials and chance 1/2 leaves out on either side,
which holds whatever the distribution is (Conover, "Practical Nonparametric Statistics", 1999, section
3.2). With several seeds ranks are no longer binomial: the interval of the share of values up to the
median is taken, and its ends are turned into quantiles (Woodruff, "Confidence intervals for medians and
other position measures", JASA 47, 1952).

Interquartile mean: the mean of the middle half; its influences are those of the values clipped to the
quartiles (Huber, "Robust Statistics", 1981, section 3.3; with Student's t it is the interval of Tukey and
McLaughlin 1963), and the bootstrap-t of `ratio_interval` does the rest. Proposed for comparing learners by
Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep reinforcement learning at the edge of the
statistical precipice", NeurIPS 2021, arXiv 2108.13264.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from imle_opt.evaluation.statistics.interval import Interval, unknown
from imle_opt.evaluation.statistics.ratio import CONFIDENCE, RESAMPLES, mean_interval
from imle_opt_solvers.solution import FloatArray

__all__ = ["interquartile_mean", "interquartile_mean_interval", "median_interval"]


def median_interval(
    values: FloatArray,
    *,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the median of all values with its interval; its standard error and p-value are NaN.

    Args:
        values: (S, N) or (N,); NaN where there is none.
        generator: draws the resamples, which only several seeds need.
        resamples: of the instances.
        confidence: between 0 and 1.

    Raises:
        InvalidInputError: options out of range.

    Five values or fewer cannot tell at 95%: the bounds are NaN.
    """
    table = np.atleast_2d(values)
    known = np.sort(table[~np.isnan(table)])
    if not known.size:
        return unknown(np.nan, confidence)
    middle = float(np.median(known))
    if len(table) == 1:
        below = int(stats.binom.ppf((1 - confidence) / 2, known.size, 0.5)) - 1
        # One further where that already misses too often: the interval must hold at least the confidence.
        while below >= 0 and stats.binom.cdf(below, known.size, 0.5) > (1 - confidence) / 2:
            below -= 1
        while stats.binom.cdf(below + 1, known.size, 0.5) <= (1 - confidence) / 2:
            below += 1
        if below < 0:
            return unknown(middle, confidence)
        return _between(middle, float(known[below]), float(known[-1 - below]), confidence)
    upto = np.where(np.isnan(table), np.nan, table <= middle)
    share = mean_interval(upto, generator=generator, resamples=resamples, confidence=confidence)
    if not share.known:
        return unknown(middle, confidence)
    half = (share.high - share.low) / 2
    ends = np.quantile(known, np.clip([0.5 - half, 0.5 + half], 0.0, 1.0))
    return _between(middle, float(ends[0]), float(ends[1]), confidence)


def interquartile_mean_interval(
    values: FloatArray,
    *,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    at_least: float = -np.inf,
) -> Interval:
    """Return the interquartile mean of all values with its interval.

    Args:
        values: (S, N) or (N,); NaN where there is none.
        generator: draws the resamples.
        resamples: of the instances.
        confidence: between 0 and 1.
        at_least: the lower bound is no less.

    Raises:
        InvalidInputError: options out of range.
    """
    table = np.atleast_2d(values)
    known = np.sort(table[~np.isnan(table)])
    if not known.size:
        return unknown(np.nan, confidence)
    estimate = interquartile_mean(known)
    clipped = np.clip(table, *np.quantile(known, [0.25, 0.75]))
    influences = 2 * (clipped - np.nanmean(clipped))
    return mean_interval(
        estimate + influences,
        generator=generator,
        resamples=resamples,
        confidence=confidence,
        at_least=at_least,
    )


def interquartile_mean(ordered: FloatArray) -> float:
    """Return the mean of the middle half of ascending values, those at its edges counted in part.

    With n values, n / 4 are cut off at either end; of a value that the cut divides, the rest counts.
    """
    count = ordered.size
    places = np.arange(count)
    inside = np.minimum(places + 1, 0.75 * count) - np.maximum(places, 0.25 * count)
    weights = np.clip(inside, 0.0, 1.0)
    return float(ordered @ weights / weights.sum())


def _between(estimate: float, low: float, high: float, confidence: float) -> Interval:
    return Interval(estimate, low, high, np.nan, confidence, np.nan)
