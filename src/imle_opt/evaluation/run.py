"""From files to an `Evaluation`: what `imle-opt regret` does before it prints."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.block import MOST_WORST, Block
from imle_opt.evaluation.cost_errors import errors_of
from imle_opt.evaluation.cost_sample import CostSample, SampledCosts
from imle_opt.evaluation.engine import Work, WorkTimes, run_blocks
from imle_opt.evaluation.inputs import MethodFiles, Run, hash_file, open_predicted, open_runs, read_true
from imle_opt.evaluation.picture import picture_of
from imle_opt.evaluation.remembered import RememberingSolver
from imle_opt.evaluation.result import (
    STATUSES,
    Evaluation,
    InputFile,
    MethodResult,
    ModelFacts,
    Role,
    RowFailure,
    Timings,
    WorstRow,
)
from imle_opt.evaluation.store import BlockStore
from imle_opt.tables import open_costs
from imle_opt_solvers import Solver, Status
from imle_opt_solvers.solution import FloatArray, Limits

__all__ = ["CONSTANT", "EvaluationRequest", "evaluate_files"]

CONSTANT = "constant"
_MOST_FAILURES = 1000
_PACKAGES = ("numpy", "scipy", "numba", "highspy", "ortools", "pulp", "cvxpy", "networkx", "pyarrow")
_STORE_FORMAT = 1
_PER_RUN = (
    "regrets", "achieved_objectives", "tolerances", "worst_case_regrets", "hamming_distances", "codes",
    "gaps", "squared_errors", "absolute_errors", "rank_correlations",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class EvaluationRequest:
    """What is to be evaluated, and how.

    Args:
        model: how the model is called.
        solver: the model; its `on_failure` says what happens to rows without a proven optimum.
        make_solver: makes the same solver in a worker process.
        limits: those that the solver was made with.
        model_files: the files that the model was read from.
        true: the table of true costs.
        methods: with names of their own; none is called `constant`.
        baseline: the method that the others are held against; None: none is.
        worst_case: whether the worst tie is looked for.
        tolerance: relative; what counts as no regret.
        workers: threads or processes.
        resume: a folder for what is done so far; None: it is not kept.
    """

    model: str
    solver: Solver
    make_solver: Callable[[], Solver]
    limits: Limits
    model_files: Sequence[Path]
    true: Path
    methods: Sequence[MethodFiles]
    baseline: str | None
    worst_case: bool
    tolerance: float
    workers: int
    resume: Path | None


def evaluate_files(request: EvaluationRequest, begin: Callable[[int], Callable[[int], None]]) -> Evaluation:
    """Read, solve and compare.

    Args:
        request: what is to be evaluated.
        begin: called with the number of rows of costs to be evaluated, those of every method and seed, before
            any is; what it returns is called with how many are done.

    Raises:
        ImleOptError: anything wrong with the tables, the costs or the solver.

    Two solves per row and method less what repeats (true costs are solved once for all methods, and so are
    rows that are equal bit by bit); the worst case adds one, and one or two more in rows whose second-best
    decision is close.
    """
    created, began, times = datetime.now(UTC), time.perf_counter(), WorkTimes()
    solver = request.solver
    _open_all(request)
    inputs = _hashed(request)
    store = None if request.resume is None else BlockStore(request.resume, _stored_run(request, inputs))
    with read_true(request.true, solver) as true, open_runs(request.methods, solver, true) as runs:
        times.reading = time.perf_counter() - began
        num_runs = len(runs) + 1
        solved = begin(true.rows * num_runs)
        found = _Collected(num_runs, CostSample(true.rows, true.means.size))
        remembering = RememberingSolver(solver)
        work = Work(
            solver=remembering,
            make_solver=request.make_solver,
            true=true,
            runs=runs,
            constant=true.means,
            worst_case=request.worst_case,
            tolerance=request.tolerance,
            workers=request.workers,
            store=store,
            solved=lambda rows: solved(rows * num_runs),
        )
        run_blocks(work, found.keep, times)
        methods = _methods(request, remembering, runs, found)
    seconds = found.seconds
    return Evaluation(
        model=_facts(request),
        inputs=tuple(inputs),
        versions=_versions(),
        created=created.isoformat(timespec="seconds"),
        optimal_objectives=found.optimal_objectives,
        true_statuses=found.true_codes,
        true_gaps=found.true_gaps,
        methods=methods,
        baseline=request.baseline,
        failures=_failures(found, methods),
        timings=Timings(
            reading=times.reading,
            solving=float(seconds[:, 0].sum()),
            ties=float(seconds[:, 1].sum()),
            total=time.perf_counter() - began,
            workers=request.workers,
        ),
        solves=times.solves,
        picture=picture_of(solver),
    )


@final
class _Collected:
    """Blocks put together: (N,), (R, N), and samples of costs (T,), (R, T)."""

    def __init__(self, runs: int, sample: CostSample) -> None:
        rows = sample.rows
        self._sample = sample
        self.sampled_true: FloatArray = np.empty(sample.count)
        self.sampled_predicted: FloatArray = np.empty((runs, sample.count))
        self.optimal_objectives: FloatArray = np.empty(rows)
        self.true_codes: NDArray[np.uint8] = np.empty(rows, dtype=np.uint8)
        self.true_gaps: FloatArray = np.empty(rows)
        self.regrets, self.achieved_objectives, self.tolerances = (np.empty((runs, rows)) for _ in range(3))
        self.worst_case_regrets, self.hamming_distances, self.gaps = (
            np.empty((runs, rows)) for _ in range(3)
        )
        self.codes: NDArray[np.uint8] = np.empty((runs, rows), dtype=np.uint8)
        self.squared_errors, self.absolute_errors, self.rank_correlations = (
            np.empty((runs, rows)) for _ in range(3)
        )
        self.true_scatter: FloatArray = np.empty(rows)
        self.seconds: FloatArray = np.zeros((runs + 1, 2))
        self.worst: list[list[_Worst]] = [[] for _ in range(runs)]

    def keep(self, block: Block) -> None:
        """Put a block in its place."""
        rows = slice(block.start, block.stop)
        for name in ("optimal_objectives", "true_codes", "true_gaps", "true_scatter"):
            getattr(self, name)[rows] = getattr(block, name)
        for name in _PER_RUN:  # fmt: skip
            getattr(self, name)[:, rows] = getattr(block, name)
        samples = self._sample.between(block.start, block.stop)
        self.sampled_true[samples] = block.sampled_true
        self.sampled_predicted[:, samples] = block.sampled_predicted
        self.seconds += block.seconds
        for run, worst in enumerate(self.worst):
            for place in np.flatnonzero(block.worst_rows[run] >= 0).tolist():
                row = int(block.worst_rows[run, place])
                regret = float(self.regrets[run, row])
                costs = block.worst_true[run, place], block.worst_predicted[run, place]
                worst.append(_Worst(run, row, regret, *costs))
            self.worst[run] = sorted(worst, key=lambda each: (-each.regret, each.row))[:MOST_WORST]


@dataclass(frozen=True, eq=False)
class _Worst:
    run: int
    row: int
    regret: float
    true_costs: FloatArray
    predicted_costs: FloatArray


def _methods(
    request: EvaluationRequest, solver: Solver, runs: Sequence[Run], found: _Collected
) -> tuple[MethodResult, ...]:
    own = [
        (method.name, Role.PREDICTED, [place for place, run in enumerate(runs) if run.method == index])
        for index, method in enumerate(request.methods)
    ]
    seeds = [*(run.seed for run in runs), "0"]
    every = [*own, (CONSTANT, Role.CONSTANT, [len(runs)])]
    return tuple(
        _method(name, role, places, [seeds[place] for place in places], request, solver, found)
        for name, role, places in every
    )


def _method(
    name: str,
    role: Role,
    places: list[int],
    seeds: list[str],
    request: EvaluationRequest,
    solver: Solver,
    found: _Collected,
) -> MethodResult:
    sought = request.worst_case and role is Role.PREDICTED
    chosen: Any = slice(places[0], places[-1] + 1)  # a view: runs of a method are side by side
    worst = sorted(
        (each for place in places for each in found.worst[place]), key=lambda each: (-each.regret, each.row)
    )[:MOST_WORST]
    return MethodResult(
        name=name,
        role=role,
        seeds=tuple(seeds),
        regrets=found.regrets[chosen],
        achieved_objectives=found.achieved_objectives[chosen],
        tolerances=found.tolerances[chosen],
        worst_case_regrets=found.worst_case_regrets[chosen] if sought else None,
        hamming_distances=found.hamming_distances[chosen],
        statuses=found.codes[chosen],
        gaps=found.gaps[chosen],
        errors=errors_of(
            found.squared_errors[chosen],
            found.absolute_errors[chosen],
            found.rank_correlations[chosen],
            float(found.true_scatter.sum()),
            int(np.prod(request.solver.shape, dtype=np.int64)),
        ),
        worst_rows=_worst_rows(worst, places[0], seeds, solver, found),
        sampled_costs=SampledCosts(found.sampled_true, found.sampled_predicted[places[0]]),
        seconds=float(found.seconds[chosen].sum()),
    )


def _worst_rows(
    worst: Sequence[_Worst], first_run: int, seeds: Sequence[str], solver: Solver, found: _Collected
) -> tuple[WorstRow, ...]:
    """Solve the worst rows once more, for their decisions."""
    if not worst:
        return ()
    again = solver.with_on_failure("incumbent")
    decisions = again.solve(np.stack([each.predicted_costs for each in worst])).decisions
    best = again.solve(np.stack([each.true_costs for each in worst])).decisions
    return tuple(
        WorstRow(
            seed=seeds[each.run - first_run],
            row=each.row,
            regret=each.regret,
            optimal_objective=float(found.optimal_objectives[each.row]),
            true_costs=each.true_costs,
            predicted_costs=each.predicted_costs,
            decision=decision,
            optimal_decision=optimal,
        )
        for each, decision, optimal in zip(worst, decisions, best, strict=True)
    )


def _failures(found: _Collected, methods: Sequence[MethodResult]) -> tuple[RowFailure, ...]:
    failures = [
        RowFailure(None, None, row, STATUSES[found.true_codes[row]])
        for row in _failed(found.true_codes)[:_MOST_FAILURES].tolist()
    ]
    for method in methods:
        for seed, codes in zip(method.seeds, method.statuses, strict=True):
            left = _MOST_FAILURES - len(failures)
            rows = _failed(codes)[:left].tolist()
            failures += [RowFailure(method.name, seed, row, STATUSES[codes[row]]) for row in rows]
    return tuple(failures)


def _failed(codes: NDArray[np.uint8]) -> NDArray[np.intp]:
    return np.flatnonzero(codes != STATUSES.index(Status.OPTIMAL))


def _open_all(request: EvaluationRequest) -> None:
    """Find what is wrong with the form of a table before anything long begins."""
    open_costs(request.true, names=request.solver.names, shape=request.solver.shape)
    for method in request.methods:
        for path in method.paths:
            open_predicted(path, request.solver)


def _hashed(request: EvaluationRequest) -> list[InputFile]:
    files = [("model", path) for path in request.model_files]
    files += [("true", request.true)]
    files += [(method.name, path) for method in request.methods for path in method.paths]
    return [hash_file(role, path) for role, path in files]


def _facts(request: EvaluationRequest) -> ModelFacts:
    solver = request.solver
    return ModelFacts(
        name=request.model,
        engine=solver.traits.engine,
        sense=solver.sense,
        shape=solver.shape,
        names=solver.names,
        proves_optimality=solver.traits.exact,
        seconds_limit=request.limits.seconds,
        relative_gap=request.limits.relative_gap,
        tolerance=request.tolerance,
    )


def _stored_run(request: EvaluationRequest, inputs: Sequence[InputFile]) -> dict[str, Any]:
    """Return what a stored block depends on."""
    solver = request.solver
    return {
        "format": _STORE_FORMAT,
        "imle-opt": version("imle-opt"),
        "model": request.model,
        "engine": solver.traits.engine,
        "variables": None if solver.names is None else list(solver.names),
        "limits": [request.limits.seconds, request.limits.relative_gap],
        "on_failure": solver.on_failure,
        "worst_case": request.worst_case,
        "tolerance": request.tolerance,
        **{f"input {number} ({each.role})": [each.sha256, each.size] for number, each in enumerate(inputs)},
    }


def _versions() -> dict[str, str]:
    loaded = [name for name in _PACKAGES if name in sys.modules]
    return {
        "python": platform.python_version(),
        "imle-opt": version("imle-opt"),
        **{name: version(name) for name in loaded},
    }
