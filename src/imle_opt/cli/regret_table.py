"""What `imle-opt regret` prints for people: the methods side by side, then how they were measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imle_opt.cli.show import show_table
from imle_opt.evaluation.figures import figures
from imle_opt.evaluation.judgement import INTERVALS, Judgement
from imle_opt.evaluation.notes import notes
from imle_opt.evaluation.result import Evaluation, status_counts
from imle_opt.evaluation.statistics import Comparison, Interval

__all__ = ["show_evaluation"]


def _percent(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{100 * share:.3g}%"


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.6g}"


_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("normalised regret (ratio of sums)", "normalized_regret_ratio_of_sums", _percent),
    ("normalised regret (mean of ratios)", "normalized_regret_mean_of_ratios", _percent),
    ("mean regret", "mean_regret", _number),
    ("median regret", "median_regret", _number),
    ("interquartile mean regret", "interquartile_mean_regret", _number),
    ("mean objective", "mean_objective", _number),
    ("optimal decisions", "optimal_share", _percent),
    ("exact matches", "exact_match_share", _percent),
    ("mean Hamming distance", "mean_hamming", _number),
    ("worst case under ties (ratio of sums)", "normalized_worst_case_regret_ratio_of_sums", _percent),
    ("worst case under ties (mean of ratios)", "normalized_worst_case_regret_mean_of_ratios", _percent),
    ("worst case under ties (mean regret)", "mean_worst_case_regret", _number),
    ("rows where ties hide regret", "tied_share", _percent),
    ("cost errors: mean squared (MSE)", "mse", _number),
    ("cost errors: mean absolute (MAE)", "mae", _number),
    ("cost errors: explained variance (R2)", "r2", _number),
    ("cost errors: rank correlation (Spearman)", "spearman", _number),
)
_TIES = ("normalized_worst_case", "mean_worst_case", "tied_share")
_COMPARED = (
    "normalised regret",
    "difference",
    "interval",
    "p (bootstrap)",
    "p (Wilcoxon)",
    "p (sign)",
    "effect",
    "lower / equal / higher",
)
_PERFECT = {
    "optimal_share": 1.0,
    "exact_match_share": 1.0,
    "r2": 1.0,
    "spearman": 1.0,
}


def show_evaluation(evaluation: Evaluation, judgement: Judgement) -> None:
    """Print the figures of every method beside the oracle's, the comparisons, the facts and the notes."""
    every = {method.name: figures(method, evaluation) for method in evaluation.methods}
    header = ("", *every, "oracle")
    with_ties = {method.name for method in evaluation.methods if method.worst_case_regrets is not None}
    rows: list[tuple[str, ...]] = []
    for label, name, shown in _ROWS:
        ties = name.startswith(_TIES)
        if ties and not with_ties:
            continue
        cells = [
            "-" if ties and method not in with_ties else shown(getattr(each, name))
            for method, each in every.items()
        ]
        rows.append((label, *cells, _oracle(name, shown, evaluation)))
        if name in INTERVALS:
            bounds = [_bounds(judgement.intervals[method][name], shown) for method in every]
            rows.append((f"  {100 * judgement.sampling.confidence:.3g}% interval", *bounds, ""))
    show_table(header, rows)
    print()
    if judgement.comparisons:
        show_table(_COMPARED, [_comparison(each) for each in judgement.comparisons])
        print()
        for sentence in judgement.verdicts:
            print(sentence)
        print()
    show_table(("", ""), _facts(evaluation), notes(evaluation))


def _bounds(interval: Interval, shown: Callable[[float], str]) -> str:
    return f"{shown(interval.low)} to {shown(interval.high)}" if interval.known else "unknown"


def _comparison(comparison: Comparison) -> tuple[str, ...]:
    difference, tests = comparison.difference, comparison.tests
    return (
        f"{comparison.first} - {comparison.second}",
        _percent(difference.estimate),
        _bounds(difference, _percent),
        *map(_p_value, (comparison.p_value, comparison.signed_rank_p, comparison.sign_p)),
        _number(round(tests.rank_biserial, 3)),
        f"{tests.wins} / {tests.ties} / {tests.losses}",
    )


def _p_value(value: float) -> str:
    if np.isnan(value):
        return "unknown"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _oracle(name: str, shown: Callable[[float], str], evaluation: Evaluation) -> str:
    """Return a figure of the one who knows the true costs."""
    if name == "mean_objective":
        known = evaluation.optimal_objectives[~np.isnan(evaluation.optimal_objectives)]
        return shown(float(known.mean()) if known.size else np.nan)
    return shown(_PERFECT.get(name, 0.0))


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    model, timings = evaluation.model, evaluation.timings
    seeds = {method.name: len(method.seeds) for method in evaluation.methods if len(method.seeds) > 1}
    facts = [
        ("rows", str(evaluation.num_rows)),
        ("solver", f"{model.engine}, {model.sense.value}imises"),
        ("solves under true costs", _status_text(status_counts(evaluation.true_statuses))),
    ]
    facts += [(f"seeds of {name}", str(count)) for name, count in seeds.items()]
    facts += [
        (f"solves under {method.name}", _status_text(status_counts(method.statuses)))
        for method in evaluation.methods
    ]
    return [
        *facts,
        ("distinct solves", str(evaluation.solves)),
        ("seconds", f"{timings.total:.3g}, of which {timings.reading:.3g} reading"),
    ]


def _status_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
