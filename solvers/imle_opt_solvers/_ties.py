"""The worst decision among those that are optimal for the predicted costs.

Where several decisions are optimal for the predicted costs, which of them a solver returns is chance, and so
is the regret. The worst of them is found through `solve` alone, for any solver, by a perturbed problem: with
d = c - c_hat and delta > 0,

    z' = optimal decision for  c_hat - delta d,

and s = 1 for a minimisation, -1 for a maximisation. If z' is still optimal for c_hat, it is the worst tie,
exactly, whatever delta is: any other tie z has obj(z; c_hat) = obj(z'; c_hat), so that the optimality of z'
leaves `s <d, z'> >= s <d, z>`, and ties differ in their true objective by `<d, .>` alone, fixed parts
included. If it is not, it loses a = s (obj(z'; c_hat) - obj(z_hat; c_hat)) <= delta b under c_hat, with
b = s <d, z' - z_hat>. Then half of a / b excludes it (Dinkelbach's step), and a few steps reach a delta that
excludes every decision but the ties.

On a curved feasible region z' moves with delta although there is no tie. A tie stays where it is when delta
shrinks: that is checked wherever decisions are not all 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers._decided import Decided
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, dot
from imle_opt_solvers.solver import CostDomain, Solver

__all__ = ["TieProblem", "WorstTies", "find_worst_ties"]

RowIndices: TypeAlias = NDArray[np.intp]

_FIRST_DELTA = 0.1
"""Relative to `max|c_hat| / max|d|`. Large: solvers tell ties apart down to their tolerance / delta."""
_SMALLEST_DELTA = 1e-6
"""Below it, no difference in d between two ties would reach a solver's tolerance."""
_MOST_ROUNDS = 8
_FAILURE_SHRINK = 16.0
_CONFIRM_SHRINK = 4.0
_CONFIRM_SHARE = 0.6
"""A tie keeps its gain when delta shrinks; on a curved region the gain shrinks with delta, here to 0.25."""


@final
@dataclass(frozen=True)
class TieProblem:
    """What is known before the search; all rows flat.

    Args:
        solver: the solver.
        predicted: (B, m) c_hat.
        true: (B, m) c.
        decided: what was decided under c_hat.
        searchable: (B,) whether that decision is there and proven optimal; other rows are not searched.
        instances: flattened per-row data, or None.
        tolerance: relative: predicted objectives so close are tied, since a solver may return either.
    """

    solver: Solver
    predicted: FloatArray
    true: FloatArray
    decided: Decided
    searchable: NDArray[np.bool_]
    instances: Instances | None
    tolerance: float


@final
@dataclass(frozen=True)
class WorstTies:
    """The outcome of a search.

    Args:
        gains: (B,) by how much the worst tie's regret exceeds that of the decision taken, at least 0; NaN
            where it could not be determined.
        solves: rows solved.
        seconds: wall clock of the solves.
    """

    gains: FloatArray
    solves: int
    seconds: float


def find_worst_ties(problem: TieProblem) -> WorstTies:
    """Find the worst tie of every row.

    A row stays undetermined where its decision is not proven optimal; where no perturbation is legal (the
    solver takes non-negative costs only, and a predicted cost is zero or nearly so where the true one is
    larger); where the perturbed solves fail (an unbounded set of ties); or where 8 steps of delta were not
    enough.

    One solve per row; one or two more where the second-best decision is close, about five on a curved
    feasible region.
    """
    search = _Search(problem, problem.true - problem.predicted)
    units, deltas = search.deltas()
    differs = search.direction.any(axis=1)
    gains = np.where(problem.searchable & ~differs, 0.0, np.nan)
    rows = np.flatnonzero(problem.searchable & differs)
    solves, seconds = 0, 0.0
    for _ in range(_MOST_ROUNDS):
        rows = rows[deltas[rows] >= _SMALLEST_DELTA * units[rows]]
        if not rows.size:
            break
        trial = search.perturb(rows, deltas[rows])
        solves, seconds = solves + rows.size, seconds + trial.seconds
        gains[rows[trial.tied]] = np.maximum(trial.gains[trial.tied], 0.0)
        rows = rows[~trial.tied]
        deltas[rows] = trial.next_deltas(deltas[rows])
    claimed = search.claimed(gains)
    trial = search.perturb(claimed, deltas[claimed] / _CONFIRM_SHRINK)
    gains[claimed[~(trial.gains >= _CONFIRM_SHARE * gains[claimed])]] = 0.0
    return WorstTies(gains, solves + claimed.size, seconds + trial.seconds)


