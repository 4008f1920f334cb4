"""Whose luck it is: the variance of an estimate, split into that of the seeds and that of the instances.

The estimate is, to first order, a sum of influences u_si over seeds s and instances i. All seeds of a method
are evaluated on the same instances, so that both are drawn, and cross:

    V_seeds       S / (S - 1) sum_s (sum_i u_si)^2              seeds, and seeds x instances
    V_instances   n / (n - 1) sum_i (sum_s u_si)^2              instances, and seeds x instances
    V_both        S n / ((S - 1)(n - 1)) sum_si e_si^2          seeds x instances, counted in either
    variance      V_seeds + V_instances - V_both

with e_si = u_si - (mean over i) - (mean over s). One seed has V_instances alone.

Source: the two-way random-effects analysis of variance (Cornfield and Tukey 1956; Searle, Casella and
McCulloch, "Variance Components", 1992, chapter 4); Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 1, 2007, on why resampling each seed's instances on its own understates the variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imle_opt_solvers.solution import FloatArray

__all__ = ["Components", "components"]


@dataclass(frozen=True)
class Components:
    """The variance of an estimate.

    Args:
        seeds: what the seeds add to it; zero where there is one.
        degrees: of freedom that `seeds` is known with; infinite where there is one seed.
        instances: the rest.
    """

    seeds: float
    degrees: float
    instances: float

    @property
    def standard_error(self) -> float:
        """Of the estimate."""
        return float(np.sqrt(self.seeds + self.instances))


def components(influences: Sequence[FloatArray]) -> Components:
    """Split the variance of a sum of influences.

    Args:
        influences: of groups of seeds that were trained apart: each (S, N), all on the same N instances; the
            estimate is the sum over all of them. Zero where there is no value; each adds up to zero.
    """
    per_instance = sum(table.sum(axis=0) for table in influences)
    instances = _spread(np.asarray(per_instance))
    by_seed = [(_spread(table.sum(axis=1)), len(table)) for table in influences if len(table) > 1]
    seeds = sum(variance for variance, _ in by_seed)
    if not seeds:
        return Components(0.0, np.inf, instances)
    both = sum(_interaction(table) for table in influences if len(table) > 1)
    degrees = seeds**2 / sum(variance**2 / (count - 1) for variance, count in by_seed)
    return Components(seeds, degrees, max(instances - both, instances - seeds, 0.0))


def _spread(sums: FloatArray) -> float:
    """The variance of a sum over units, from the units' own sums."""
    return float(sums @ sums) * len(sums) / (len(sums) - 1) if len(sums) > 1 else 0.0


def _interaction(table: FloatArray) -> float:
    seeds, rows = table.shape
    if rows == 1:
        return 0.0
    seed_sums, row_sums = table.sum(axis=1), table.sum(axis=0)
    # The sum of squares of u_si - seed_sum_s / n - row_sum_i / S, multiplied out: the total is zero.
    squares = float(np.einsum("si,si->", table, table))
    squares -= float(seed_sums @ seed_sums) / rows + float(row_sums @ row_sums) / seeds
    factor: float = seeds * rows / ((seeds - 1) * (rows - 1))
    return float(factor * max(squares, 0.0))
