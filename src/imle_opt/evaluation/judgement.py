"""Whether the figures of an evaluation are luck: intervals for every method, comparisons, a verdict.

Each method is compared with the baseline; without one, every two methods that were given are compared, and a
method that is alone with the constant reference. Wherever a figure is undefined, it has no interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imle_opt.evaluation.result import Evaluation, MethodResult, Role
from imle_opt.evaluation.statistics import (
    Comparison,
    Interval,
    compare,
    interquartile_mean_interval,
    mean_interval,
    median_interval,
    ratio_interval,
    verdict,
    with_holm,
)
from imle_opt_solvers.solution import FloatArray

__all__ = ["INTERVALS", "Judgement", "Sampling", "compare_with", "judge"]

INTERVALS = (
    "normalized_regret_ratio_of_sums",
    "normalized_regret_mean_of_ratios",
    "mean_regret",
    "median_regret",
    "interquartile_mean_regret",
)
"""The figures that come with an interval."""


@dataclass(frozen=True)
class Sampling:
    """How the bootstrap draws.

    Args:
        seed: of the random numbers; the same gives the same intervals.
        resamples: of the instances.
        confidence: how often an interval holds the true value.
    """

    seed: int = 0
    resamples: int = 2000
    confidence: float = 0.95

    def generator(self, *place: int) -> np.random.Generator:
        """Return random numbers of their own for each place."""
        return np.random.default_rng([self.seed, *place])


@dataclass(frozen=True)
class Judgement:
    """What was found.

    Args:
        sampling: how.
        intervals: method -> figure -> interval.
        comparisons: adjusted for being made together.
        verdicts: a sentence for each comparison.
    """

    sampling: Sampling
    intervals: Mapping[str, Mapping[str, Interval]]
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[str, ...]


def judge(evaluation: Evaluation, sampling: Sampling) -> Judgement:
    """Find the intervals, compare the methods, and say what that comes to.

    Raises:
        InvalidInputError: options of the sampling out of range.
    """
    intervals = {
        method.name: _intervals(method, evaluation, sampling, place)
        for place, method in enumerate(evaluation.methods)
    }
    comparisons = with_holm(
        [
            _compare(first, second, evaluation, sampling, place)
            for place, (first, second) in enumerate(_pairs(evaluation))
        ]
    )
    return Judgement(sampling, intervals, comparisons, tuple(map(verdict, comparisons)))


def compare_with(name: str, evaluation: Evaluation, sampling: Sampling) -> tuple[Comparison, ...]:
    """Return the comparisons of all other methods that were given with the one of that name."""
    second = evaluation.method(name)
    others = [each for each in _given(evaluation) if each.name != name]
    return with_holm(
        [_compare(first, second, evaluation, sampling, place) for place, first in enumerate(others)]
    )


def _given(evaluation: Evaluation) -> list[MethodResult]:
    return [method for method in evaluation.methods if method.role is Role.PREDICTED]


def _pairs(evaluation: Evaluation) -> list[tuple[MethodResult, MethodResult]]:
    given = _given(evaluation)
    if evaluation.baseline is not None:
        second = evaluation.method(evaluation.baseline)
        return [(first, second) for first in given if first.name != evaluation.baseline]
    if len(given) == 1:
        return [(given[0], each) for each in evaluation.methods if each.role is Role.CONSTANT]
    return [(first, second) for place, first in enumerate(given) for second in given[place + 1 :]]


def _compare(
    first: MethodResult, second: MethodResult, evaluation: Evaluation, sampling: Sampling, place: int
) -> Comparison:
    return compare(
        (first.name, first.regrets),
        (second.name, second.regrets),
        np.nan_to_num(evaluation.optimal_objectives),
        generator=sampling.generator(1, place),
        tolerances=np.maximum(first.tolerances.max(axis=0), second.tolerances.max(axis=0)),
        same_seeds=set(first.seeds) == set(second.seeds),
        resamples=sampling.resamples,
        confidence=sampling.confidence,
    )


def _intervals(
    method: MethodResult, evaluation: Evaluation, sampling: Sampling, place: int
) -> dict[str, Interval]:
    generator = sampling.generator(0, place)
    resamples, confidence, regrets = sampling.resamples, sampling.confidence, method.regrets
    optima = np.abs(np.nan_to_num(evaluation.optimal_objectives))
    ratio = ratio_interval(
        regrets, optima, generator=generator, resamples=resamples, confidence=confidence, at_least=0.0,
        tails="equal",
    )  # fmt: skip
    ratios, mean = (
        mean_interval(
            values, generator=generator, resamples=resamples, confidence=confidence, at_least=0.0,
            tails="equal",
        )
        for values in (_ratios(method, optima), regrets)
    )  # fmt: skip
    median = median_interval(regrets, generator=generator, resamples=resamples, confidence=confidence)
    middle = interquartile_mean_interval(
        regrets, generator=generator, resamples=resamples, confidence=confidence, at_least=0.0
    )
    return dict(zip(INTERVALS, (ratio, ratios, mean, median, middle), strict=True))


def _ratios(method: MethodResult, optima: FloatArray) -> FloatArray:
    ratios = np.full(method.regrets.shape, np.nan)
    np.divide(method.regrets, optima, out=ratios, where=optima > method.tolerances)
    return ratios
