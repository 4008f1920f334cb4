"""One method against another on the same instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from imle_opt.evaluation.statistics.holm import holm
from imle_opt.evaluation.statistics.interval import Interval
from imle_opt.evaluation.statistics.paired_tests import PairedTests, paired_tests
from imle_opt.evaluation.statistics.ratio import CONFIDENCE, RESAMPLES, ratio_interval
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["Comparison", "compare", "with_holm"]


@dataclass(frozen=True)
class Comparison:
    """The first method against the second; figures below zero mean that the first is better.

    Args:
        first: name of one method.
        second: name of the other.
        regrets: normalised regrets (ratio of sums) of the two on the instances that both have.
        difference: first minus second, with its interval: the paired bootstrap.
        tests: the tests beside it.
        p_value: of the paired bootstrap, adjusted by Holm; as the next two, it is that of this comparison
            alone until `with_holm` has seen all.
        signed_rank_p: of Wilcoxon's test, adjusted.
        sign_p: of the sign test, adjusted.
        comparisons: how many were made together.
        instances: how many both have.
        seeds: how many each of them has.
    """

    first: str
    second: str
    regrets: tuple[float, float]
    difference: Interval
    tests: PairedTests
    p_value: float
    signed_rank_p: float
    sign_p: float
    comparisons: int
    instances: int
    seeds: tuple[int, int]

    @property
    def relative(self) -> float:
        """The difference as a share of the second's regret: -0.4 is 40% less. NaN where that is zero."""
        return self.difference.estimate / self.regrets[1] if self.regrets[1] else np.nan

    @property
    def shown(self) -> bool:
        """Whether the paired bootstrap shows a difference, all comparisons considered."""
        return bool(self.p_value <= 1 - self.difference.confidence)


def compare(
    first: tuple[str, FloatArray],
    second: tuple[str, FloatArray],
    optima: FloatArray,
    *,
    generator: np.random.Generator,
    tolerances: FloatArray | float = 0.0,
    same_seeds: bool = True,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare two methods' regrets, paired by instance.

    The difference of the normalised regrets is itself a ratio of sums, over the instances that both have:
    sum of (regret of the first - regret of the second) / sum of |optima|.

    Args:
        first: its name and regrets (S, N) or (N,).
        second: the same.
        optima: (N,) objectives of the best decisions; their signs do not count.
        generator: draws the resamples.
        tolerances: (N,) or one for all: regrets that differ by no more are tied.
        same_seeds: whether the s-th seeds of both belong together, where there are as many. A method of one
            seed is paired with each of the other's; its own training then counts as given.
        resamples: of the instances.
        confidence: between 0 and 1.

    Raises:
        InvalidInputError: different numbers of instances, or options out of range.
    """
    one, other = np.atleast_2d(first[1]), np.atleast_2d(second[1])
    if not one.shape[1] == other.shape[1] == optima.size:
        raise InvalidInputError(
            f"Both methods need a regret for each of the {optima.size} instances: {first[0]} has "
            f"{one.shape[1]} and {second[0]} {other.shape[1]}."
        )
    seeds = len(one), len(other)
    sizes = np.abs(optima)
    paired = 1 in seeds or (same_seeds and seeds[0] == seeds[1])
    if paired:
        differences = one - other
        missing = np.isnan(differences)
        one, other = np.where(missing, np.nan, one), np.where(missing, np.nan, other)
        tables, per_instance = [differences], _mean_of_seeds(differences)
    else:
        lacking = np.isnan(one).all(axis=0) | np.isnan(other).all(axis=0)
        one, other = np.where(lacking, np.nan, one), np.where(lacking, np.nan, other)
        tables, per_instance = [one, -other], _mean_of_seeds(one) - _mean_of_seeds(other)
    difference = ratio_interval(
        tables, sizes, generator=generator, resamples=resamples, confidence=confidence
    )
    tests = paired_tests(per_instance, tolerances)
    return Comparison(
        first[0],
        second[0],
        (_ratio(one, sizes), _ratio(other, sizes)),
        difference,
        tests,
        difference.p_value,
        tests.signed_rank_p,
        tests.sign_p,
        1,
        int(np.count_nonzero(~np.isnan(per_instance))),
        seeds,
    )


def with_holm(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons with p-values adjusted for being made together, each test for itself."""
    adjusted = zip(
        holm([each.difference.p_value for each in comparisons]),
        holm([each.tests.signed_rank_p for each in comparisons]),
        holm([each.tests.sign_p for each in comparisons]),
        strict=True,
    )
    count = len(comparisons)
    return tuple(
        replace(each, p_value=p, signed_rank_p=ranks, sign_p=signs, comparisons=count)
        for each, (p, ranks, signs) in zip(comparisons, adjusted, strict=True)
    )


def _mean_of_seeds(table: FloatArray) -> FloatArray:
    counts = np.count_nonzero(~np.isnan(table), axis=0)
    sums = np.nansum(table, axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def _ratio(table: FloatArray, sizes: FloatArray) -> float:
    counts = np.count_nonzero(~np.isnan(table), axis=0)
    total = float(counts[counts > 0] @ sizes[counts > 0])
    return float(np.nansum(table)) / total if total else np.nan
