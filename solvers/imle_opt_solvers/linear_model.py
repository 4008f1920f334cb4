"""A linear or mixed-integer model as arrays: what adapters make of a user's model, and what engines drive.

    optimise  <costs, x[predicted]> + <fixed_costs, x> + offset
    over      row_lower <= A x <= row_upper,  column_lower <= x <= column_upper,  x_j integer where asked

`fixed_costs` is zero on the predicted columns: their coefficients are what a solve is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import ModelError
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["INFINITE", "LinearModel", "Selection", "select_columns"]

IntArray = NDArray[np.int64]

INFINITE = 1e20
"""Solvers take sides from here on for infinite."""


@dataclass(frozen=True)
class Selection:
    """Which columns carry predicted costs, in which order and shape.

    Args:
        columns: (m,) column indices, in the row-major order of `shape`.
        shape: the shape of one instance's costs.
    """

    columns: IntArray
    shape: tuple[int, ...]


@dataclass(frozen=True)
class LinearModel:
    """A linear or mixed-integer model with some costs left open.

    Args:
        sense: the direction of the objective.
        row_starts: (rows + 1,) CSR row pointers of A.
        row_columns: (nonzeros,) CSR column indices of A.
        row_values: (nonzeros,) CSR values of A.
        row_lower: (rows,) lower sides, -inf where there is none.
        row_upper: (rows,) upper sides, inf where there is none.
        column_lower: (columns,) lower bounds.
        column_upper: (columns,) upper bounds.
        integrality: (columns,) True where x must be integer.
        fixed_costs: (columns,) the model's own objective coefficients, zero on the predicted columns.
        offset: the objective's constant.
        predicted: the columns whose costs are predicted.
        column_names: one name per column.
        row_names: one name per row.

    Raises:
        ModelError: crossed bounds or sides, a lower one of +inf or upper one of -inf, or nothing to predict.
    """

    sense: Sense
    row_starts: IntArray
    row_columns: IntArray
    row_values: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray
    integrality: NDArray[np.bool_]
    fixed_costs: FloatArray
    offset: float
    predicted: Selection
    column_names: tuple[str, ...]
    row_names: tuple[str, ...]

    def __post_init__(self) -> None:
        _refuse_crossed(self.column_lower, self.column_upper, self.column_names, "variable")
        _refuse_crossed(self.row_lower, self.row_upper, self.row_names, "constraint")
        if self.predicted.columns.size == 0:
            raise ModelError("No variable's cost is predicted: `variables` is empty.")
        for what, array in (("coefficient", self.row_values), ("objective coefficient", self.fixed_costs)):
            if not np.isfinite(array).all():
                raise ModelError(f"The model holds a NaN or infinite {what}: mend it before wrapping.")

    @property
    def num_columns(self) -> int:
        """Number of variables."""
        return len(self.column_lower)

    @property
    def num_rows(self) -> int:
        """Number of constraints."""
        return len(self.row_lower)

    @property
    def is_mixed_integer(self) -> bool:
        """Whether some variable must be integer."""
        return bool(self.integrality.any())

    @property
    def predicted_binary(self) -> bool:
        """Whether every predicted variable is 0 or 1."""
        columns = self.predicted.columns
        return bool(
            self.integrality[columns].all()
            and (self.column_lower[columns] >= 0).all()
            and (self.column_upper[columns] <= 1).all()
        )

    @property
    def predicted_names(self) -> tuple[str, ...]:
        """The names of the predicted columns, in the order of the costs."""
        return tuple(self.column_names[column] for column in self.predicted.columns)

    def total_costs(self, costs: FloatArray) -> FloatArray:
        """Return the whole objective row: predicted costs (m,) placed among the fixed ones, (columns,)."""
        total = self.fixed_costs.copy()
        total[self.predicted.columns] = costs
        return total

    def activities(self, values: FloatArray) -> FloatArray:
        """Return A x for x = `values` (columns,)."""
        rows = np.repeat(np.arange(self.num_rows), np.diff(self.row_starts))
        products = self.row_values * values[self.row_columns]
        return np.bincount(rows, weights=products, minlength=self.num_rows).astype(np.float64)

    def relaxed(self) -> LinearModel:
        """Return the linear relaxation: the same model, no variable integer."""
        return replace(self, integrality=np.zeros(self.num_columns, dtype=np.bool_))


def select_columns(
    variables: object,
    *,
    column_of: Callable[[Any], int | None],
    objective: FloatArray,
    column_names: Sequence[str],
) -> Selection:
    """Resolve the user's `variables=` to columns of the model.

    Args:
        variables: None (all with an objective coefficient, in the model's order), a name or variable object,
            or a dict, list (nested too) or array of them. A dict gives its values' order and shape `(len,)`.
        column_of: the column of one variable object of the library; None where it is not in the model.
        objective: (columns,) the model's own objective coefficients.
        column_names: one name per column; a string in `variables` is looked up here.

    Returns:
        The columns, in the order and shape in which they were given.

    Raises:
        ModelError: no objective to take them from, a variable that is not in the model, one named twice, or a
            ragged nesting.
    """
    if variables is None:
        columns = np.flatnonzero(objective).astype(np.int64)
        if columns.size == 0:
            raise ModelError(
                "The model has no objective, so there are no costs to predict. Set one, or name the "
                "variables whose costs are predicted with `variables=`."
            )
        return Selection(columns, (len(columns),))
    items = list(variables.values()) if isinstance(variables, Mapping) else variables
    leaves, shape = _flatten_nested(items)
    by_name = _unique_positions(column_names)
    columns = np.array([_column(leaf, column_of, by_name) for leaf in leaves], dtype=np.int64)
    _refuse_repeated(columns, column_names)
    return Selection(columns, shape)


def _column(leaf: object, column_of: Callable[[Any], int | None], by_name: Mapping[str, int | None]) -> int:
    column = by_name.get(leaf) if isinstance(leaf, str) else column_of(leaf)
    if column is not None:
        return column
    if isinstance(leaf, str) and leaf in by_name:
        raise ModelError(f"Several variables are called {leaf!r}: pass the variable objects instead.")
    raise ModelError(
        f"`variables` names {str(leaf)!r}, which is not a variable of this model. It has "
        f"{len(by_name)}: {_some(by_name)}."
    )


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def _unique_positions(names: Sequence[str]) -> dict[str, int | None]:
    positions: dict[str, int | None] = {}
    for column, name in enumerate(names):
        positions[name] = None if name in positions else column
    return positions


def _flatten_nested(items: object) -> tuple[list[object], tuple[int, ...]]:
    """Return the leaves of nested lists, tuples or arrays in row-major order, and their shape."""
    if isinstance(items, np.ndarray):
        return list(items.ravel()), items.shape
    if not isinstance(items, (list, tuple)):
        return [items], ()
    parts = [_flatten_nested(item) for item in items]
    shapes = {shape for _, shape in parts}
    if len(shapes) > 1:
        raise ModelError(f"`variables` is ragged: its parts have shapes {sorted(shapes)}. Make them equal.")
    inner = shapes.pop() if shapes else ()
    return [leaf for leaves, _ in parts for leaf in leaves], (len(parts), *inner)


def _refuse_repeated(columns: IntArray, names: Sequence[str]) -> None:
    values, counts = np.unique(columns, return_counts=True)
    if (counts > 1).any():
        raise ModelError(
            f"`variables` names {names[values[counts > 1][0]]!r} twice: each variable has one cost."
        )


def _refuse_crossed(lower: FloatArray, upper: FloatArray, names: Sequence[str], what: str) -> None:
    crossed = np.flatnonzero(~(lower <= upper) | (lower >= INFINITE) | (upper <= -INFINITE))
    if crossed.size:
        first = int(crossed[0])
        raise ModelError(
            f"The {what} {names[first]!r} has lower side {lower[first]} and upper side {upper[first]}: "
            f"no decision can satisfy both."
        )
