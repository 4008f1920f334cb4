"""A mixed-integer model, solved for a whole batch in one compiled call where that proves optima.

The batch is put in an order in which neighbours resemble each other, and one tree of branch and bound is kept
through it; see `kernels.branching`. Under `deterministic` a row counts only if its optimum is unique, and the
model's data such that a solver's tolerances play no part.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from imle_opt_solvers.engines.walker import (
    SCALE_EXPONENT,
    SKETCH,
    WORK,
    StartBasis,
    Walked,
    basis_of,
    pivot_work,
    polytope_of,
)
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import exact_integers, scaled_rows
from imle_opt_solvers.solution import FloatArray

__all__ = ["Brancher"]

_FEWEST_NODES, _MOST_NODES = 16, 1024
_MOST_BYTES = 2**24
"""Of all nodes, each with an inverse of its own."""
_ROW_WORK = 5 * WORK
"""Of one row, whose first leads from any vertex to its optimum."""
_MULTIPLICATIONS_PER_SECOND = 1e9
_INTEGRALITY_TOLERANCE = 1e-6
_GIVES_UP_AFTER = 4
"""Rows without a proof, one after the other: the model is not for this."""


@final
class Brancher:
    """One mixed-integer model in one thread, with the tree of the last row.

    Args:
        model: what to solve.
        start: a feasible basis of its relaxation.
    """

    def __init__(self, model: LinearModel, start: StartBasis) -> None:
        from imle_opt_solvers.kernels import branching, chain, simplex  # numba is imported by the first batch

        self._search, self._flags, self._chain = branching.search, simplex, chain.nearest_chain
        self._integer = np.ascontiguousarray(model.integrality)
        self._polytope, self._start = polytope_of(_with_whole_bounds(model)), basis_of(start)
        columns, rows = model.num_columns, model.num_rows
        node = 8 * (rows * rows + 4 * (columns + rows))
        nodes = max(_FEWEST_NODES, min(_MOST_NODES, _MOST_BYTES // node))
        self._tree = branching.Tree(
            lower=np.zeros((nodes, columns + rows)),
            upper=np.zeros((nodes, columns + rows)),
            basics=np.zeros((nodes, rows), dtype=np.int64),
            state=np.zeros((nodes, columns + rows), dtype=np.int8),
            inverse=np.zeros((nodes, rows, rows)),
            values=np.zeros((nodes, columns + rows)),
            pivots=np.zeros((nodes, 1), dtype=np.int64),
            used=np.zeros(nodes, dtype=np.bool_),
            column=np.full(nodes, -1),
            halves=np.full((nodes, 2), -1),
            bounds=np.zeros(nodes),
            proven=np.zeros(nodes, dtype=np.int64),
        )
        self._step_work = pivot_work(model)
        self._sketch = np.random.default_rng(0).normal(size=(columns, SKETCH))
        self.walk(np.zeros((0, columns)))  # compiles, or loads what was compiled

    def walk(self, costs: FloatArray, seconds: float | None = None) -> Walked:
        """Minimise each row of `costs` (B, n), each from the tree of the nearest one not yet solved.

        Args:
            costs: (B, n), a batch so small that B^2 distances cost little.
            seconds: about how long one row may take; a row is given up after a tenth of a second anyway.
        """
        work = _ROW_WORK if seconds is None else min(_ROW_WORK, seconds * _MULTIPLICATIONS_PER_SECOND)
        most_steps = max(1, int(work / self._step_work))
        costs = scaled_rows(costs, SCALE_EXPONENT)
        order = self._chain(costs @ self._sketch, max(1, len(costs)))
        ordered = costs[order]
        points, verdicts = np.zeros(ordered.shape), np.zeros(len(order), dtype=np.int64)
        progress = np.zeros(2, dtype=np.int64)
        while True:
            self._search(
                ordered,
                self._polytope,
                self._tree,
                self._start,
                self._integer,
                most_steps,
                most_steps,
                progress,
                points,
                verdicts,
            )
            if progress[0] == len(order) or progress[1] >= _GIVES_UP_AFTER:
                break
        back = np.argsort(order)
        points, verdicts = exact_integers(points[back], self._integer), verdicts[back]
        return Walked(
            points,
            optimal=(verdicts & self._flags.OPTIMAL) > 0,
            certain=(verdicts & self._flags.UNIQUE) > 0,
            exact=(verdicts & self._flags.EXACT) > 0,
            late=np.zeros(len(order), dtype=np.bool_),
        )


def _with_whole_bounds(model: LinearModel) -> LinearModel:
    """Return the model with whole numbers for bounds of its integer columns: no node can branch on others.

    A bound that misses a whole number by as little as HiGHS allows is that number.
    """
    integer = model.integrality
    lower = np.where(integer, np.ceil(model.column_lower - _INTEGRALITY_TOLERANCE), model.column_lower)
    upper = np.where(integer, np.floor(model.column_upper + _INTEGRALITY_TOLERANCE), model.column_upper)
    return model if (lower > upper).any() else replace(model, column_lower=lower, column_upper=upper)
