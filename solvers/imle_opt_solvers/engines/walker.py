"""The relaxation of a `LinearModel`, solved for a whole batch in one compiled call where that proves optima.

See `kernels.simplex` for what is proven, and how. Under `deterministic` a row counts only if its optimum is
unique and its point exact: then no solver on no path can return another one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.linear_model import INFINITE, LinearModel
from imle_opt_solvers.row_answer import scaled_rows
from imle_opt_solvers.solution import FloatArray

if TYPE_CHECKING:
    from imle_opt_solvers.kernels.simplex import Basis, Polytope

__all__ = [
    "LARGEST_WALK",
    "SCALE_EXPONENT",
    "SKETCH",
    "WORK",
    "StartBasis",
    "Walked",
    "Walker",
    "basis_of",
    "pivot_work",
    "polytope_of",
]

LARGEST_WALK = 256
"""Constraints: the walk keeps a dense inverse of the basis."""
SCALE_EXPONENT = 0
SKETCH = 8
"""Distances of rows are measured in so many random directions (Johnson and Lindenstrauss, 1984)."""
WORK = 2e7
"""Multiplications in one compiled call, some hundredths of a second: interrupts and limits wait so long."""


@final
@dataclass(frozen=True)
class StartBasis:
    """A feasible basis.

    Args:
        basics: (rows,) basic columns; slack i of constraint i is column n + i.
        state: (n + rows,) as `kernels.simplex.Basis`.
    """

    basics: NDArray[np.int64]
    state: NDArray[np.int8]

    @classmethod
    def of(
        cls, basic: NDArray[np.bool_], at_upper: NDArray[np.bool_], lower: FloatArray, upper: FloatArray
    ) -> StartBasis:
        """Return the basis that has these basic columns.

        Args:
            basic: (n + rows,) which columns are basic.
            at_upper: (n + rows,) which of the others are at their upper bound.
            lower: (n + rows,) lower bounds.
            upper: (n + rows,) upper bounds.
        """
        bounded_below, bounded_above = lower > -INFINITE, upper < INFINITE
        state = np.where(bounded_above & (at_upper | ~bounded_below), 2, np.where(bounded_below, 1, 3))
        state[lower == upper] = 4
        state[basic] = 0
        return cls(np.flatnonzero(basic).astype(np.int64), state.astype(np.int8))


@final
@dataclass(frozen=True)
class Walked:
    """What a walk found.

    Args:
        points: (B, n); only those of `optimal` rows mean something.
        optimal: (B,) proven optimal for the relaxation.
        certain: (B,) the only optimum.
        exact: (B,) whole numbers that meet the constraints to the last bit.
        late: (B,) given up because they took too long.
    """

    points: FloatArray
    optimal: NDArray[np.bool_]
    certain: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    late: NDArray[np.bool_]


@final
class Walker:
    """The relaxation of one model in one thread, at the optimum of the last row.

    Args:
        model: what to solve; its integrality plays no part.
        start: a feasible basis of it.
    """

    def __init__(self, model: LinearModel, start: StartBasis) -> None:
        from imle_opt_solvers.kernels import chain, simplex  # numba is imported by the first walk only

        self._kernel = simplex
        self._chain = chain.nearest_chain
        columns, rows = model.num_columns, model.num_rows
        self._polytope = polytope_of(model)
        self._start, self._current = basis_of(start), basis_of(start)
        self._most_pivots = 4 * (rows + 10)
        self._budget = max(1, int(WORK / pivot_work(model)))
        self._sketch = np.random.default_rng(0).normal(size=(columns, SKETCH))
        self.walk(np.zeros((0, columns)))  # compiles, or loads what was compiled

    def walk(self, costs: FloatArray, seconds: float | None = None) -> Walked:
        """Minimise each row of `costs` (B, n), each from the optimum of the nearest one not yet solved.

        Args:
            costs: (B, n), a batch so small that B^2 distances cost little.
            seconds: wall clock after which a row is given up.
        """
        kernel, costs = self._kernel, scaled_rows(costs, SCALE_EXPONENT)
        order = self._chain(costs @ self._sketch, max(1, len(costs)))
        ordered = costs[order]
        points, verdicts = np.zeros(ordered.shape), np.zeros(len(order), dtype=np.int64)
        late = np.zeros(len(order), dtype=bool)
        progress = np.zeros(2, dtype=np.int64)
        row, began = 0, time.perf_counter()
        while True:
            kernel.walk(
                ordered,
                self._polytope,
                self._current,
                self._start,
                self._most_pivots,
                self._budget,
                progress,
                points,
                verdicts,
            )
            if progress[0] == len(order):
                break
            if progress[0] > row:
                row, began = int(progress[0]), time.perf_counter()
            elif seconds is not None and time.perf_counter() - began > seconds:
                late[row] = True
                self._current.pivots[0] = -1
                progress[:] = row + 1, 0
                row, began = row + 1, time.perf_counter()
        back = np.argsort(order)
        points, verdicts = points[back], verdicts[back]
        return Walked(
            points,
            (verdicts & kernel.OPTIMAL) > 0,
            (verdicts & kernel.UNIQUE) > 0,
            (verdicts & kernel.EXACT) > 0,
            late[back],
        )


def polytope_of(model: LinearModel) -> Polytope:
    """Return the relaxation as the kernels take it."""
    from imle_opt_solvers.kernels import simplex

    order = np.argsort(model.row_columns, kind="stable")
    starts = np.zeros(model.num_columns + 1, dtype=np.int64)
    np.cumsum(np.bincount(model.row_columns, minlength=model.num_columns), out=starts[1:])
    row_of_entry = np.repeat(np.arange(model.num_rows, dtype=np.int64), np.diff(model.row_starts))
    return simplex.Polytope(
        starts,
        row_of_entry[order],
        np.ascontiguousarray(model.row_values[order], dtype=np.float64),
        _infinite(np.concatenate([model.column_lower, model.row_lower])),
        _infinite(np.concatenate([model.column_upper, model.row_upper])),
    )


def basis_of(start: StartBasis) -> Basis:
    """Return a basis as the kernels change it, its inverse yet to be computed."""
    from imle_opt_solvers.kernels import simplex

    rows = len(start.basics)
    return simplex.Basis(
        start.basics.copy(),
        start.state.copy(),
        np.zeros((rows, rows)),
        np.zeros(len(start.state)),
        np.full(1, -1, dtype=np.int64),
    )


def pivot_work(model: LinearModel) -> float:
    """Return about how many multiplications a pivot takes."""
    rows = model.num_rows
    return rows * rows * (1 + rows / 50) + len(model.row_values) + model.num_columns


def _infinite(sides: FloatArray) -> FloatArray:
    return np.where(np.abs(sides) >= INFINITE, np.copysign(np.inf, sides), sides)
