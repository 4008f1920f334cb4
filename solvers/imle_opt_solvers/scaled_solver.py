"""Costs in another unit than the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["ScaledSolver"]


@final
class ScaledSolver(Solver):
    """Another solver, whose costs and objectives are counted in units of `unit`.

        z(costs) = the other's decision under unit * costs

    The unit matters to training (noise and learning rates are then numbers near 1 whatever the currency) and,
    where a model also has fixed costs, to the decision: these stay in the model's own unit.

    Args:
        solver: the solver.
        unit: positive.

    Raises:
        InvalidInputError: a unit that is not positive and finite.
    """

    def __init__(self, solver: Solver, unit: float) -> None:
        if not (np.isfinite(unit) and unit > 0):
            raise InvalidInputError(f"`unit` must be positive and finite, not {unit!r}.")
        super().__init__(
            solver.shape, solver.sense, solver.traits, names=solver.names, on_failure=solver.on_failure
        )
        self.solver = solver
        self.unit = unit

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """The other solver's advice."""
        return self.solver.failure_advice

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Let the other solver solve, in its own unit."""
        solution = self.solver.solve_rows(self.unit * costs, instances, deterministic)
        return replace(solution, objectives=solution.objectives / self.unit)
