"""A linear model whose structure was found: its kernel, and HiGHS for the rows that the kernel leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from imle_opt_solvers.engines.highs import REMEMBERED, HighsSolver
from imle_opt_solvers.instances import Instances, take_rows
from imle_opt_solvers.linear_instances import expand_linear_instances
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Sense, Solution, Status, dot
from imle_opt_solvers.solver import Solver
from imle_opt_solvers.structures import Structure, recognise

__all__ = ["StructuredSolver", "linear_solver"]


def linear_solver(
    model: LinearModel, limits: Limits | None, on_failure: OnFailure, remembered: int = REMEMBERED
) -> Solver:
    """Return the fastest exact solver of a linear model: a kernel where its structure has one, else HiGHS."""
    structure = recognise(model, limits or Limits())
    if structure is None:
        return HighsSolver(model, limits=limits, on_failure=on_failure, remembered=remembered)
    return StructuredSolver(model, structure, limits=limits, on_failure=on_failure, remembered=remembered)


@final
class StructuredSolver(Solver):
    """A `LinearModel` that is a problem with a kernel of its own; see `recognise`.

    It takes the `instances` of `HighsSolver`, and agrees with it on objectives and statuses. Where optima
    tie, the two may return different ones. Rows that the kernel does not solve are solved by HiGHS: a
    knapsack whose search takes too long, a path in a network with a negative cycle, most `instances`.

    Args:
        model: the model.
        structure: what `recognise` returned for it.
        limits: per row, as for `HighsSolver`. `relative_gap` is for the rows that HiGHS solves; kernels prove
            optimality.
        on_failure: see `Solver`.
        remembered: as for `HighsSolver`, for the rows that HiGHS solves.
    """

    def __init__(
        self,
        model: LinearModel,
        structure: Structure,
        *,
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
        remembered: int = REMEMBERED,
    ) -> None:
        self._general = HighsSolver(model, limits=limits, remembered=remembered)
        self.model, self.limits = model, self._general.limits
        self._structure = structure
        self._predicts_all = np.array_equal(model.predicted.columns, np.arange(model.num_columns))
        traits = replace(self._general.traits, engine=structure.engine)
        super().__init__(
            model.predicted.shape, model.sense, traits, names=model.predicted_names, on_failure=on_failure
        )

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve by the kernel what it solves, by HiGHS the rest."""
        bounds = None if instances is None else expand_linear_instances(self.model, instances, len(costs))
        flat = costs.reshape(len(costs), -1)
        total = flat if self._predicts_all else self._total_costs(flat)
        answer = self._structure.solve(total if self.sense is Sense.MIN else -total, bounds)
        values = answer.values
        decisions = values if self._predicts_all else values[:, self.model.predicted.columns]
        solution = Solution(
            decisions.reshape(costs.shape),
            dot(total, values) + self.model.offset,
            (Status.OPTIMAL,) * len(costs),
            np.zeros(len(costs)),
            0.0,
        )
        if answer.proven.all():
            return solution
        rows = np.flatnonzero(~answer.proven)
        rest = self._general.solve_rows(
            costs[rows], None if instances is None else take_rows(instances, rows), deterministic
        )
        return self._merged(solution, rows, rest)

    def _total_costs(self, costs: FloatArray) -> FloatArray:
        """Return the whole objective rows, (B, columns), for predicted costs (B, m)."""
        total = np.tile(self.model.fixed_costs, (len(costs), 1))
        total[:, self.model.predicted.columns] = costs
        return total

    def _merged(self, solution: Solution, rows: np.ndarray, rest: Solution) -> Solution:
        """Put the rows that HiGHS solved in their places, except where the kernel's incumbent is better."""
        decisions, objectives = solution.decisions.copy(), solution.objectives.copy()
        gaps, statuses = solution.gaps.copy(), list(solution.statuses)
        for place, row in enumerate(rows.tolist()):
            status = rest.statuses[place]
            statuses[row], gaps[row] = status, rest.gaps[place]
            lead = self.sense.sign * (objectives[row] - rest.objectives[place])
            if status is Status.LIMIT and np.isfinite(objectives[row]):
                statuses[row] = Status.FEASIBLE
            elif not (status is Status.FEASIBLE and lead > 0):
                decisions[row], objectives[row] = rest.decisions[place], rest.objectives[place]
        return Solution(decisions, objectives, tuple(statuses), gaps, 0.0)