@dataclass(frozen=True)
class _Trial:
    """Perturbed solves of k rows.

    Args:
        losses: (k,) what z' loses under c_hat; NaN where the solve failed.
        gains: (k,) what it gains under d.
        tied: (k,) whether the loss is none, to the tolerance.
        seconds: wall clock.
    """

    losses: FloatArray
    gains: FloatArray
    tied: NDArray[np.bool_]
    seconds: float

    def next_deltas(self, deltas: FloatArray) -> FloatArray:
        """Return smaller deltas for the rows that are not tied; `deltas` are those rows' own."""
        losses, gains = self.losses[~self.tied], self.gains[~self.tied]
        # Optimality of z' says gain >= loss / delta; an inexact solver may say otherwise.
        steps = losses / (2 * np.maximum(gains, losses / deltas))
        return np.where(np.isnan(losses), deltas / _FAILURE_SHRINK, steps)


@dataclass(frozen=True)
class _Search:
    problem: TieProblem
    direction: FloatArray

    def deltas(self) -> tuple[FloatArray, FloatArray]:
        """Return the unit of delta, which weighs d like c_hat, and the delta to begin with: (B,), (B,)."""
        predicted, direction = self.problem.predicted, self.direction
        sizes = np.abs(direction).max(axis=1, initial=0.0)
        predicted_sizes = np.abs(predicted).max(axis=1, initial=0.0)
        unit = np.ones(len(sizes))
        np.divide(np.where(predicted_sizes > 0, predicted_sizes, sizes), sizes, out=unit, where=sizes > 0)
        first = _FIRST_DELTA * unit
        if self.problem.solver.traits.cost_domain is CostDomain.NONNEGATIVE:
            room = np.full_like(predicted, np.inf)
            np.divide(predicted, direction, out=room, where=direction > 0)
            first = np.minimum(first, room.min(axis=1, initial=np.inf))
        return unit, first

    def perturb(self, rows: RowIndices, deltas: FloatArray) -> _Trial:
        """Solve some rows under `c_hat - delta d`."""
        problem = self.problem
        every = rows.size == len(self.direction)  # as in the first round: no copies
        predicted = problem.predicted if every else problem.predicted[rows]
        direction = self.direction if every else self.direction[rows]
        costs = predicted - deltas[:, None] * direction
        if problem.solver.traits.cost_domain is CostDomain.NONNEGATIVE:
            costs = np.maximum(costs, 0.0)  # rounding at the largest legal delta
        instances = None if problem.instances is None else _take(problem.instances, rows)
        solver = problem.solver.with_on_failure("nan")
        solution = solver.solve(costs.reshape(-1, *solver.shape), instances=instances)
        trial, decided = Decided.of(costs, solution), problem.decided if every else problem.decided.take(rows)
        moved = trial.decisions - decided.decisions
        worse = -solver.sense.sign
        losses = worse * (dot(predicted, moved) + trial.fixed - decided.fixed)
        tied = losses <= problem.tolerance * decided.magnitude(predicted, trial)
        return _Trial(losses, worse * dot(direction, moved), np.asarray(tied), solution.seconds)

    def claimed(self, gains: FloatArray) -> RowIndices:
        """Return the rows whose gain may be that of a curved region instead of a tie."""
        if self.problem.solver.traits.binary:
            return np.empty(0, dtype=np.intp)
        own = self.problem.decided
        return np.flatnonzero(gains > self.problem.tolerance * own.magnitude(self.problem.true, own))


def _take(instances: Mapping[str, Any], rows: RowIndices) -> dict[str, Any]:
    return {
        key: _take(value, rows) if isinstance(value, Mapping) else value[rows]
        for key, value in instances.items()
    }
