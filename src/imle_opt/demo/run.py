"""Run the demo: train, print the table, write the report."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from imle_opt._checks import check_at_least_one
from imle_opt.demo.methods import METHODS, Outcome, equal_costs, learn
from imle_opt.demo.report import render
from imle_opt.demo.result import COLUMNS, DemoResult, cells, verdict
from imle_opt.demo.task import make_task
from imle_opt_solvers.errors import InvalidInputError, MissingDependencyError

__all__ = ["run_demo"]

_EPOCHS = 20
_MAPS = 2000


def run_demo(
    *,
    out: Path | str | None = Path("report.html"),
    seed: int = 0,
    epochs: int | None = None,
    maps: int | None = None,
    test_maps: int = 500,
    progress: bool | None = None,
) -> DemoResult:
    """Learn the costs of maps of handwritten digits from their images; print a table, write a report.

    Each map shows 6 x 6 digits; a cell costs 1 + its digit; the solver finds the cheapest path from the top
    left to the bottom right over the 8 neighbours of each cell, both ends paid. The network sees images only,
    and no digit of the test maps before the test.

    Args:
        out: where the report goes; None for no report. Without plotly the table is printed all the same.
        seed: of the maps, the weights and the noise; the same seed gives the same figures on one machine.
        epochs: passes over the training maps, for each method; None for 20.
        maps: maps to train on; None for 2,000.
        test_maps: maps to test on.
        progress: show bars on stderr; None: if that is a terminal.

    Returns:
        The figures, and whether the target was met: at most 3% regret learnt from paths alone.

    Raises:
        InvalidInputError: a number below 1, or a report in a folder that does not exist.
    """
    epochs, maps = _EPOCHS if epochs is None else epochs, _MAPS if maps is None else maps
    for name, value in (("epochs", epochs), ("maps", maps), ("test_maps", test_maps)):
        check_at_least_one(value, name)
    path = None if out is None else _checked_path(Path(out))
    began, console = time.perf_counter(), Console()
    task = make_task(maps, test_maps, seed)
    _say(console, f"{maps} maps to train on, {test_maps} to test on, {epochs} epochs for each method.")
    outcomes: list[Outcome] = []
    with _one_thread():
        for method in METHODS:
            _say(console, f"{method.name}, learning from {method.sees} ...")
            outcomes.append(learn(method, task, epochs, seed, progress=progress))
    outcomes.append(equal_costs(task))
    result = DemoResult(task, tuple(outcomes), seed, epochs, time.perf_counter() - began)
    console.print(_table(result))
    _say(console, verdict(result))
    _say(console, f"{result.seconds:.0f} seconds in all.")
    if path is not None:
        _say(console, _write(result, path))
    return result


@contextmanager
def _one_thread() -> Generator[None]:
    """The network is too small for several threads, which on a busy machine wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _table(result: DemoResult) -> Table:
    rows = len(result.task.test.maps)
    table = Table(title=f"Normalised regret on {rows} test maps, and time of training", title_justify="left")
    for number, column in enumerate(COLUMNS):
        header = column.replace(" ", "\n", 1) if number else column
        table.add_column(header, justify="left" if number < 2 else "right")
    for outcome in result.outcomes:
        table.add_row(*cells(outcome))
    return table


def _checked_path(path: Path) -> Path:
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInputError(f"`out` must name a file in a folder that exists, not {str(path)!r}.")
    return path


def _write(result: DemoResult, path: Path) -> str:
    try:
        page = render(result)
    except MissingDependencyError as error:
        return f"No report was written: {error}"
    path.write_text(page, encoding="utf-8")
    return f"Report: {path}"


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
