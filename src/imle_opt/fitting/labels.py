"""Optimal decisions of all rows: solved once where costs are the labels, and kept for a run that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from imle_opt._bridge import to_array
from imle_opt._safe_files import read_tree, write_tree
from imle_opt.fitting.tables import FitTables
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["TruthSolver", "optimal_solution", "take"]

TruthSolver: TypeAlias = Callable[[FloatArray], Solution]
"""True costs (rows, *shape) -> their optima, with a progress bar or without."""


def optimal_solution(solver: Solver, tables: FitTables, path: Path, solve: TruthSolver) -> Solution:
    """Return the optima of all rows, from the file if it is there, else solved and written to it.

    Args:
        solver: of the model.
        tables: labels; where they are solutions, nothing is solved.
        path: a file that belongs to this run.
        solve: how true costs are solved.
    """
    if tables.supervision == "solutions":
        return _given(solver, tables.labels)
    if path.is_file():
        return _read(path)
    solution = solve(tables.labels)
    write_tree(
        path,
        {
            "decisions": torch.from_numpy(solution.decisions),
            "objectives": torch.from_numpy(solution.objectives),
            "gaps": torch.from_numpy(solution.gaps),
            "statuses": [status.value for status in solution.statuses],
            "seconds": solution.seconds,
        },
    )
    return solution


def take(solution: Solution, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Solution:
    """Return some rows of a flat solution."""
    return Solution(
        solution.decisions[rows],
        solution.objectives[rows],
        tuple(solution.statuses[row] for row in rows.tolist()),
        solution.gaps[rows],
        solution.seconds,
    )


def _given(solver: Solver, decisions: FloatArray) -> Solution:
    unknown = np.full(len(decisions), np.nan)
    return Solution(decisions, unknown, (Status.OPTIMAL,) * len(decisions), unknown, 0.0)


def _read(path: Path) -> Solution:
    saved = read_tree(path)
    return Solution(
        to_array(saved["decisions"]),
        to_array(saved["objectives"]),
        tuple(Status(value) for value in saved["statuses"]),
        to_array(saved["gaps"]),
        saved["seconds"],
    )
