"""What was measured of some rows, in arrays that can be stored, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.cost_errors import TrueRanks, row_errors
from imle_opt.evaluation.cost_sample import CostSample
from imle_opt.evaluation.remembered import RememberingSolver, status_codes
from imle_opt.evaluation.result import CodeArray
from imle_opt_solvers import InvalidInputError, RegretError, SolveError, Solver
from imle_opt_solvers.regret import evaluate
from imle_opt_solvers.regret_report import RegretReport
from imle_opt_solvers.solution import FloatArray, Solution
from imle_opt_solvers.solver import failure_message

__all__ = ["MOST_WORST", "Block", "BlockTask", "measure"]

MOST_WORST = 10


@dataclass(frozen=True, eq=False)
class Block:
    """What was measured of `b` rows, `R` runs (a run is one seed of one method).

    Args:
        start: the first row.
        stop: after the last row.
        optimal_objectives: (b,).
        true_codes: (b,) statuses.
        true_gaps: (b,).
        regrets: (R, b).
        achieved_objectives: (R, b).
        tolerances: (R, b).
        worst_case_regrets: (R, b); NaN where they were not asked for.
        hamming_distances: (R, b).
        codes: (R, b) statuses of the solves under the predicted costs.
        gaps: (R, b).
        squared_errors: (R, b) sums over the costs of a row, see `cost_errors`; as are the next two.
        absolute_errors: (R, b).
        rank_correlations: (R, b).
        true_scatter: (b,) squared distances of a row's true costs from the mean of all rows.
        worst_rows: (R, w) the rows of the block with the highest regrets, -1 where there are fewer.
        worst_true: (R, w, *shape) their true costs.
        worst_predicted: (R, w, *shape) their predicted costs.
        sampled_true: (k,) those of the sampled costs that lie in the block.
        sampled_predicted: (R, k) the same, as they are predicted.
        seconds: (R + 1, 2) wall clock of each run and, last, of the true costs: in solves, in ties.
    """

    start: int
    stop: int
    optimal_objectives: FloatArray
    true_codes: CodeArray
    true_gaps: FloatArray
    regrets: FloatArray
    achieved_objectives: FloatArray
    tolerances: FloatArray
    worst_case_regrets: FloatArray
    hamming_distances: FloatArray
    codes: CodeArray
    gaps: FloatArray
    squared_errors: FloatArray
    absolute_errors: FloatArray
    rank_correlations: FloatArray
    true_scatter: FloatArray
    worst_rows: NDArray[np.int64]
    worst_true: FloatArray
    worst_predicted: FloatArray
    sampled_true: FloatArray
    sampled_predicted: FloatArray
    seconds: FloatArray

    def arrays(self) -> dict[str, Any]:
        """Return every field by name, to be stored."""
        return {each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: dict[str, Any]) -> Self:
        """Return the block of what `arrays` returned.

        Raises:
            KeyError: an array is missing.
        """
        values: dict[str, Any] = {each.name: arrays[each.name] for each in fields(cls)}
        values["start"], values["stop"] = int(values["start"]), int(values["stop"])
        return cls(**values)


@dataclass(frozen=True, eq=False)
class BlockTask:
    """Some rows of every table.

    Args:
        start: the first row.
        true: (b, *shape).
        predicted: of each run, (b, *shape).
        labels: how messages call each run.
        references: the runs whose worst tie is not looked for.
    """

    start: int
    true: FloatArray
    predicted: Sequence[FloatArray]
    labels: Sequence[str]
    references: frozenset[int]


def measure(
    task: BlockTask,
    solver: RememberingSolver,
    *,
    worst_case: bool,
    tolerance: float,
    true_mean: float,
    sample: CostSample,
) -> Block:
    """Solve and compare the rows of a block.

    Args:
        task: the rows.
        solver: its `on_failure` says what happens to rows without a proven optimum.
        worst_case: whether the worst tie is looked for, in all runs but references.
        tolerance: as for `imle_opt_solvers.regret.evaluate`.
        true_mean: of all true costs.
        sample: which costs to keep for the report.

    Raises:
        InvalidInputError: costs that the solver refuses.
        SolveError: rows without a proven optimum, where `on_failure` is `"raise"`.
        RegretError: a decision better than the optimum.
    """
    rows = len(task.true)
    flat = task.true.reshape(rows, -1)
    ranks = TrueRanks(flat)
    with _named(task, "the true costs", solver):
        best = solver.solve(task.true)
    runs = [
        _run(task, index, best, ranks, solver, worst_case and index not in task.references, tolerance)
        for index in range(len(task.predicted))
    ]
    stacked = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    seconds = np.concatenate([stacked.pop("seconds"), [[best.seconds, 0.0]]])
    sampled = [sample.take(predicted.reshape(rows, -1), task.start) for predicted in task.predicted]
    return Block(
        start=task.start,
        stop=task.start + rows,
        optimal_objectives=best.objectives,
        true_codes=status_codes(best.statuses),
        true_gaps=best.gaps,
        true_scatter=np.square(flat - true_mean).sum(axis=1),
        sampled_true=sample.take(flat, task.start),
        sampled_predicted=np.stack(sampled),
        seconds=seconds,
        **stacked,
    )


def _run(
    task: BlockTask,
    index: int,
    best: Solution,
    ranks: TrueRanks,
    solver: RememberingSolver,
    worst_case: bool,
    tolerance: float,
) -> dict[str, NDArray[Any]]:
    predicted, rows = task.predicted[index], len(task.true)
    began = time.perf_counter()
    with _named(task, f"the predicted costs of {task.labels[index]}", solver):
        decided = _solve(solver, predicted)
        solved = time.perf_counter()
        report = evaluate(
            solver, predicted, task.true,
            true_solution=best, predicted_solution=decided, worst_case=worst_case, tolerance=tolerance,
        )  # fmt: skip
    worst = report.worst_case_regrets
    errors = row_errors(predicted.reshape(rows, -1), task.true.reshape(rows, -1), ranks)
    return {
        "regrets": report.regrets,
        "achieved_objectives": report.achieved_objectives,
        "tolerances": report.tolerances,
        "worst_case_regrets": np.full(rows, np.nan) if worst is None else worst,
        "hamming_distances": report.hamming_distances,
        "codes": status_codes(decided.statuses),
        "gaps": decided.gaps,
        **errors,
        **_worst(task, predicted, report),
        "seconds": np.array([solved - began, report.seconds]),
    }


def _solve(solver: RememberingSolver, costs: FloatArray) -> Solution:
    """Solve rows; those that are one row in memory, as a reference has them, as one."""
    if costs.strides[0]:
        return solver.solve(costs)
    one, rows = solver.solve(costs[:1]), len(costs)
    return Solution(
        np.repeat(one.decisions, rows, axis=0),
        np.repeat(one.objectives, rows),
        one.statuses * rows,
        np.repeat(one.gaps, rows),
        one.seconds,
    )


def _worst(task: BlockTask, predicted: FloatArray, report: RegretReport) -> dict[str, NDArray[Any]]:
    above = np.flatnonzero(report.regrets > report.tolerances)
    most = above[np.argsort(-report.regrets[above], kind="stable")[:MOST_WORST]]
    shape = (MOST_WORST, *predicted.shape[1:])
    rows, true, guessed = np.full(MOST_WORST, -1), np.full(shape, np.nan), np.full(shape, np.nan)
    rows[: most.size] = task.start + most
    true[: most.size], guessed[: most.size] = task.true[most], predicted[most]
    return {"worst_rows": rows, "worst_true": true, "worst_predicted": guessed}


@contextmanager
def _named(task: BlockTask, what: str, solver: Solver) -> Generator[None]:
    """Say in errors which costs they are about, and where their rows are counted from."""
    start, rows = task.start, len(task.true)
    where = f" in rows {start} to {start + rows - 1}, counted here from the first of them" if start else ""
    try:
        yield
    except InvalidInputError as error:
        raise InvalidInputError(f"With {what}{where}: {error}") from error
    except SolveError as error:
        message = failure_message(error.solution, error.rows, solver.failure_advice, start)
        raise SolveError(f"With {what}: {message}", error.rows, error.solution) from error
    except RegretError as error:
        raise RegretError(f"With {what}{where}: {error}") from error
    except Exception as error:  # whatever a user's own solver raises
        error.add_note(f"With {what}, rows {start} to {start + len(task.true) - 1}:")
        raise
