"""Columns that a row only defines: `y = d + sum_k factor_k x_k`, such as the visit of a node as its inflow.

Put in their place, they leave a smaller model, whose costs are `c_k + sum_y factor_k c_y`. That one ignores
the bounds of y: where its optimum meets them all the same, it is optimal for the model; where not, the row is
left to the linear engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.linear_instances import RowBounds
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.structures.structure import Answer, Structure

__all__ = ["Definitions", "Substituted", "find_definitions"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_TOLERANCE = 1e-9
_LEAST_ENTRIES = 3
"""A column with two entries may be an arc of a network, whose rows define nothing."""


class _Layer(NamedTuple):
    """Terms `target[places] += factors * source[origins]`, no place twice."""

    places: IntArray
    origins: IntArray
    factors: FloatArray


@final
@dataclass(frozen=True, eq=False)
class Definitions:
    """The definitions that a model holds.

    Args:
        model: the model.
        rows: (d,) the rows that define a column.
        columns: (d,) the columns that they define.
        pivots: (d,) their coefficients there.
        kept_rows: the other rows.
        kept_columns: the other columns.
        to_costs: from the costs of what is defined to those of what is kept.
        to_values: from the values of what is kept to those of what is defined.
    """

    model: LinearModel
    rows: IntArray
    columns: IntArray
    pivots: FloatArray
    kept_rows: IntArray
    kept_columns: IntArray
    to_costs: tuple[_Layer, ...]
    to_values: tuple[_Layer, ...]

    def remaining(self) -> LinearModel:
        """Return the model without the definitions, all of its costs open."""
        model, rows, columns = self.model, self.kept_rows, self.kept_columns
        sizes = np.diff(model.row_starts)
        kept = np.isin(np.repeat(np.arange(model.num_rows), sizes), rows)
        return replace(
            model,
            row_starts=np.concatenate([[0], np.cumsum(sizes[rows])]).astype(np.int64),
            row_columns=np.searchsorted(columns, model.row_columns[kept]),
            row_values=model.row_values[kept],
            row_lower=model.row_lower[rows],
            row_upper=model.row_upper[rows],
            column_lower=model.column_lower[columns],
            column_upper=model.column_upper[columns],
            integrality=model.integrality[columns],
            fixed_costs=np.zeros(len(columns)),
            offset=0.0,
            predicted=Selection(np.arange(len(columns)), (len(columns),)),
            column_names=tuple(model.column_names[column] for column in columns),
            row_names=tuple(model.row_names[row] for row in rows),
        )

    def costs(self, costs: FloatArray) -> FloatArray:
        """Return the costs of what is kept (B, k) for those of all columns (B, columns)."""
        return _added(costs[:, self.kept_columns], costs[:, self.columns], self.to_costs)

    def values(self, kept: FloatArray, bounds: RowBounds) -> tuple[FloatArray, BoolArray]:
        """Return the values of all columns (B, columns), and which rows (B,) meet all bounds.

        Args:
            kept: (B, k), the values of what is kept.
            bounds: the sides and bounds of each row.
        """
        model, columns = self.model, self.columns
        lower = _own_or(bounds.row_lower, model.row_lower)[..., self.rows]
        upper = _own_or(bounds.row_upper, model.row_upper)[..., self.rows]
        constants = np.broadcast_to(lower / self.pivots, (len(kept), len(columns)))
        defined = _added(constants.copy(), kept, self.to_values)
        least = _own_or(bounds.column_lower, model.column_lower)[..., columns]
        most = _own_or(bounds.column_upper, model.column_upper)[..., columns]
        whole = np.abs(defined - np.round(defined)) <= _TOLERANCE
        meets = (defined >= least - _TOLERANCE) & (defined <= most + _TOLERANCE) & (lower == upper)
        meets &= whole | ~model.integrality[columns]
        values = np.empty((len(kept), model.num_columns))
        values[:, self.kept_columns] = kept
        values[:, columns] = np.where(whole, np.round(defined), defined)
        return values, np.asarray(meets.all(axis=1))


@final
@dataclass(frozen=True, eq=False)
class Substituted:
    """A model with definitions, the rest of which has a structure.

    Args:
        definitions: what was put in its place.
        inner: the structure of what remains.
    """

    definitions: Definitions
    inner: Structure

    @property
    def engine(self) -> str:
        """What runs."""
        return self.inner.engine

    def solve(self, costs: FloatArray, bounds: RowBounds | None) -> Answer:
        """Solve what remains, and check the bounds of what was put in its place."""
        found = self.definitions
        rest = None if bounds is None else _taken(bounds, found.kept_rows, found.kept_columns)
        answer = self.inner.solve(found.costs(costs), rest)
        values, meets = found.values(answer.values, bounds or RowBounds(None, None, None, None))
        values[~meets] = np.nan
        return Answer(values, answer.proven & meets)


def find_definitions(model: LinearModel) -> Definitions | None:
    """Return the definitions of `model`, or None where it has none.

    A row defines the one column that has an entry in it alone, if all other columns of the row have three
    entries at least.
    """
    index = np.repeat(np.arange(model.num_rows), np.diff(model.row_starts))
    counts = np.bincount(model.row_columns, minlength=model.num_columns)[model.row_columns]
    singles = np.bincount(index[counts == 1], minlength=model.num_rows)
    few = np.bincount(index[(counts > 1) & (counts < _LEAST_ENTRIES)], minlength=model.num_rows)
    defining = (singles == 1) & (few == 0) & (model.row_lower == model.row_upper)
    heads = np.flatnonzero((counts == 1) & defining[index] & (model.row_values != 0))
    if not heads.size or len(heads) == model.num_columns:
        return None
    rows, columns, pivots = index[heads], model.row_columns[heads], model.row_values[heads]
    kept_columns = np.setdiff1d(np.arange(model.num_columns), columns)
    terms = np.flatnonzero((counts > 1) & np.isin(index, rows))
    places = np.searchsorted(rows, index[terms])
    others = np.searchsorted(kept_columns, model.row_columns[terms])
    factors = -model.row_values[terms] / pivots[places]
    return Definitions(
        model,
        rows,
        columns,
        pivots,
        np.setdiff1d(np.arange(model.num_rows), rows),
        kept_columns,
        _layers(others, places, factors),
        _layers(places, others, factors),
    )


def _layers(places: IntArray, origins: IntArray, factors: FloatArray) -> tuple[_Layer, ...]:
    """Part terms into layers that have no place twice."""
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], places[order])
    depths = np.arange(len(places)) - first
    parts = [order[depths == depth] for depth in range(int(depths.max(initial=-1)) + 1)]
    return tuple(_Layer(places[part], origins[part], factors[part]) for part in parts)


def _added(target: FloatArray, source: FloatArray, layers: tuple[_Layer, ...]) -> FloatArray:
    """Add the terms of all layers to `target` (B, t), which is written to."""
    for layer in layers:
        target[:, layer.places] += layer.factors * source[:, layer.origins]
    return target


def _own_or(given: FloatArray | None, own: FloatArray) -> FloatArray:
    return own if given is None else given


def _taken(bounds: RowBounds, rows: IntArray, columns: IntArray) -> RowBounds:
    """Return the sides of some rows and the bounds of some columns."""

    def some(array: FloatArray | None, places: IntArray) -> FloatArray | None:
        return None if array is None else array[:, places]

    return RowBounds(
        some(bounds.row_lower, rows),
        some(bounds.row_upper, rows),
        some(bounds.column_lower, columns),
        some(bounds.column_upper, columns),
    )
