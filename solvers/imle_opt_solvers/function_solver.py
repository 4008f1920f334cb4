"""Any function from costs to decisions, as a solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution, Status, dot
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["FunctionSolver"]


@final
class FunctionSolver(Solver):
    """A user's own function `costs -> decision`, called once per row.

    What it returns is taken as optimal: imle-opt cannot prove it. Its decisions are checked for shape and
    finiteness, nothing else.

    Args:
        function: takes one row of costs, `shape`, in the function's own sense; returns a decision, `shape`.
            It must not keep the array that it is given.
        shape: the shape of one row.
        sense: `"min"` or `"max"`: what the function does with its costs.
        batched: the function takes and returns all rows at once, (B, *shape).
        on_failure: see `Solver`.

    Raises:
        InvalidInputError: no function, the sense is neither, or (from `solve`) the function returned
            something else than finite decisions of the right shape.
    """

    def __init__(
        self,
        function: Callable[[FloatArray], ArrayLike],
        shape: int | tuple[int, ...],
        sense: Sense | str,
        *,
        batched: bool = False,
        on_failure: OnFailure = "raise",
    ) -> None:
        if not callable(function):
            raise InvalidInputError(f"`function` must be a function, not {type(function).__name__}.")
        if sense not in tuple(Sense):
            raise InvalidInputError(f"`sense` must be 'min' or 'max', not {sense!r}.")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        super().__init__(shape, Sense(sense), Traits(exact=False, engine="function"), on_failure=on_failure)
        self.function = function
        self.batched = batched

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Call the function on each row, or once on all of them."""
        rows = len(costs)
        if self.batched:
            decisions = self._checked(self.function(costs.copy()), costs.shape)
        else:
            decisions = np.stack([self._checked(self.function(row.copy()), self.shape) for row in costs])
        objectives = dot(costs.reshape(rows, -1), decisions.reshape(rows, -1))
        return Solution(decisions, objectives, (Status.OPTIMAL,) * rows, np.full(rows, np.nan), 0.0)

    def _checked(self, returned: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
        name = getattr(self.function, "__name__", repr(self.function))
        try:
            decisions = np.asarray(returned)
        except ValueError as error:
            raise InvalidInputError(f"The function {name} returned something ragged: {error}") from error
        if decisions.dtype.kind not in "fiub" or decisions.shape != shape:
            raise InvalidInputError(
                f"The function {name} must return real numbers of shape {shape}; it returned dtype "
                f"{decisions.dtype} of shape {decisions.shape}."
            )
        decisions = decisions.astype(np.float64)
        if not np.isfinite(decisions).all():
            raise InvalidInputError(f"The function {name} returned NaN or infinite decisions.")
        return decisions
