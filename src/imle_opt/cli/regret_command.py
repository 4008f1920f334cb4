"""`imle-opt regret`: evaluate the predicted costs of several methods against the true ones."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imle_opt.cli.outcome import ExitCode, say
from imle_opt.cli.progress import late_progress_bar
from imle_opt.cli.regret_table import show_evaluation
from imle_opt.evaluation.figures import figures
from imle_opt.evaluation.inputs import SEED_COLUMN, MethodFiles
from imle_opt.evaluation.json_report import as_json
from imle_opt.evaluation.judgement import Sampling, compare_with, judge
from imle_opt.evaluation.result import Evaluation, Role
from imle_opt.evaluation.row_csv import write_rows
from imle_opt.evaluation.run import CONSTANT, EvaluationRequest, evaluate_files
from imle_opt.evaluation.statistics import verdict
from imle_opt.evaluation.store import kept_rows
from imle_opt.model_spec import load_solver, model_files
from imle_opt.report import check_report, write_report
from imle_opt.tables import open_table
from imle_opt_solvers import InvalidInputError, Limits, Solver
from imle_opt_solvers.solution import OnFailure

__all__ = ["RegretOptions", "run_regret"]

_RESERVED = (CONSTANT, "oracle", "true", "model")
_ON_FAILURE: dict[str, OnFailure] = {"raise": "raise", "skip": "nan", "incumbent": "incumbent"}


@dataclass(frozen=True)
class RegretOptions:
    """What `imle-opt regret` was asked; see its `--help`."""

    model: str
    predicted: tuple[str, ...]
    true: Path
    baseline: str | None
    variables: tuple[str, ...]
    variables_from_table: bool
    engine: str
    seconds: float | None
    relative_gap: float
    on_failure: str
    worst_case: bool
    tolerance: float
    workers: int | None
    resume: Path | None
    json: bool
    csv: Path | None
    html: Path | None
    seed: int
    resamples: int
    fail_above: float | None
    fail_if_worse_than: str | None


def run_regret(options: RegretOptions) -> ExitCode:
    """Evaluate, print, write, and compare with the thresholds.

    Raises:
        ImleOptError: anything wrong with the model, the tables or the options.
    """
    methods = _methods_of(options.predicted)
    _check(options, methods)
    try:
        evaluation = _evaluate(options, methods)
    except KeyboardInterrupt:
        say("interrupted", _kept(options.resume))
        return ExitCode.INTERRUPTED
    if options.csv is not None:
        write_rows(options.csv, evaluation)
    sampling = Sampling(options.seed, options.resamples)
    judgement = judge(evaluation, sampling)
    if options.html is not None:
        write_report(options.html, evaluation, judgement)
    missed = [*_above(evaluation, options.fail_above), *_worse(evaluation, options, sampling)]
    if options.json:
        thresholds = {
            "fail_above": options.fail_above,
            "fail_if_worse_than": options.fail_if_worse_than,
            "missed": missed,
        }
        report = {**as_json(evaluation, judgement), "thresholds": thresholds}
        print(json.dumps(report, indent=2, allow_nan=False))
    else:
        show_evaluation(evaluation, judgement)
    for message in missed:
        say("missed", message)
    return ExitCode.MISSED if missed else ExitCode.OK


def _methods_of(words: Sequence[str]) -> tuple[MethodFiles, ...]:
    """Read `NAME=FILE`, several of one name as its seeds, or `FILE`, named by its stem."""
    files: dict[str, list[Path]] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            name, path = Path(word).stem, word
            if name in files:
                raise InvalidInputError(
                    f"--predicted {word}: there is a {name!r} already. Write --predicted NAME={word}; the "
                    f"same name again means another seed of that method."
                )
        if not name.strip() or not path:
            raise InvalidInputError(f"--predicted {word}: write NAME=FILE, or FILE.")
        if name in _RESERVED:
            raise InvalidInputError(
                f"--predicted {word}: {name!r} is the name of a reference. Choose another."
            )
        files.setdefault(name, []).append(Path(path))
    return tuple(MethodFiles(name, tuple(paths)) for name, paths in files.items())


def _check(options: RegretOptions, methods: Sequence[MethodFiles]) -> None:
    threshold = options.fail_above
    if threshold is not None and not (math.isfinite(threshold) and threshold >= 0):
        raise InvalidInputError(f"--fail-above must be a number from 0, as 0.03 for 3%, not {threshold}.")
    if not 0 <= options.tolerance < 1:
        raise InvalidInputError(
            f"--tolerance must be in [0, 1), not {options.tolerance}: it is relative to the objective."
        )
    if options.workers is not None and options.workers < 1:
        raise InvalidInputError(f"--workers must be at least 1, not {options.workers}.")
    if options.variables and options.variables_from_table:
        raise InvalidInputError(
            "--variables and --variables-from-table say the same thing: give one of them."
        )
    if options.csv is not None and (options.csv.is_dir() or not options.csv.parent.is_dir()):
        raise InvalidInputError(f"--csv {options.csv} must name a file in a folder that exists.")
    if options.html is not None:
        check_report(options.html)
    for option, name in (
        ("--baseline", options.baseline),
        ("--fail-if-worse-than", options.fail_if_worse_than),
    ):
        _known_method(option, name, methods)
    if options.resamples < 100 or options.seed < 0:
        raise InvalidInputError("--resamples must be at least 100, and --seed at least 0.")


def _known_method(option: str, name: str | None, methods: Sequence[MethodFiles]) -> None:
    known = [*(method.name for method in methods), CONSTANT]
    if name is not None and name not in known:
        raise InvalidInputError(f"{option} {name}: there is no such method. There are {', '.join(known)}.")


def _evaluate(options: RegretOptions, methods: Sequence[MethodFiles]) -> Evaluation:
    limits = Limits(seconds=options.seconds, relative_gap=options.relative_gap)
    make_solver = _solver_maker(options, methods, limits)
    request = EvaluationRequest(
        model=options.model,
        solver=make_solver().with_on_failure(_ON_FAILURE[options.on_failure]),
        make_solver=make_solver,
        limits=limits,
        model_files=model_files(options.model),
        true=options.true,
        methods=methods,
        baseline=options.baseline,
        worst_case=options.worst_case,
        tolerance=options.tolerance,
        workers=options.workers or _processors(),
        resume=options.resume,
    )
    with late_progress_bar("solving") as begin:
        return evaluate_files(request, begin)


def _kept(folder: Path | None) -> str:
    if folder is None:
        return "nothing was written. With --resume DIR, what is solved is kept."
    return f"{kept_rows(folder)} rows are kept in {folder}. The same command goes on from there."


def _solver_maker(
    options: RegretOptions, methods: Sequence[MethodFiles], limits: Limits
) -> Callable[[], Solver]:
    variables: Sequence[str] | None = options.variables or None
    if options.variables_from_table:
        first = methods[0].paths[0]
        variables = open_table(first, label=SEED_COLUMN).columns
        if variables is None:
            raise InvalidInputError(
                f"{first} has no header to take the names of the variables from: add one, or use --variables."
            )
    limited = limits != Limits()
    return partial(
        load_solver,
        options.model,
        variables=variables,
        engine=options.engine,
        limits=limits if limited else None,
    )


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _above(evaluation: Evaluation, threshold: float | None) -> list[str]:
    """Return a message for each method above the threshold; the baseline is not judged."""
    if threshold is None:
        return []
    messages: list[str] = []
    for method in evaluation.methods:
        if method.role is not Role.PREDICTED or method.name == evaluation.baseline:
            continue
        found = figures(method, evaluation)
        figure = found.normalized_regret_ratio_of_sums
        # Where the ratio is undefined, any regret is too much.
        if figure <= threshold or (np.isnan(figure) and found.mean_regret == 0):
            continue
        shown = "undefined" if np.isnan(figure) else f"{100 * figure:.4g}%"
        messages.append(
            f"{method.name}: normalised regret (ratio of sums) is {shown}, above the threshold of "
            f"{100 * threshold:.4g}%."
        )
    return messages


def _worse(evaluation: Evaluation, options: RegretOptions, sampling: Sampling) -> list[str]:
    """Return the verdict on each method that is shown to decide worse than the named one."""
    if options.fail_if_worse_than is None:
        return []
    comparisons = compare_with(options.fail_if_worse_than, evaluation, sampling)
    return [verdict(each) for each in comparisons if each.shown and each.difference.estimate > 0]
