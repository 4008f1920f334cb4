"""What every native solver shares: one engine per thread, made from an exported model, driven row by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, final

import numpy as np

from imle_opt_solvers._per_thread import PerThread
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import RowAnswer, collect_answers, scale_exponent
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["Engine", "NativeSolver", "power_of_two_scale", "relative_gap"]

_MIXED_INTEGER_EXPONENT = 20
"""Branch and bound compares objectives to absolute tolerances of 1e-9 to 1e-5: large costs dwarf them."""


class Engine(Protocol):
    """A package's own solver object, for one model and one thread."""

    def run(self, costs: FloatArray, *, fresh: bool) -> RowAnswer:
        """Optimise `costs` (columns,) in the model's own sense; `fresh` forgets what was solved before."""
        ...


class NativeSolver(Solver, ABC):
    """A model solved by a package's own solver, on a clone of the user's object.

    Subclasses keep what an engine is made from (an exported proto: picklable, never changed) and implement
    `build_engine`, which is called once per thread.

    Args:
        columns: the model's columns and objective; its rows are not looked at.
        engine: what runs, for `Traits.engine`.
        limits: per row.
        on_failure: see `Solver`.

    One solve per row. Solvers that cannot tell an infeasible model from an unbounded one are asked once more,
    without costs: nothing is unbounded then.
    """

    def __init__(
        self, columns: LinearModel, engine: str, *, limits: Limits | None, on_failure: OnFailure
    ) -> None:
        traits = Traits(binary=columns.predicted_binary, releases_gil=True, engine=engine)
        super().__init__(
            columns.predicted.shape,
            columns.sense,
            traits,
            names=columns.predicted_names,
            on_failure=on_failure,
        )
        self.columns = columns
        self.limits = limits or Limits()
        self._engines: PerThread[Engine] = PerThread()
        self._verdict: Status | None = None

    @abstractmethod
    def build_engine(self) -> Engine:
        """Make a solver object of this thread's own from the exported model."""

    @final
    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve row by row on this thread's engine."""
        flat = costs.reshape(len(costs), -1)
        answers = [self._solve_row(self.columns.total_costs(row), deterministic) for row in flat]
        return collect_answers(self.columns, costs, answers)

    def _solve_row(self, total: FloatArray, deterministic: bool) -> RowAnswer:
        answer = self._engines.get(self.build_engine).run(total, fresh=deterministic)
        if answer.status in (Status.INFEASIBLE, Status.UNBOUNDED):
            return RowAnswer(self._infeasible_or_unbounded())
        return answer

    def _infeasible_or_unbounded(self) -> Status:
        """Tell the two apart: the region does not depend on the costs, and without costs it is bounded."""
        if self._verdict is not None:
            return self._verdict
        region = (
            self._engines.get(self.build_engine).run(np.zeros(self.columns.num_columns), fresh=True).status
        )
        verdict = Status.UNBOUNDED if region.has_decision else region
        if verdict in (Status.UNBOUNDED, Status.INFEASIBLE):
            self._verdict = verdict
        return verdict


def power_of_two_scale(costs: FloatArray, *, mixed_integer: bool) -> float:
    """Return the power of two by which costs are multiplied before a solver sees them.

    Solvers have absolute tolerances. The largest cost comes to lie in [0.5, 1), or in [2^19, 2^20) for branch
    and bound, which would else take near-optimal decisions for optimal ones.
    """
    target = _MIXED_INTEGER_EXPONENT if mixed_integer else 0
    # Beyond 2^1000 the scale itself would overflow: such costs are denormal or near it.
    return float(np.ldexp(1.0, min(1000, scale_exponent(costs, target))))


def relative_gap(objective: float, bound: float) -> float:
    """Return `|objective - bound| / |objective|`; NaN where there is no bound or the objective is 0."""
    difference = abs(objective - bound)
    if difference == 0.0:
        return 0.0
    if objective == 0.0 or not abs(bound) < 1e20:
        return float(np.nan)
    return difference / abs(objective)
