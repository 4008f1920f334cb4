"""Robust labels: true costs blended with those of the nearest neighbours, and the mean of their decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.spatial import KDTree

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.solver import Solver

__all__ = ["RobustLabels", "knn_labels"]


@final
@dataclass(frozen=True, eq=False)
class RobustLabels:
    """Labels that stand for a neighbourhood of each row.

    Args:
        costs: the mean of the blended costs, (rows, *shape), in the model's own sense.
        solutions: the mean of their optimal decisions, (rows, *shape): in the hull of the decisions.
        objectives: the mean of their optimal objectives, (rows,).
    """

    costs: FloatArray
    solutions: FloatArray
    objectives: FloatArray


def knn_labels(
    features: FloatArray, costs: FloatArray, solver: Solver, *, k: int = 10, weight: float = 0.5
) -> RobustLabels:
    """Return labels in which each row's costs are blended with those of its k nearest neighbours.

        c_ij = weight c_i + (1 - weight) c_n(i,j),   j = 1..k,   n(i,j) the j-th nearest other row
        costs_i = mean over j of c_ij,   solutions_i = mean over j of z*(c_ij)

    One row of costs is a noisy sight of what its features entail; decisions that are best for the blend are
    best for what is likely there. For losses that take costs, solutions or both: `SPOPlus`, `ExplicitMLE`,
    `FenchelYoung` (whose labels may be means), and the others.

    Args:
        features: (rows, features), finite, on comparable scales: distances are Euclidean.
        costs: true costs, (rows, *shape), in the model's own sense.
        solver: what decides.
        k: neighbours, at most rows - 1.
        weight: of the row's own costs, in [0, 1]; 1 is no blend.

    Raises:
        InvalidInputError: an option out of its range, features or costs that are not finite or of different
            length.
        SolveError: a blend without a proven optimum, where the solver's policy is to raise.

    Cost: k solves per row, once.

    Source: Schutte, Postek and Yorke-Smith, IJCAI 2024, arXiv 2310.04328 (the kNN-robust losses).
    """
    table = np.asarray(features, dtype=np.float64)
    own = np.asarray(costs, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise InvalidInputError("`features` must be a finite table (rows, features).")
    if len(own) != len(table):
        raise InvalidInputError(
            f"`costs` must have one row per row of `features`: {len(own)} and {len(table)} were given."
        )
    if not 1 <= k < len(table):
        raise InvalidInputError(f"`k` must lie in [1, {len(table) - 1}] for {len(table)} rows, not {k!r}.")
    if not 0 <= weight <= 1:
        raise InvalidInputError(f"`weight` must lie in [0, 1], not {weight!r}.")
    blended = weight * own[:, None] + (1 - weight) * own[_neighbours(table, k)]
    solution = solver.solve(blended)
    return RobustLabels(blended.mean(1), solution.decisions.mean(1), solution.objectives.mean(1))


def _neighbours(table: FloatArray, k: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the k nearest other rows of each row, (rows, k)."""
    _, found = KDTree(table).query(table, k=k + 1)
    nearest = np.asarray(found, dtype=np.int64)
    # Of several rows with the same features, a row itself need not come first, nor be there at all.
    is_self = nearest == np.arange(len(table))[:, None]
    is_self[:, -1] |= ~is_self.any(1)
    others: np.ndarray[tuple[int, int], np.dtype[np.int64]] = nearest[~is_self].reshape(len(table), k)
    return others
