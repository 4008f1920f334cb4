"""Two methods on the same instances, row by row: signed ranks, signs, and the size of the effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from imle_opt_solvers.solution import FloatArray

__all__ = ["PairedTests", "paired_tests"]


@dataclass(frozen=True)
class PairedTests:
    """What the signs and ranks of paired differences say.

    Args:
        wins: instances with a lower value of the first.
        ties: instances without a difference, to the tolerance.
        losses: instances with a higher value of the first.
        signed_rank_p: Wilcoxon's signed-rank test, two-sided: are the differences centred on zero?
        sign_p: the sign test, two-sided: are wins as likely as losses?
        rank_biserial: effect size of the signed ranks, between -1 and 1: (sum of the ranks of the losses -
            that of the wins) / sum of all ranks. -1: the first has the lower value wherever there is a
            difference; 0: neither has.
        standardized: mean of the differences over their standard deviation (Cohen's d_z).
    """

    wins: int
    ties: int
    losses: int
    signed_rank_p: float
    sign_p: float
    rank_biserial: float
    standardized: float


def paired_tests(differences: FloatArray, tolerances: FloatArray | float = 0.0) -> PairedTests:
    """Test paired differences, first minus second.

    Args:
        differences: (N,), one per instance, seeds averaged (rows of one instance are not independent); NaN
            where there is none.
        tolerances: (N,) or one for all: a difference of no more is a tie.

    Both tests leave ties out. The p-values of no differences at all are 1.

    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945, as in
    `scipy.stats.wilcoxon`; rank-biserial correlation of pairs: Kerby, "The simple difference formula",
    Comprehensive Psychology 3, 2014.
    """
    known = ~np.isnan(differences)
    given = differences[known]
    differing = given[np.abs(given) > np.broadcast_to(tolerances, differences.shape)[known]]
    wins, losses = int(np.count_nonzero(differing < 0)), int(np.count_nonzero(differing > 0))
    ties = int(given.size - differing.size)
    deviation = float(given.std(ddof=1)) if given.size > 1 else 0.0
    standardized = float(given.mean()) / deviation if deviation > 0 else np.nan
    if not differing.size:
        return PairedTests(0, ties, 0, 1.0, 1.0, 0.0, standardized)
    ranks = stats.rankdata(np.abs(differing))
    signed = float(ranks @ np.sign(differing) / ranks.sum())
    return PairedTests(
        wins,
        ties,
        losses,
        float(np.asarray(stats.wilcoxon(differing))[1]),
        float(stats.binomtest(wins, wins + losses).pvalue),
        signed,
        standardized,
    )
