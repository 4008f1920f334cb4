"""The one interface that everything composes with: costs in, optimal decisions out, batched."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self, final, get_args

import numpy as np
from numpy.typing import ArrayLike

from imle_opt_solvers._checks import check_costs
from imle_opt_solvers.errors import InvalidInputError, SolveError
from imle_opt_solvers.instances import Instances, flatten_instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution, Status

__all__ = ["CostDomain", "Solver", "Traits", "failure_message"]


class CostDomain(StrEnum):
    """Which costs a solver takes."""

    ANY = "any"
    NONNEGATIVE = "nonnegative"


@dataclass(frozen=True)
class Traits:
    """Facts about a solver that others may rely on.

    Args:
        exact: `OPTIMAL` means proven optimal.
        binary: every entry of a decision is 0 or 1.
        cardinality: the number of ones in every decision, where it is the same for all; else None.
        cost_domain: which costs are legal.
        releases_gil: threads make it faster.
        takes_instances: the names that `instances` may hold; empty where each row has the same region.
        engine: what runs, for example `"highs"`, `"native:scip"`, `"kernel:dijkstra"`.
    """

    exact: bool = True
    binary: bool = False
    cardinality: int | None = None
    cost_domain: CostDomain = CostDomain.ANY
    releases_gil: bool = False
    takes_instances: tuple[str, ...] = ()
    engine: str = "function"


class Solver(ABC):
    """An optimisation model whose linear costs vary: `MAP(theta) = argmax over z in C of <z, theta>`.

    Subclasses implement `solve_rows`; `solve` and `map` check, reshape and apply the failure policy.

    Args:
        shape: the shape of one instance's costs, and of its decision.
        sense: the direction of the model's own objective.
        traits: facts about the solver.
        names: one name per cost in row-major order, where the model has names.
        on_failure: what `solve` does with rows that are not proven optimal: `"raise"` a `SolveError`, return
            the `"incumbent"` where there is one (NaN elsewhere), or `"nan"` in all of them.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        sense: Sense,
        traits: Traits,
        *,
        names: tuple[str, ...] | None = None,
        on_failure: OnFailure = "raise",
    ) -> None:
        if on_failure not in get_args(OnFailure):
            raise InvalidInputError(
                f"`on_failure` must be one of {', '.join(get_args(OnFailure))}, not {on_failure!r}."
            )
        self.shape = shape
        self.sense = sense
        self.traits = traits
        self.names = names
        self.on_failure: OnFailure = on_failure

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """What a `SolveError` advises to do about a status, where this kind of solver knows better."""
        return {}

    @abstractmethod
    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve a flat batch; the hook that a new solver implements.

        Args:
            costs: (B, *shape), B >= 1, finite, float64, C order, in the model's own sense.
            instances: entries with leading dimension B, or None.
            deterministic: each row must be solved from the same start, so that its answer does not depend on
                the rows before it, also where optima tie.

        Returns:
            The solution of the B rows, failures as statuses. `seconds` is filled in by the caller.
        """

    @final
    def solve(
        self, costs: ArrayLike, *, instances: Instances | None = None, deterministic: bool = True
    ) -> Solution:
        """Solve every row of a batch: `argmin` (or `argmax`) over z in C of `<z, costs>` plus fixed costs.

        Args:
            costs: (*batch, *shape), the coefficients of the model's own objective, in its own sense.
            instances: per-row data, each entry (*batch, ...); see the solver's own page for the names.
            deterministic: solve each row from the same start. False lets a solver start from its last answer,
                which is faster; where optima tie, the answer may then depend on the rows solved before.

        Returns:
            Decisions (*batch, *shape), objectives (*batch,), statuses, gaps and the wall clock.

        Raises:
            InvalidInputError: costs that are not finite real numbers of the right shape, or bad instances.
            SolveError: some row is not proven optimal and `on_failure` is `"raise"`.

        One solve per row. An empty batch returns an empty solution.
        """
        started = time.perf_counter()
        return self._solve_checked(check_costs(costs, self.shape), instances, deterministic, started)

    @final
    def map(
        self, theta: ArrayLike, *, instances: Instances | None = None, deterministic: bool = True
    ) -> FloatArray:
        """Return `MAP(theta) = argmax over z in C of <z, theta>`, the form in which the papers are written.

        Args:
            theta: (*batch, *shape), always maximised: `costs` for a maximisation, `-costs` otherwise.
            instances: as in `solve`.
            deterministic: as in `solve`.

        Returns:
            Decisions (*batch, *shape), float64.

        Raises:
            InvalidInputError: as `solve`.
            SolveError: as `solve`.

        One solve per row.
        """
        started = time.perf_counter()
        array = check_costs(theta, self.shape, name="theta")
        costs = array if self.sense is Sense.MAX else -array
        return self._solve_checked(costs, instances, deterministic, started).decisions

    @final
    def with_on_failure(self, on_failure: OnFailure) -> Self:
        """Return the same solver with another failure policy; the original keeps its own."""
        clone = copy.copy(self)
        clone.on_failure = on_failure
        return clone

    def _solve_checked(
        self, array: FloatArray, instances: Instances | None, deterministic: bool, started: float
    ) -> Solution:
        batch = array.shape[: array.ndim - len(self.shape)]
        rows = array.reshape(-1, *self.shape) if array.size else np.empty((0, *self.shape))
        flat = None if instances is None else self._check_instances(instances, batch)
        solution = self.solve_rows(rows, flat, deterministic) if len(rows) else _empty(self.shape)
        solution = self._apply_failure_policy(solution)
        return Solution(
            decisions=solution.decisions.reshape((*batch, *self.shape)),
            objectives=solution.objectives.reshape(batch),
            statuses=solution.statuses,
            gaps=solution.gaps.reshape(batch),
            seconds=time.perf_counter() - started,
        )

    def _check_instances(self, instances: Instances, batch: tuple[int, ...]) -> Instances:
        known = self.traits.takes_instances
        unknown = [key for key in instances if key not in known]
        if unknown:
            takes = f"takes {', '.join(map(repr, known))}" if known else "takes none"
            raise InvalidInputError(
                f"{type(self).__name__} does not take `instances` named "
                f"{', '.join(map(repr, unknown))}: it {takes}."
            )
        return flatten_instances(instances, batch)

    def _apply_failure_policy(self, solution: Solution) -> Solution:
        failed = solution.failed_rows
        if not failed:
            return solution
        if self.on_failure == "raise":
            message = failure_message(solution, failed, self.failure_advice)
            raise SolveError(f"{message} The other rows are in this error's `solution`.", failed, solution)
        if self.on_failure == "incumbent":
            return solution
        decisions, objectives = solution.decisions.copy(), solution.objectives.copy()
        decisions[list(failed)] = np.nan
        objectives[list(failed)] = np.nan
        return replace(solution, decisions=decisions, objectives=objectives)


_ADVICE = {
    Status.FEASIBLE: "raise the time limit, or accept incumbents with on_failure='incumbent'",
    Status.INFEASIBLE: "no decision satisfies the constraints (costs play no part in that): check the model "
    "and the rows' `instances`",
    Status.UNBOUNDED: "bound the variables whose costs are predicted",
    Status.LIMIT: "raise the time limit",
    Status.ERROR: "the solver gave up: check the scale of the costs and the model",
}


def failure_message(
    solution: Solution, failed: tuple[int, ...], own: Mapping[Status, str], first_row: int = 0
) -> str:
    """Return which rows have no proven optimum, and what to do about them.

    Args:
        solution: what was solved.
        failed: its failed rows, at least one.
        own: the solver's own advice, see `Solver.failure_advice`.
        first_row: the number that the solution's first row goes by.
    """
    counts = Counter(solution.statuses[row] for row in failed)
    shown = ", ".join(f"row {first_row + row}: {solution.statuses[row].value}" for row in failed[:5])
    more = f", and {len(failed) - 5} more" if len(failed) > 5 else ""
    advice = "; ".join(f"{status.value}: {own.get(status, _ADVICE[status])}" for status in counts)
    return (
        f"{len(failed)} of {len(solution.statuses)} rows have no proven optimum ({shown}{more}). "
        f"What to do: {advice}."
    )


def _empty(shape: tuple[int, ...]) -> Solution:
    return Solution(np.empty((0, *shape)), np.empty(0), (), np.empty(0), 0.0)
