"""0-1 knapsacks whose profits vary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
from numpy.typing import ArrayLike

from imle_opt_solvers._checks import as_real_array, check_finite, check_option, check_shape
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Sense, Solution
from imle_opt_solvers.solver import Solver
from imle_opt_solvers.structured_solver import linear_solver

__all__ = ["Knapsack"]

KnapsackEngine: TypeAlias = Literal["auto", "highs"]


@final
class Knapsack(Solver):
    """The best items that fit: `max <z, costs>` over the z in {0, 1}^m with `weights z <= capacity`.

    Profits of any sign are exact; an item without profit stays out. A sum of weights fits if it exceeds the
    capacity by no more than 1e-9 of it, so that 0.1 and 0.2 fit into 0.3. Which of several optima is
    returned depends on the row alone.

    Args:
        weights: (m,), or (r, m) for r constraints; not negative.
        capacity: one number, or (r,); not negative.
        sense: `"max"`: costs are profits; `"min"`: costs are to be kept small, and the best items have
            negative ones.
        shape: the shape of one row of costs; None for `(m,)`.
        names: one per item.
        engine: `"auto"` runs a compiled branch and bound on the whole batch (one to four constraints). A row
            that needs more than 200,000 nodes goes to dynamic programming where it has one constraint of
            whole numbers and 50 million states at most (after fewer nodes, where it has few states), else to
            HiGHS. `"highs"` always takes HiGHS.
        limits: per row. `seconds` bounds the search, and HiGHS after it, each.
        on_failure: see `Solver`.

    Raises:
        ModelError: weights or capacities that are negative, not finite or of the wrong shape.
        InvalidInputError: an option that does not exist, a shape or names that do not fit.

    `instances` takes `capacity`, (*batch,) or (*batch, r). A row with a negative one is `INFEASIBLE`.

    One solve per row: exponential at worst, a few times m log m on most.

    Sources: E. Horowitz and S. Sahni (1974), "Computing partitions with applications to the knapsack
    problem"; S. Martello and P. Toth (1990), "Knapsack Problems", chapters 2 and 9 for the surrogate bound.
    """

    def __init__(
        self,
        weights: ArrayLike,
        capacity: ArrayLike,
        *,
        sense: Sense | Literal["min", "max"] = "max",
        shape: int | tuple[int, ...] | None = None,
        names: Sequence[str] | None = None,
        engine: KnapsackEngine = "auto",
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
    ) -> None:
        check_option("sense", sense, tuple(Sense))
        check_option("engine", engine, get_args(KnapsackEngine))
        self.weights, self.capacity = _read_weights(weights, capacity)
        model = _as_model(self.weights, self.capacity, Sense(sense), shape, names)
        self._inner = (
            HighsSolver(model, limits=limits)
            if engine == "highs"
            else linear_solver(model, limits, on_failure="raise")
        )
        self.limits = limits or Limits()
        traits = replace(self._inner.traits, takes_instances=("capacity",))
        super().__init__(
            self._inner.shape,
            model.sense,
            traits,
            names=None if names is None else model.predicted_names,
            on_failure=on_failure,
        )

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the batch in one call."""
        if not instances:
            return self._inner.solve_rows(costs, None, deterministic)
        sides = _read_capacities(instances["capacity"], (len(costs), len(self.weights)))
        return self._inner.solve_rows(costs, {"rhs": sides}, deterministic)


def _read_weights(weights: ArrayLike, capacity: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return weights (r, m) and capacities (r,)."""
    table, sides = as_real_array(weights, "weights"), as_real_array(capacity, "capacity")
    table = table[None] if table.ndim == 1 else table
    sides = sides.reshape(1) if sides.ndim == 0 else sides
    if table.ndim != 2 or not table.size:
        raise ModelError(f"`weights` must have shape (items,) or (constraints, items), not {table.shape}.")
    if sides.shape != table.shape[:1]:
        raise ModelError(
            f"`capacity` must be one number for each of the {len(table)} constraint(s) of `weights`; it has "
            f"shape {sides.shape}."
        )
    for name, array in (("weights", table), ("capacity", sides)):
        if not np.isfinite(array).all() or (array < 0).any():
            raise ModelError(f"`{name}` must be finite and not negative; the least is {array.min()}.")
    return table, sides


def _read_capacities(given: Any, shape: tuple[int, int]) -> FloatArray:
    array = as_real_array(given, "instances['capacity']")
    array = array[:, None] if array.ndim == 1 and shape[1] == 1 else array
    if array.shape != shape:
        raise InvalidInputError(
            f"`instances['capacity']` must have one number per row and constraint, of shape {shape}, not "
            f"{array.shape}."
        )
    check_finite(array, "instances['capacity']", row_rank=1)
    return array


def _as_model(
    weights: FloatArray,
    capacity: FloatArray,
    sense: Sense,
    shape: int | tuple[int, ...] | None,
    names: Sequence[str] | None,
) -> LinearModel:
    rows, items = weights.shape
    shape = (items,) if shape is None else check_shape("shape", shape)
    if math.prod(shape) != items:
        raise InvalidInputError(f"`shape` {shape} does not fit the {items} items.")
    if names is not None and len(names) != items:
        raise InvalidInputError(f"`names` must name each of the {items} items; it has {len(names)}.")
    return LinearModel(
        sense=sense,
        row_starts=np.arange(rows + 1) * items,
        row_columns=np.tile(np.arange(items), rows),
        row_values=weights.ravel(),
        row_lower=np.full(rows, -np.inf),
        row_upper=capacity,
        column_lower=np.zeros(items),
        column_upper=np.ones(items),
        integrality=np.ones(items, dtype=np.bool_),
        fixed_costs=np.zeros(items),
        offset=0.0,
        predicted=Selection(np.arange(items), shape),
        column_names=tuple(map(str, range(items) if names is None else names)),
        row_names=tuple(f"capacity {row}" for row in range(rows)),
    )
