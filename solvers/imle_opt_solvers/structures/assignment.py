"""Assignments: each of n sites gets one of m >= n customers, every pair one column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers._checks import refuse_overflow
from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.structures._incidence import read_incidence
from imle_opt_solvers.structures.structure import Answer, proven, solve_usable, unchanged_rows

__all__ = ["Pairing", "recognise_assignment"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Pairing:
    """A model that is an assignment; its relaxation is integral, so its columns need not be.

    Args:
        model: the model.
        columns: (n, m), the column of each pair, n <= m.
        in_order: whether that is 0, 1, 2, ...
    """

    model: LinearModel
    columns: IntArray
    in_order: bool

    @property
    def engine(self) -> str:
        """What runs."""
        return "kernel:assignment"

    def solve(self, costs: FloatArray, bounds: RowBounds | None) -> Answer:
        """Solve every row that keeps the model's own sides and bounds."""
        from imle_opt_solvers.kernels.assignment import assign

        refuse_overflow(costs)

        def solve(rows: IntArray | slice) -> tuple[FloatArray, BoolArray]:
            if self.in_order:
                return proven(
                    assign(costs[rows].reshape(-1, *self.columns.shape)).reshape(-1, costs.shape[1])
                )
            matrices = np.take(costs[rows], self.columns, axis=1)  # in C order, unlike an index
            values = np.empty((len(matrices), self.model.num_columns))
            values[:, self.columns.ravel()] = assign(matrices).reshape(values.shape)
            return proven(values)

        usable = unchanged_rows(self.model, bounds, len(costs), sides=True)
        return solve_usable(usable, solve, self.model.num_columns)


def recognise_assignment(model: LinearModel) -> Pairing | None:
    """Return the model's structure where its rows are those of a complete assignment.

    One side's rows must be equal to 1; the other side's too, or at most 1 where they are at least as many.
    """
    if (model.row_values != 1).any() or (model.column_lower != 0).any() or (model.column_upper < 1).any():
        return None
    incidence = read_incidence(model) if model.num_rows >= 2 else None
    if incidence is None or (model.row_upper != 1).any():
        return None
    if max(incidence.tails.max(), incidence.heads.max()) >= model.num_rows:
        return None
    exact = model.row_lower == 1
    for tails, heads, sign in (
        (incidence.tails, incidence.heads, 1.0),
        (incidence.heads, incidence.tails, -1.0),
    ):
        few, many = np.flatnonzero(incidence.signs == sign), np.flatnonzero(incidence.signs == -sign)
        slack = not exact[many].any() and (model.row_lower[many] <= 0).all()
        fits = len(few) == len(many) if exact[many].all() else slack and len(few) <= len(many)
        if fits and exact[few].all() and len(few) * len(many) == model.num_columns:
            places = np.searchsorted(few, tails) * len(many) + np.searchsorted(many, heads)
            if len(np.unique(places)) == model.num_columns:
                columns = np.argsort(places)
                in_order = np.array_equal(columns, np.arange(model.num_columns))
                return Pairing(model, columns.reshape(len(few), len(many)), in_order)
    return None
