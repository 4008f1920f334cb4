"""How long does a solver take, all calls together?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import final

from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["TimedSolver"]


@final
class TimedSolver(Solver):
    """Another solver, with a clock: its answers and its traits are the other one's.

    Args:
        solver: the solver.

    Attributes:
        seconds: wall clock of all its solves so far. Solves that overlap, in several threads, add up.
        rows: how many rows they were.
    """

    def __init__(self, solver: Solver) -> None:
        super().__init__(
            solver.shape, solver.sense, solver.traits, names=solver.names, on_failure=solver.on_failure
        )
        self.solver = solver
        self.seconds = 0.0
        self.rows = 0

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """The other solver's advice."""
        return self.solver.failure_advice

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Let the other solver solve, and count."""
        began = time.perf_counter()
        try:
            return self.solver.solve_rows(costs, instances, deterministic)
        finally:
            self.seconds += time.perf_counter() - began
            self.rows += len(costs)
