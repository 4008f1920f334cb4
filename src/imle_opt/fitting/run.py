"""A whole run: split, solve the truth, train, train the baseline, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from imle_opt.fitting.folder import RunFolder
from imle_opt.fitting.held_out import ModelSource, Report, report_held_out
from imle_opt.fitting.labels import TruthSolver, optimal_solution
from imle_opt.fitting.predictor import CostPredictor
from imle_opt.fitting.settings import FitSettings
from imle_opt.fitting.tables import FitTables, Rows, split_rows
from imle_opt.fitting.train import Problem, make_problem, train
from imle_opt.training import EpochRecord, FitResult
from imle_opt_solvers.solver import Solver

__all__ = ["TWO_STAGE", "FitRun", "run_fit"]

TWO_STAGE = "two-stage"
"""Name of the baseline: the same predictor, trained by `mse`."""
_SCHEMA = "imle-opt/fit/1"


@final
@dataclass(frozen=True, eq=False)
class FitRun:
    """What a run came to.

    Args:
        predictor: trained by the method that was asked for.
        results: how each training went, by method.
        rows: which rows were for what.
        held_out: the figures on the rows held out; None where there are none.
        notes: what a reader must know.
    """

    predictor: CostPredictor
    results: Mapping[str, FitResult]
    rows: Rows
    held_out: Report | None
    notes: tuple[str, ...]


def run_fit(
    solver: Solver,
    tables: FitTables,
    settings: FitSettings,
    folder: Path,
    *,
    source: ModelSource,
    identity: Mapping[str, str],
    solve_truth: TruthSolver,
    after_epoch: Callable[[str, EpochRecord], None],
    overwrite: bool = False,
) -> FitRun:
    """Train a predictor, and the two-stage baseline where costs are known; write folder and report.

    Where the folder holds the same run, interrupted, it goes on from its last epoch, and ends as if it had
    never been interrupted.

    Args:
        solver: of the model.
        tables: features and labels.
        settings: how to learn.
        folder: where everything goes.
        source: where the solver comes from.
        identity: names what the run depends on besides the settings, for example hashes of the tables.
        solve_truth: solves true costs.
        after_epoch: called with a method's name and what is known after each of its epochs.
        overwrite: replace an earlier run in the folder.

    Raises:
        InvalidInputError: labels that the method cannot learn from, too few rows, a folder that holds
            something else.
        SolveError: a row without a proven optimum, where the solver's policy is to raise.
    """
    settings.check_supervision(tables.supervision)
    tables.check_for(settings.method)
    rows = split_rows(len(tables.features), settings)
    files = RunFolder(folder)
    files.open(overwrite=overwrite)
    truth = optimal_solution(solver, tables, files.truth, solve_truth)
    problem = make_problem(solver, tables, rows, truth, settings)
    methods = {settings.method: settings.method}
    if tables.supervision == "costs" and settings.method != "mse" and len(rows.test):
        methods[TWO_STAGE] = "mse"
    predictors: dict[str, CostPredictor] = {}
    results: dict[str, FitResult] = {}
    for name, method in methods.items():
        predictors[name], results[name] = train(
            problem,
            method,
            checkpoint=files.checkpoint(name),
            identity={**settings.as_text(), **identity},
            after_epoch=_logged(files, name, after_epoch),
        )
        files.write_log(name, results[name].history)
    held_out = _report(problem, predictors, results, files, identity, source) if len(rows.test) else None
    no_page = None if held_out is None else held_out.write_page(files.page)
    predictors[settings.method].save(folder)
    files.remove_checkpoints()
    notes = _notes(problem) if no_page is None else (*_notes(problem), no_page)
    return FitRun(predictors[settings.method], results, rows, held_out, notes)


def _logged(
    files: RunFolder, name: str, after_epoch: Callable[[str, EpochRecord], None]
) -> Callable[[EpochRecord], None]:
    def note(record: EpochRecord) -> None:
        files.append_log(name, record)
        after_epoch(name, record)

    return note


def _report(
    problem: Problem,
    predictors: Mapping[str, CostPredictor],
    results: Mapping[str, FitResult],
    files: RunFolder,
    identity: Mapping[str, str],
    source: ModelSource,
) -> Report:
    features = problem.tables.features[problem.rows.test]
    predicted = {name: each.predict(features) for name, each in predictors.items()}
    report = report_held_out(problem, predicted, files.held_out, source)
    rows = problem.rows
    content = {
        "schema": _SCHEMA,
        "rows": {"train": len(rows.train), "validation": len(rows.validation), "held_out": len(rows.test)},
        "trainings": {name: _summary(result) for name, result in results.items()},
        "settings": {**problem.settings.as_text(), **identity},
        "cost_unit": problem.spec.cost_unit,
        "notes": list(_notes(problem)),
        **report.as_json(),
    }
    files.report.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return report


def _summary(result: FitResult) -> dict[str, Any]:
    return {
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "best_validation": result.best_validation,
        "stopped_early": result.stopped_early,
        "seconds": result.seconds,
        "solver_seconds": result.solver_seconds,
    }


def _notes(problem: Problem) -> tuple[str, ...]:
    constant = problem.tables.constant_features(problem.rows.train)
    if not constant:
        return ()
    shown = ", ".join(constant[:5]) + (", ..." if len(constant) > 5 else "")
    return (f"the same in all training rows, and therefore without effect: {shown}",)
