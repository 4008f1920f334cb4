"""How sure the figures of an evaluation are, and whether methods differ: NumPy and SciPy on plain arrays.

A *table* is an array (S, N): S seeds (trainings) of one method, each on the same N instances; NaN where there
is no value. One seed is (1, N), or (N,). Every resampling draws from the `generator` that is passed in.
"""

from __future__ import annotations

from imle_opt.evaluation.statistics.comparison import Comparison, compare, with_holm
from imle_opt.evaluation.statistics.holm import holm
from imle_opt.evaluation.statistics.interval import Interval
from imle_opt.evaluation.statistics.order import interquartile_mean_interval, median_interval
from imle_opt.evaluation.statistics.paired_tests import PairedTests, paired_tests
from imle_opt.evaluation.statistics.ratio import mean_interval, ratio_interval
from imle_opt.evaluation.statistics.verdict import verdict

__all__ = [
    "Comparison",
    "Interval",
    "PairedTests",
    "compare",
    "holm",
    "interquartile_mean_interval",
    "mean_interval",
    "median_interval",
    "paired_tests",
    "ratio_interval",
    "verdict",
    "with_holm",
]
