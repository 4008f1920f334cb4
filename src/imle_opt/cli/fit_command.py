"""`imle-opt fit`: train a predictor of costs from tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from imle_opt.cli.model_options import ModelOptions
from imle_opt.cli.outcome import ExitCode, say
from imle_opt.cli.progress import ProgressSolver, progress_bar
from imle_opt.cli.show import show_table
from imle_opt.fitting import FitRun, FitSettings, FitTables, ModelSource, run_fit
from imle_opt.fitting.features import read_named_features
from imle_opt.methods import Supervision
from imle_opt.model_spec import model_files
from imle_opt.tables import arrange, read_table
from imle_opt.training import EpochRecord
from imle_opt_solvers import InvalidInputError, Solution, Solver
from imle_opt_solvers.solution import FloatArray

__all__ = ["FitOptions", "run_fit_command"]


@final
@dataclass(frozen=True)
class FitOptions:
    """What `imle-opt fit` was asked; see its `--help`."""

    model: ModelOptions
    features: Path
    costs: Path | None
    solutions: Path | None
    out: Path
    settings: FitSettings
    overwrite: bool

    @property
    def labels(self) -> tuple[Path, Supervision]:
        """The table of labels, and what they are.

        Raises:
            InvalidInputError: both, or none.
        """
        if self.costs is not None and self.solutions is None:
            return self.costs, "costs"
        if self.solutions is not None and self.costs is None:
            return self.solutions, "solutions"
        given = "neither was" if self.costs is None else "both were"
        raise InvalidInputError(
            f"Give --costs, true costs, or --solutions, optimal decisions: {given} given. From costs more "
            f"can be learnt and measured."
        )


def run_fit_command(options: FitOptions) -> ExitCode:
    """Read, train, write, print.

    Raises:
        ImleOptError: anything wrong with the model, the tables or the options.
    """
    labels, supervision = options.labels
    options.settings.check_supervision(supervision)
    solver = options.model.load(labels)
    tables = _read(options, labels, supervision, solver)
    shown = _Epochs(options.settings.epochs)
    try:
        with shown.bar() as after_epoch, _one_thread():
            run = run_fit(
                solver,
                tables,
                options.settings,
                options.out,
                source=_source(options.model, labels),
                identity=_identity(options, labels),
                solve_truth=lambda costs: _solve_with_bar(solver, costs),
                after_epoch=after_epoch,
                overwrite=options.overwrite,
            )
    except KeyboardInterrupt:
        say("interrupted", f"{shown.reached()} The same command goes on from there.")
        return ExitCode.INTERRUPTED
    _print(run, options)
    return ExitCode.OK


def _read(options: FitOptions, labels: Path, supervision: Supervision, solver: Solver) -> FitTables:
    features, names = read_named_features(options.features)
    table = read_table(labels, names=solver.names)
    values = arrange(table, names=solver.names, shape=solver.shape)
    if len(features) != len(values):
        raise InvalidInputError(
            f"{options.features} has {len(features)} rows and {labels} has {len(values)}: give one "
            f"row per instance in both, in the same order."
        )
    return FitTables(features, values, supervision, names)


def _source(model: ModelOptions, table: Path) -> ModelSource:
    files = tuple(model_files(model.model))
    return ModelSource(model.model, model.maker(table), model.limits, files)


def _identity(options: FitOptions, labels: Path) -> dict[str, str]:
    model = options.model
    return {
        "MODEL": model.model,
        "variables": ", ".join(model.variables) or "all",
        "engine": model.engine,
        "seconds": str(model.seconds),
        "relative_gap": str(model.relative_gap),
        "on_failure": model.on_failure,
        "the features' SHA-256": _hash(options.features),
        "the labels' SHA-256": _hash(labels),
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _solve_with_bar(solver: Solver, costs: FloatArray) -> Solution:
    with progress_bar("solving the true costs", len(costs)) as solved:
        return ProgressSolver(solver, solved).solve(costs)


@contextmanager
def _one_thread() -> Generator[None]:
    """The networks are too small for several threads; and weights do not depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@final
class _Epochs:
    """How far the training is, for the bar and for the line after Ctrl-C."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self._last: tuple[str, int] | None = None
        self._best: dict[str, tuple[float, int]] = {}

    @contextmanager
    def bar(self) -> Generator[Callable[[str, EpochRecord], None]]:
        """Yield what is called after each epoch; on a terminal it shows a bar on stderr."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield lambda method, record: self._note(method, record)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            tasks: dict[str, TaskID] = {}

            def after_epoch(method: str, record: EpochRecord) -> None:
                self._note(method, record)
                if method not in tasks:
                    for task in tasks.values():  # they may have ended early
                        progress.update(task, total=progress.tasks[task].completed)
                    tasks[method] = progress.add_task(method, total=self.epochs, figures="")
                progress.update(
                    tasks[method], completed=record["epoch"], figures=self._figures(method, record)
                )

            yield after_epoch

    def reached(self) -> str:
        """Return a sentence on how far it came."""
        if self._last is None:
            return "No epoch was finished."
        method, epoch = self._last
        return f"Saved after epoch {epoch} of at most {self.epochs} of {method}."

    def _note(self, method: str, record: EpochRecord) -> None:
        epoch = int(record["epoch"])
        self._last = method, epoch
        self._best[method] = min(
            self._best.get(method, (record["validation"], epoch)), (record["validation"], epoch)
        )

    def _figures(self, method: str, record: EpochRecord) -> str:
        best, epoch = self._best[method]
        return f"validation {100 * record['validation']:.3g}%, best {100 * best:.3g}% after epoch {epoch}"


def _print(run: FitRun, options: FitOptions) -> None:
    rows = run.rows
    if run.held_out is not None:
        header, lines = run.held_out.table()
        show_table(header, lines, run.notes)
    epochs = ", ".join(
        f"{name} {result.best_epoch} of {len(result.history)}" for name, result in run.results.items()
    )
    print(f"rows: {len(rows.train)} to train, {len(rows.validation)} to watch, {len(rows.test)} held out")
    print(f"best epoch: {epochs}")
    print(f"predictor: {options.out}")
