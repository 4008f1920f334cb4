"""The figures of a method: what its rows come to, all seeds together and each on its own.

    ratio of sums      sum_i regret_i / sum_i |obj(z(c_i); c_i)|        the normalised regret
    mean of ratios     mean_i (regret_i / |obj(z(c_i); c_i)|)

The two can rank methods differently, as the first weighs rows by their size; both are named wherever they are
shown. Rows without a regret are left out of every figure; the mean of ratios also leaves out rows whose
optimum is zero, to the tolerance. A figure over no rows is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from imle_opt.evaluation.result import Evaluation, MethodResult
from imle_opt_solvers.solution import FloatArray

__all__ = ["Figures", "figures", "interquartile_mean", "normalized_regret", "undefined_ratio_rows"]


@dataclass(frozen=True)
class Figures:
    """Aggregates over rows and seeds, each row of each seed counted once.

    Args:
        normalized_regret_ratio_of_sums: see above; 0.03 is 3%.
        normalized_regret_mean_of_ratios: see above.
        mean_regret: in units of the objective, as are the next three.
        median_regret: half of the rows have no more.
        interquartile_mean_regret: the mean of the middle half of the rows.
        mean_objective: true objective of the decisions.
        optimal_share: of rows whose decision is optimal for the true costs, to the tolerance.
        exact_match_share: of rows whose decision is the very one that the true costs give.
        mean_hamming: entries in which a decision differs from the optimal one.
        normalized_worst_case_regret_ratio_of_sums: of the worst decision among those that are optimal for
            the predicted costs, over the rows where it is known.
        normalized_worst_case_regret_mean_of_ratios: the same.
        mean_worst_case_regret: the same.
        tied_share: of rows where a decision as good under the predicted costs has a higher regret.
        mse: mean squared error of the predicted costs; this and the next three as in `PredictionErrors`,
            averaged over seeds.
        mae: mean absolute error.
        r2: share of the variance that is explained.
        spearman: rank correlation within rows.
    """

    normalized_regret_ratio_of_sums: float
    normalized_regret_mean_of_ratios: float
    mean_regret: float
    median_regret: float
    interquartile_mean_regret: float
    mean_objective: float
    optimal_share: float
    exact_match_share: float
    mean_hamming: float
    normalized_worst_case_regret_ratio_of_sums: float
    normalized_worst_case_regret_mean_of_ratios: float
    mean_worst_case_regret: float
    tied_share: float
    mse: float
    mae: float
    r2: float
    spearman: float

    def named(self) -> dict[str, float | None]:
        """Return every figure by name, ready for JSON: NaN becomes None."""
        values = {each.name: float(getattr(self, each.name)) for each in fields(self)}
        return {name: value if np.isfinite(value) else None for name, value in values.items()}


def figures(method: MethodResult, evaluation: Evaluation, seed: int | None = None) -> Figures:
    """Return the figures of a method.

    Args:
        method: one of the evaluation's.
        evaluation: what it belongs to.
        seed: the index of one of its seeds; None: all together.
    """
    seeds = slice(None) if seed is None else slice(seed, seed + 1)
    regrets, tolerances = method.regrets[seeds], method.tolerances[seeds]
    optima = np.broadcast_to(np.abs(evaluation.optimal_objectives), regrets.shape)
    measured = ~np.isnan(regrets)
    worst = None if method.worst_case_regrets is None else method.worst_case_regrets[seeds]
    errors, known = method.errors, np.sort(regrets[measured])
    worst_figures = (np.nan,) * 4
    if worst is not None:
        tied = worst > regrets + tolerances
        worst_figures = (
            _ratio_of_sums(worst, optima, tolerances),
            _mean_of_ratios(worst, optima, tolerances),
            _mean(worst[~np.isnan(worst)]),
            _mean(tied[~np.isnan(worst)]),
        )
    return Figures(
        _ratio_of_sums(regrets, optima, tolerances),
        _mean_of_ratios(regrets, optima, tolerances),
        _mean(known),
        float(np.median(known)) if known.size else np.nan,
        interquartile_mean(known),
        _mean(method.achieved_objectives[seeds][measured]),
        _mean(method.optimal[seeds][measured]),
        _mean(method.exact_matches[seeds][measured]),
        _mean(method.hamming_distances[seeds][measured]),
        *worst_figures,
        *(_mean(values[seeds]) for values in (errors.mse, errors.mae, errors.r2, errors.spearman)),
    )


def normalized_regret(method: MethodResult, evaluation: Evaluation) -> float:
    """Return the ratio of sums alone, of all seeds together."""
    optima = np.broadcast_to(np.abs(evaluation.optimal_objectives), method.regrets.shape)
    return _ratio_of_sums(method.regrets, optima, method.tolerances)


def undefined_ratio_rows(method: MethodResult, evaluation: Evaluation) -> int:
    """Return how many rows, of all seeds, the mean of ratios leaves out because their optimum is zero."""
    return int(np.count_nonzero(np.abs(evaluation.optimal_objectives) <= method.tolerances))


def interquartile_mean(ordered: FloatArray) -> float:
    """Return the mean of the middle half of ascending values, those at its edges counted in part.

    With n values, n / 4 are cut off at either end; of a value that the cut divides, the rest counts.
    """
    count = ordered.size
    if not count:
        return np.nan
    places = np.arange(count)
    inside = np.minimum(places + 1, 0.75 * count) - np.maximum(places, 0.25 * count)
    weights = np.clip(inside, 0.0, 1.0)
    return float(ordered @ weights / weights.sum())


def _mean(values: np.ndarray[tuple[int, ...], np.dtype[np.bool_ | np.float64]]) -> float:
    return float(values.mean()) if values.size else np.nan


def _ratio_of_sums(regrets: FloatArray, optima: FloatArray, tolerances: FloatArray) -> float:
    known = ~np.isnan(regrets)
    denominator = float(optima[known].sum())
    if denominator <= float(tolerances[known].sum()):
        return np.nan
    return float(regrets[known].sum()) / denominator


def _mean_of_ratios(regrets: FloatArray, optima: FloatArray, tolerances: FloatArray) -> float:
    defined = (optima > tolerances) & ~np.isnan(regrets)
    return _mean(regrets[defined] / optima[defined])
