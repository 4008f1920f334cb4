"""`imle-opt solve`: decisions from costs."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from imle_opt.cli.model_options import ModelOptions
from imle_opt.cli.outcome import ExitCode, say
from imle_opt.cli.progress import ProgressSolver, late_progress_bar
from imle_opt.table_writer import check_writable, open_writer
from imle_opt.tables import open_costs
from imle_opt_solvers import InvalidInputError, Solution, SolveError, Solver
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.solver import failure_message

__all__ = ["SolveOptions", "run_solve"]


@final
@dataclass(frozen=True)
class SolveOptions:
    """What `imle-opt solve` was asked; see its `--help`."""

    model: ModelOptions
    costs: Path
    out: Path
    status: Path | None


def run_solve(options: SolveOptions) -> ExitCode:
    """Read, solve and write, a block of rows at a time.

    Raises:
        ImleOptError: anything wrong with the model, the table or the options; or a row without a proven
            optimum, unless `--on-failure` says otherwise.
    """
    check_writable(options.out, "--out")
    if options.status is not None and not options.status.parent.is_dir():
        raise InvalidInputError(
            f"--status {options.status}: the folder {options.status.parent} does not exist."
        )
    solver = options.model.load(options.costs)
    source = open_costs(options.costs, names=solver.names, shape=solver.shape)
    counts: Counter[str] = Counter()
    failed: list[int] = []
    with ExitStack() as stack:
        write = stack.enter_context(open_writer(options.out, solver.names, source.table.width))
        write_status = stack.enter_context(_status_writer(options.status))
        begin = stack.enter_context(late_progress_bar("solving"))
        shown = ProgressSolver(solver, begin(source.table.rows or 0))
        for block in source.blocks():
            start = counts.total()
            solution = _solve(shown, block.values, start)
            write(solution.decisions)
            write_status(start, solution)
            counts.update(status.value for status in solution.statuses)
            failed += [start + row for row in solution.failed_rows]
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{options.out}: {counts.total()} decisions ({listed})")
    if failed:
        rows = ", ".join(map(str, failed[:5])) + (", ..." if len(failed) > 5 else "")
        say("note", f"{len(failed)} rows have no proven optimum: row {rows} (counted from 0).")
    return ExitCode.OK


def _solve(solver: Solver, costs: FloatArray, start: int) -> Solution:
    """Solve a block; errors count its rows from the first of the table."""
    try:
        return solver.solve(costs)
    except SolveError as error:
        message = failure_message(error.solution, error.rows, solver.failure_advice, start)
        raise SolveError(message, error.rows, error.solution) from error


@contextmanager
def _status_writer(path: Path | None) -> Generator[Callable[[int, Solution], None]]:
    """Yield a function that appends a line per row, of which it is told the first one's number."""
    if path is None:
        yield lambda start, solution: None
        return
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"--status {path}: cannot be written: {error.strerror}.") from error
    with file:
        writer = csv.writer(file)
        writer.writerow(("row", "status", "objective", "gap"))

        def write(start: int, solution: Solution) -> None:
            numbers = zip(
                solution.statuses, solution.objectives.tolist(), solution.gaps.tolist(), strict=True
            )
            writer.writerows(
                (row, status.value, _cell(objective), _cell(gap))
                for row, (status, objective, gap) in enumerate(numbers, start=start)
            )

        yield write


def _cell(number: float) -> float | str:
    return "" if math.isnan(number) else number
