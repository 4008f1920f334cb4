"""The threads of a pool."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import final

import numpy as np

from imle_opt_solvers._chunks import Batch, Chunk, ChunkTime, Solved, name_rows
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import take_rows
from imle_opt_solvers.solution import Solution
from imle_opt_solvers.solver import Solver

__all__ = ["ThreadWorkers"]


@final
class ThreadWorkers:
    """Threads that solve chunks with one solver, which keeps what is not to be shared per thread.

    Args:
        solver: the solver.
        workers: how many threads.
    """

    restarts = 0
    send_seconds = 1e-4

    def __init__(self, solver: Solver, workers: int) -> None:
        self._solver = solver
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="imle-opt-pool")

    def start(self) -> None:
        """Do nothing: threads start with their first chunk."""

    def run(self, batch: Batch) -> Solved:
        """Solve a batch; an exception is that of the first chunk in the order of the rows."""
        begun = [(chunk, self._threads.submit(self._solve, batch, chunk)) for chunk in batch.chunks]
        begun.sort(key=lambda each: each[0].start)
        try:
            parts = [_result_of(future, chunk) for chunk, future in begun]
        except BaseException:
            for _, future in begun:
                future.cancel()
            raise
        began = time.perf_counter()
        solution = _joined([part for part, _ in parts])
        return Solved(solution, tuple(taken for _, taken in parts), time.perf_counter() - began)

    def close(self) -> None:
        """Let the threads end after the chunks that they are solving."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _solve(self, batch: Batch, chunk: Chunk) -> tuple[Solution, ChunkTime]:
        instances = None if batch.instances is None else take_rows(batch.instances, chunk.rows)
        began = time.perf_counter()
        solution = self._solver.solve_rows(batch.costs[chunk.rows], instances, batch.deterministic)
        seconds = time.perf_counter() - began
        return solution, ChunkTime(chunk, seconds, seconds)


def _result_of(future: Future[tuple[Solution, ChunkTime]], chunk: Chunk) -> tuple[Solution, ChunkTime]:
    try:
        return future.result()
    except CancelledError:
        raise InvalidInputError("The pool was closed while it was solving a batch.") from None
    except Exception as error:
        name_rows(error, chunk)
        raise


def _joined(parts: list[Solution]) -> Solution:
    return Solution(
        np.concatenate([part.decisions for part in parts]),
        np.concatenate([part.objectives for part in parts]),
        tuple(status for part in parts for status in part.statuses),
        np.concatenate([part.gaps for part in parts]),
        0.0,
    )
