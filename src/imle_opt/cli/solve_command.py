"""`imle-opt solve`: decisions from costs."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from imle_opt.cli.model_options import ModelOptions
from imle_opt.cli.outcome import ExitCode, say
from imle_opt.cli.progress import ProgressSolver, progress_bar
from imle_opt.table_writer import check_writable, write_table
from imle_opt.tables import read_costs
from imle_opt_solvers import InvalidInputError, Solution, Status

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
    """Read, solve, write.

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
    costs = read_costs(options.costs, names=solver.names, shape=solver.shape)
    with progress_bar("solving", len(costs)) as solved:
        solution = ProgressSolver(solver, solved).solve(costs)
    write_table(options.out, solution.decisions, solver.names)
    if options.status is not None:
        _write_status(options.status, solution)
    counts = Counter(status.value for status in solution.statuses)
    print(f"{options.out}: {len(costs)} decisions ({', '.join(f'{n} {name}' for name, n in counts.items())})")
    if counts.keys() - {Status.OPTIMAL.value}:
        rows = ", ".join(map(str, solution.failed_rows[:5])) + (
            ", ..." if len(solution.failed_rows) > 5 else ""
        )
        say("note", f"{len(solution.failed_rows)} rows have no proven optimum: row {rows} (counted from 0).")
    return ExitCode.OK


def _write_status(path: Path, solution: Solution) -> None:
    rows = zip(solution.statuses, solution.objectives.tolist(), solution.gaps.tolist(), strict=True)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("row", "status", "objective", "gap"))
            writer.writerows(
                (row, status.value, *("" if np.isnan(number) else number for number in numbers))
                for row, (status, *numbers) in enumerate(rows)
            )
    except OSError as error:
        raise InvalidInputError(f"--status {path}: cannot be written: {error.strerror}.") from error
