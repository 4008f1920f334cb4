"""What an evaluation of several predictors measured: per row and per method, and how it was measured.

Rows are the instances, numbered from 0 as they stand in the table of true costs: `N` of them. A method has
one or several seeds, `S` of them: predictions of the same rows by as many trainings. Arrays per method are
(S, N). A row is unmeasured where one of its two solves gave no decision: its entries are NaN (and False).

Objectives, regrets and costs are in the model's own sense and units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.cost_sample import SampledCosts
from imle_opt.evaluation.picture import Picture
from imle_opt_solvers.solution import FloatArray, Sense, Status

__all__ = [
    "STATUSES",
    "Evaluation",
    "InputFile",
    "MethodResult",
    "ModelFacts",
    "PredictionErrors",
    "Role",
    "RowFailure",
    "Timings",
    "WorstRow",
    "status_counts",
]

BoolArray: TypeAlias = NDArray[np.bool_]
CodeArray: TypeAlias = NDArray[np.uint8]

STATUSES: tuple[Status, ...] = tuple(Status)
"""Statuses by their code: a status array holds indices into this, a byte per row."""


class Role(StrEnum):
    """Where the costs of a method come from."""

    PREDICTED = "predicted"
    """A table that the user gave."""
    CONSTANT = "constant"
    """The reference line: in every row the mean of the true costs of all rows."""


@dataclass(frozen=True)
class InputFile:
    """A file that the evaluation read.

    Args:
        role: `"model"`, `"true"`, or the name of the method whose predictions it holds.
        path: as it was given.
        sha256: of its bytes, in hexadecimal digits.
        size: in bytes.
    """

    role: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class ModelFacts:
    """What was solved, and how.

    Args:
        name: the MODEL argument.
        engine: what solved it, for example `"highs"` or `"kernel:dijkstra"`.
        sense: the direction of the model's own objective.
        shape: the shape of one row's costs.
        names: one name per cost in row-major order, where the model has names.
        proves_optimality: whether the solver proves what it calls optimal (a user's function does not).
        seconds_limit: wall clock per solve; None: no limit.
        relative_gap: the proven gap that counted as optimal; 0: proven optima.
        tolerance: relative; what counts as no regret.
    """

    name: str
    engine: str
    sense: Sense
    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    proves_optimality: bool
    seconds_limit: float | None
    relative_gap: float
    tolerance: float


@dataclass(frozen=True, eq=False)
class PredictionErrors:
    """How far the predicted costs are from the true ones, over all rows and costs; each (S,), one per seed.

    Args:
        mse: mean squared error.
        mae: mean absolute error.
        r2: 1 - (sum of squared errors) / (sum of squared distances of the true costs from their mean).
        spearman: mean over rows of the rank correlation within the row, of its predicted with its true costs;
            rows in which either are all equal are left out, and NaN where that leaves none.
    """

    mse: FloatArray
    mae: FloatArray
    r2: FloatArray
    spearman: FloatArray


@dataclass(frozen=True, eq=False)
class WorstRow:
    """A row of high regret, with what is needed to draw it. Costs and decisions have the model's shape.

    Args:
        seed: which of the method's seeds.
        row: which row.
        regret: what the decision lost.
        optimal_objective: the best that could be had.
        true_costs: (*shape).
        predicted_costs: (*shape).
        decision: (*shape), taken from the predicted costs.
        optimal_decision: (*shape).
    """

    seed: str
    row: int
    regret: float
    optimal_objective: float
    true_costs: FloatArray
    predicted_costs: FloatArray
    decision: FloatArray
    optimal_decision: FloatArray


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One method: what the decisions taken from its predictions cost.

    Args:
        name: as it was given.
        role: where its costs come from.
        seeds: (S,) their names; `("0",)` where there is only one.
        regrets: (S, N), never negative; NaN where unmeasured.
        achieved_objectives: (S, N) true objective of the decision taken.
        tolerances: (S, N) what counts as no regret, in units of the objective.
        worst_case_regrets: (S, N) largest regret among the decisions that are optimal for the predicted
            costs; NaN where it could not be determined; None where it was not asked for, and in references.
        hamming_distances: (S, N) entries in which the decision differs from the optimal one.
        statuses: (S, N) codes, see `STATUSES`, of the solves under the predicted costs.
        gaps: (S, N) proven relative gap of those solves; 0 where optimal, NaN where unknown.
        errors: of the predicted costs.
        worst_rows: the rows with the highest regret, at most ten, worst first; rows without regret are none.
        sampled_costs: some true and predicted costs, to draw.
        seconds: spent on this method, all workers added up.
    """

    name: str
    role: Role
    seeds: tuple[str, ...]
    regrets: FloatArray
    achieved_objectives: FloatArray
    tolerances: FloatArray
    worst_case_regrets: FloatArray | None
    hamming_distances: FloatArray
    statuses: CodeArray
    gaps: FloatArray
    errors: PredictionErrors
    worst_rows: tuple[WorstRow, ...]
    sampled_costs: SampledCosts
    seconds: float

    @property
    def measured(self) -> BoolArray:
        """(S, N) whether there is a regret."""
        return ~np.isnan(self.regrets)

    @property
    def optimal(self) -> BoolArray:
        """(S, N) whether the decision is optimal for the true costs, to the tolerance."""
        return np.asarray(self.regrets <= self.tolerances)

    @property
    def exact_matches(self) -> BoolArray:
        """(S, N) whether the decision is the very one that the true costs give."""
        return np.asarray(self.hamming_distances == 0)

    @property
    def largest_gap(self) -> float:
        """The largest relative gap of a solve under the predicted costs; inf where one is unknown."""
        return _largest(self.gaps, self.achieved_objectives)

    @property
    def has_ties(self) -> BoolArray | None:
        """(S, N) whether another decision, as good under the predicted costs, has a higher regret."""
        if self.worst_case_regrets is None:
            return None
        return np.asarray(self.worst_case_regrets > self.regrets + self.tolerances)


@dataclass(frozen=True)
class RowFailure:
    """A solve that ended without a proven optimum.

    Args:
        method: whose predicted costs were solved; None: the true costs.
        seed: of that method; None with the true costs.
        row: which row.
        status: how it ended.
    """

    method: str | None
    seed: str | None
    row: int
    status: Status


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds.

    Args:
        reading: wall clock of reading the tables.
        solving: true and predicted costs, all workers added up.
        ties: the search for the worst tie, all workers added up.
        total: wall clock of all of it.
        workers: on how many threads or processes.
    """

    reading: float
    solving: float
    ties: float
    total: float
    workers: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was measured, and what is needed to repeat it.

    The oracle, which knows the true costs, is the reference line of regret 0; its objectives are
    `optimal_objectives`.

    Args:
        model: what was solved.
        inputs: the files that were read.
        versions: package -> version, of Python and of the packages that took part.
        created: when the evaluation began, ISO 8601 in UTC.
        optimal_objectives: (N,) true objective of the best decision; NaN where it has none.
        true_statuses: (N,) codes, see `STATUSES`, of the solves under the true costs.
        true_gaps: (N,) proven relative gap of those solves; 0 where optimal, NaN where unknown.
        methods: in the order given, the constant reference last, each with a name of its own.
        baseline: the method that the others are held against; None: none was named.
        failures: the first thousand solves without a proven optimum; `status_counts` tells of all.
        timings: where the time went.
        solves: how many rows were solved; repeated rows are solved once.
        picture: how to draw the decisions; None where they have no picture.
    """

    model: ModelFacts
    inputs: tuple[InputFile, ...]
    versions: Mapping[str, str]
    created: str
    optimal_objectives: FloatArray
    true_statuses: CodeArray
    true_gaps: FloatArray
    methods: tuple[MethodResult, ...]
    baseline: str | None
    failures: tuple[RowFailure, ...]
    timings: Timings
    solves: int
    picture: Picture | None

    @property
    def num_rows(self) -> int:
        """Number of instances, N."""
        return int(self.optimal_objectives.size)

    @property
    def largest_oracle_gap(self) -> float:
        """The largest relative gap to which a true optimum is known; inf where one is not known at all."""
        return _largest(self.true_gaps, self.optimal_objectives)

    @property
    def largest_gap(self) -> float:
        """The largest relative gap of any solve of the evaluation; inf where one is not known at all."""
        return max([self.largest_oracle_gap, *(method.largest_gap for method in self.methods)])

    def method(self, name: str) -> MethodResult:
        """Return the method of that name.

        Raises:
            KeyError: there is none.
        """
        return {method.name: method for method in self.methods}[name]


def status_counts(codes: CodeArray) -> dict[str, int]:
    """Return how often each status occurs, those that do."""
    counts = np.bincount(codes.ravel(), minlength=len(STATUSES)).tolist()
    return {status.value: count for status, count in zip(STATUSES, counts, strict=True) if count}


def _largest(gaps: FloatArray, objectives: FloatArray) -> float:
    """Return the largest gap of the rows that have a decision; inf where a decision came without one."""
    decided = gaps[~np.isnan(objectives)]
    return float(np.max(np.where(np.isnan(decided), np.inf, decided), initial=0.0))
