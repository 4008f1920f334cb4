"""A progress bar over the solves of a solver, shown on a terminal once they take more than a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from imle_opt_solvers import InvalidInputError, Solution, Solver, Status
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray

__all__ = ["ProgressSolver", "late_progress_bar", "progress_bar"]

_PATIENCE = 1.0
_CHUNK_SECONDS = 0.1


@final
class ProgressSolver(Solver):
    """Another solver, fed a batch in pieces so that it can say how far it is.

    The answers are those of the other solver: with `deterministic=True` rows do not depend on each other.

    Args:
        solver: the solver; without `instances`.
        solved: called with the number of rows after each piece.
    """

    def __init__(self, solver: Solver, solved: Callable[[int], None]) -> None:
        traits = replace(solver.traits, takes_instances=())
        super().__init__(solver.shape, solver.sense, traits, names=solver.names, on_failure=solver.on_failure)
        self.solver = solver
        self.solved = solved

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """The other solver's advice."""
        return self.solver.failure_advice

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve in pieces of about a tenth of a second."""
        pieces: list[Solution] = []
        start, size = 0, 1
        while start < len(costs):
            began = time.perf_counter()
            try:
                pieces.append(self.solver.solve_rows(costs[start : start + size], None, deterministic))
            except InvalidInputError:
                # Raised again over the whole batch, whose rows its message then counts.
                return self.solver.solve_rows(costs, None, deterministic)
            self.solved(len(pieces[-1].statuses))
            start += size
            if time.perf_counter() - began < _CHUNK_SECONDS:
                size *= 2
        return Solution(
            np.concatenate([piece.decisions for piece in pieces]),
            np.concatenate([piece.objectives for piece in pieces]),
            tuple(status for piece in pieces for status in piece.statuses),
            np.concatenate([piece.gaps for piece in pieces]),
            0.0,
        )


@contextmanager
def progress_bar(description: str, total: int) -> Generator[Callable[[int], None]]:
    """Yield a function that counts rows; a bar appears on stderr if it is a terminal, after one second.

    Args:
        description: what is going on.
        total: rows that are expected; the bar makes room where there are more.
    """
    with late_progress_bar(description) as begin:
        yield begin(total)


@contextmanager
def late_progress_bar(description: str) -> Generator[Callable[[int], Callable[[int], None]]]:
    """Yield a function that is told how many rows are expected, and returns the one that counts them.

    Args:
        description: what is going on.
    """
    console = Console(stderr=True)
    progress = Progress(console=console, transient=True)
    task = progress.add_task(description, total=None)
    began = time.perf_counter()
    expected = 0

    def solved(rows: int) -> None:
        progress.advance(task, rows)
        progress.update(task, total=max(expected, progress.tasks[0].completed))
        waited = time.perf_counter() - began > _PATIENCE
        if waited and console.is_terminal and not progress.live.is_started:
            progress.start()

    def begin(total: int) -> Callable[[int], None]:
        nonlocal expected
        expected = total
        return solved

    try:
        yield begin
    finally:
        if progress.live.is_started:
            progress.stop()
