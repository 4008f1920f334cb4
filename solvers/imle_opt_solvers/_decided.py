"""Decisions of a flat batch with their fixed part: what is needed to price them under any other costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from imle_opt_solvers.solution import FloatArray, Solution, dot

__all__ = ["Decided"]


@final
@dataclass(frozen=True)
class Decided:
    """The decisions that a solve took.

    Args:
        decisions: (B, m); NaN in rows without one.
        fixed: (B,) the part of the objective that the predicted costs have no share in.
        uncertainty: (B,) the rounding of `fixed`.
    """

    decisions: FloatArray
    fixed: FloatArray
    uncertainty: FloatArray

    @classmethod
    def of(cls, costs: FloatArray, solution: Solution) -> Self:
        """Read a solution under the costs (B, m) that it was solved with: `fixed = objective - <c, z>`.

        A difference within its own rounding is no fixed part: predicted costs may be many orders of magnitude
        above the true ones.
        """
        decisions = solution.decisions.reshape(costs.shape)
        fixed = solution.objectives.ravel() - dot(costs, decisions)
        rounding = costs.shape[1] * np.finfo(np.float64).eps * dot(np.abs(costs), np.abs(decisions))
        none = np.abs(fixed) <= rounding
        return cls(decisions, np.where(none, 0.0, fixed), np.where(none, 0.0, rounding))

    def objectives(self, costs: FloatArray) -> FloatArray:
        """Return `<costs, z> + fixed`, (B,)."""
        return dot(costs, self.decisions) + self.fixed

    def take(self, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Self:
        """Return some of the rows."""
        return type(self)(self.decisions[rows], self.fixed[rows], self.uncertainty[rows])

    def magnitude(self, costs: FloatArray, other: Self) -> FloatArray:
        """Return the scale that objectives of these and the other decisions are known to, (B,).

        `sum_i |c_i| max(|z_i|, |z'_i|) + max_i |c_i| + |fixed part|`: the magnitudes that they are sums of,
        and one unit of the dearest variable, because solvers keep constraints to an absolute tolerance.
        """
        sizes: FloatArray = np.abs(costs)
        entries = np.maximum(np.abs(self.decisions), np.abs(other.decisions))
        fixed = np.maximum(np.abs(self.fixed), np.abs(other.fixed))
        return np.asarray(dot(sizes, entries) + sizes.max(axis=1, initial=0.0) + fixed)
