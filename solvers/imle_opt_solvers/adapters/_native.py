"""What every native solver shares: one engine per thread, made from an exported model, driven row by row."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np

from imle_opt_solvers.instances import Instances
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["Engine", "NativeSolver", "RowAnswer", "finish_values", "power_of_two_scale", "relative_gap"]

_MIXED_INTEGER_EXPONENT = 20
"""Branch and bound compares objectives to absolute tolerances of 1e-9 to 1e-5: large costs dwarf them."""


@dataclass(frozen=True)
class RowAnswer:
    """One row's answer.

    Args:
        status: how it ended.
        values: (columns,) where the status has a decision, integers exact.
        gap: proven relative gap; NaN where unknown.
    """

    status: Status
    values: FloatArray | None = None
    gap: float = np.nan


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
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._local = threading.local()

    @abstractmethod
    def build_engine(self) -> Engine:
        """Make a solver object of this thread's own from the exported model."""

    @final
    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve row by row on this thread's engine."""
        flat = costs.reshape(len(costs), -1)
        answers = [self._solve_row(self.columns.total_costs(row), deterministic) for row in flat]
        return self._collect(flat, answers)

    def _solve_row(self, total: FloatArray, deterministic: bool) -> RowAnswer:
        answer = self._engine().run(total, fresh=deterministic)
        if answer.status in (Status.INFEASIBLE, Status.UNBOUNDED):
            return RowAnswer(self._infeasible_or_unbounded())
        return answer

    def _infeasible_or_unbounded(self) -> Status:
        """Tell the two apart: the region does not depend on the costs, and without costs it is bounded."""
        known: Status | None = getattr(self._local, "verdict", None)
        if known is not None:
            return known
        region = self._engine().run(np.zeros(self.columns.num_columns), fresh=True).status
        verdict = Status.UNBOUNDED if region.has_decision else region
        if verdict in (Status.UNBOUNDED, Status.INFEASIBLE):
            self._local.verdict = verdict
        return verdict

    def _engine(self) -> Engine:
        engine: Engine | None = getattr(self._local, "engine", None)
        if engine is None:
            engine = self._local.engine = self.build_engine()
        return engine

    def _collect(self, costs: FloatArray, answers: list[RowAnswer]) -> Solution:
        rows = len(answers)
        decisions = np.full((rows, costs.shape[1]), np.nan)
        objectives = np.full(rows, np.nan)
        for row, answer in enumerate(answers):
            if answer.values is not None:
                decisions[row] = answer.values[self.columns.predicted.columns]
                objectives[row] = self.columns.total_costs(costs[row]) @ answer.values + self.columns.offset
        return Solution(
            decisions.reshape(rows, *self.shape),
            objectives,
            tuple(answer.status for answer in answers),
            np.array([answer.gap for answer in answers]),
            0.0,
        )


def power_of_two_scale(costs: FloatArray, *, mixed_integer: bool) -> float:
    """Return the power of two by which costs are multiplied before a solver sees them.

    Solvers have absolute tolerances. The largest cost comes to lie in [0.5, 1), or in [2^19, 2^20) for branch
    and bound, which would else take near-optimal decisions for optimal ones.
    """
    largest = float(np.abs(costs).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    target = _MIXED_INTEGER_EXPONENT if mixed_integer else 0
    # Beyond 2^1000 the scale itself would overflow: such costs are denormal or near it.
    return float(np.ldexp(1.0, min(1000, target - int(np.frexp(largest)[1]))))


def relative_gap(objective: float, bound: float) -> float:
    """Return `|objective - bound| / |objective|`; NaN where there is no bound or the objective is 0."""
    difference = abs(objective - bound)
    if difference == 0.0:
        return 0.0
    if objective == 0.0 or not abs(bound) < 1e20:
        return float(np.nan)
    return difference / abs(objective)


def finish_values(values: FloatArray, integrality: np.ndarray[Any, np.dtype[np.bool_]]) -> FloatArray:
    """Return values with integers exact, and no negative zeros."""
    return np.where(integrality, np.round(values), values) + 0.0
