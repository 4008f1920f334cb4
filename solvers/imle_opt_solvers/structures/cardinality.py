"""Choosing k of n: `sum z = k` over 0 <= z <= 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.structures.structure import (
    Answer,
    has_unit_bounds,
    proven,
    solve_usable,
    unchanged_rows,
)

__all__ = ["Cardinality", "recognise_cardinality"]


@final
@dataclass(frozen=True, eq=False)
class Cardinality:
    """A model that chooses `k` of its columns, integer or not: the vertices of its relaxation are integral.

    Args:
        model: the model.
        k: how many columns are 1.
    """

    model: LinearModel
    k: int

    @property
    def engine(self) -> str:
        """What runs."""
        return "kernel:top-k"

    def solve(self, costs: FloatArray, bounds: RowBounds | None) -> Answer:
        """Take the k cheapest columns of every row that keeps the model's own sides and bounds."""
        from imle_opt_solvers.kernels.selection import top_k

        return solve_usable(
            unchanged_rows(self.model, bounds, len(costs), sides=True),
            lambda rows: proven(top_k(-costs[rows], self.k)),
            self.model.num_columns,
        )


def recognise_cardinality(model: LinearModel) -> Cardinality | None:
    """Return the model's structure where its one row is `a z_1 + ... + a z_n = a k` over all columns."""
    if model.num_rows != 1 or not has_unit_bounds(model):
        return None
    if len(np.unique(model.row_columns)) < model.num_columns or len(model.row_columns) > model.num_columns:
        return None
    side, coefficient = float(model.row_lower[0]), float(model.row_values[0])
    if side != model.row_upper[0] or coefficient == 0 or (model.row_values != coefficient).any():
        return None
    k = side / coefficient
    if k != round(k) or not 0 <= k <= model.num_columns:
        return None
    return Cardinality(model, round(k))
