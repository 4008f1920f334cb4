"""`imle-opt regret`: evaluate predicted costs against true ones."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imle_opt.cli.outcome import ExitCode, say
from imle_opt.cli.progress import ProgressSolver, progress_bar
from imle_opt.cli.show import show_table
from imle_opt.model_spec import load_solver
from imle_opt.tables import read_costs, read_table
from imle_opt_solvers import InvalidInputError, Limits, Solver
from imle_opt_solvers.regret import RegretReport, evaluate
from imle_opt_solvers.solution import FloatArray, OnFailure

__all__ = ["RegretOptions", "run_regret"]


@dataclass(frozen=True)
class RegretOptions:
    """What `imle-opt regret` was asked; see its `--help`."""

    model: str
    predicted: Path
    true: Path
    variables: tuple[str, ...]
    variables_from_table: bool
    engine: str
    seconds: float | None
    relative_gap: float
    on_failure: OnFailure
    worst_case: bool
    json: bool
    csv: Path | None
    fail_above: float | None


def run_regret(options: RegretOptions) -> ExitCode:
    """Evaluate, print, write, and compare with the threshold.

    Raises:
        ImleOptError: anything wrong with the model, the tables or the options.
    """
    _check(options)
    solver = _load(options)
    predicted = read_costs(options.predicted, names=solver.names, shape=solver.shape)
    true = read_costs(options.true, names=solver.names, shape=solver.shape)
    if len(predicted) != len(true):
        raise InvalidInputError(
            f"{options.predicted} has {len(predicted)} rows and {options.true} has {len(true)}: give one row "
            f"per instance in both, in the same order."
        )
    report = _evaluate(solver, predicted, true, options.worst_case)
    if options.csv is not None:
        _write_csv(options.csv, report)
    if options.json:
        print(json.dumps(_as_json(options, report), indent=2, allow_nan=False))
    else:
        show_table(("", ""), report.table(), report.notes)
    return _judge(report, options.fail_above)


def _check(options: RegretOptions) -> None:
    threshold = options.fail_above
    if threshold is not None and not (math.isfinite(threshold) and threshold >= 0):
        raise InvalidInputError(f"--fail-above must be a number from 0, as 0.03 for 3%, not {threshold}.")
    if options.variables and options.variables_from_table:
        raise InvalidInputError(
            "--variables and --variables-from-table say the same thing: give one of them."
        )
    if options.csv is not None and not options.csv.parent.is_dir():
        raise InvalidInputError(f"--csv {options.csv}: the folder {options.csv.parent} does not exist.")


def _load(options: RegretOptions) -> Solver:
    limited = options.seconds is not None or options.relative_gap != 0
    limits = Limits(seconds=options.seconds, relative_gap=options.relative_gap) if limited else None
    variables: Sequence[str] | None = options.variables or None
    if options.variables_from_table:
        variables = read_table(options.predicted).columns
        if variables is None:
            raise InvalidInputError(
                f"{options.predicted} has no header to take the names of the variables from: add one, or use "
                f"--variables."
            )
    solver = load_solver(options.model, variables=variables, engine=options.engine, limits=limits)
    return solver.with_on_failure(options.on_failure)


def _evaluate(solver: Solver, predicted: FloatArray, true: FloatArray, worst_case: bool) -> RegretReport:
    passes = 3 if worst_case else 2
    with progress_bar("solving", passes * len(true)) as solved:
        return evaluate(ProgressSolver(solver, solved), predicted, true, worst_case=worst_case)


def _as_json(options: RegretOptions, report: RegretReport) -> dict[str, Any]:
    asked = {"model": options.model, "predicted": str(options.predicted), "true": str(options.true)}
    threshold = {"fail_above": options.fail_above, "missed": _misses(report, options.fail_above)}
    return {**asked, **report.summary(), **threshold}


def _write_csv(path: Path, report: RegretReport) -> None:
    worst = report.worst_case_regrets
    columns: dict[str, Sequence[object]] = {
        "row": range(report.rows),
        "regret": _cells(report.regrets),
        "worst_case_regret": [""] * report.rows if worst is None else _cells(worst),
        "achieved_objective": _cells(report.achieved_objectives),
        "optimal_objective": _cells(report.optimal_objectives),
        "optimal": report.optimal.astype(int).tolist(),
        "exact_match": report.exact_matches.astype(int).tolist(),
        "hamming_distance": _cells(report.hamming_distances),
        "predicted_status": [status.value for status in report.predicted_statuses],
        "true_status": [status.value for status in report.true_statuses],
    }
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    except OSError as error:
        raise InvalidInputError(f"--csv {path}: cannot be written: {error.strerror}.") from error


def _cells(values: FloatArray) -> list[object]:
    return ["" if np.isnan(value) else value for value in values.tolist()]


def _misses(report: RegretReport, threshold: float | None) -> bool:
    """Whether the ratio of sums is above the threshold; where undefined, whether there is any regret."""
    if threshold is None or report.mean_regret == 0:
        return False
    return not report.normalized_regret <= threshold


def _judge(report: RegretReport, threshold: float | None) -> ExitCode:
    if threshold is None or not _misses(report, threshold):
        return ExitCode.OK
    figure = report.normalized_regret
    shown = "undefined" if np.isnan(figure) else f"{100 * figure:.4g}%"
    say(
        "missed",
        f"normalised regret (ratio of sums) is {shown}, above the threshold of {100 * threshold:.4g}%.",
    )
    return ExitCode.MISSED
