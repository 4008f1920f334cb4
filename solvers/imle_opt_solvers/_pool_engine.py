"""What the copies of one pool share: its workers, its counts, and where a batch is solved."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, final

from imle_opt_solvers._background import Background
from imle_opt_solvers._chunks import Batch, Chunk, ChunkTime, Solved, Workers, cut
from imle_opt_solvers._pool_costs import PoolCosts
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["PoolEngine", "PoolStats"]


@dataclass(frozen=True)
class PoolStats:
    """What a pool has done so far.

    Args:
        solves: rows solved.
        inline_solves: how many of them where the call came from, because sending them takes longer.
        solver_seconds: time in the solver, added up over the workers.
        waiting_seconds: time that workers were idle or receiving while a batch was in progress, added up.
        seconds: wall clock of all batches; the start of the workers is not counted.
        restarts: workers that were replaced.
        statuses: how many rows ended with each status.
        row_seconds: what one row takes, from the last batches; None before the first.
        overhead_seconds: what sending one batch takes, from the last batches; None before the first.
    """

    solves: int
    inline_solves: int
    solver_seconds: float
    waiting_seconds: float
    seconds: float
    restarts: int
    statuses: Mapping[Status, int]
    row_seconds: float | None
    overhead_seconds: float | None


@final
class PoolEngine:
    """Workers that start with the first batch and stay; closed when nobody holds them any more.

    Args:
        solver: for batches that are not worth sending.
        make_workers: called once.
        workers: how many.
        chunk: rows per chunk, or `"auto"`.
        may_solve_inline: whether batches may be solved here at all.
    """

    def __init__(
        self,
        solver: Solver,
        make_workers: Callable[[], Workers],
        workers: int,
        *,
        chunk: int | Literal["auto"],
        may_solve_inline: bool,
    ) -> None:
        self._solver = solver
        self._make_workers = make_workers
        self._size = workers
        self._chunk: int | Literal["auto"] = chunk
        self._may_solve_inline = may_solve_inline
        self._workers: Workers | None = None
        self._background = Background()
        self._finish = weakref.finalize(self, _close, os.getpid(), self._background, None)
        self._ready = self._closed = False
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._inline_lock = threading.Lock()
        self._costs = PoolCosts()
        self._statuses: Counter[Status] = Counter()
        self._inline_solves = 0
        self._solver_seconds = self._idle_seconds = self._seconds = 0.0

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve a batch, on the workers or here.

        Raises:
            InvalidInputError: the pool is closed, or belongs to the process that this one was forked from.
        """
        self._check_usable()
        rows = len(costs)
        workers = self._started()
        with self._lock:
            inline = self._may_solve_inline and not workers.restarts
            inline = inline and self._costs.favour_inline(rows, self._size)
            chunks = cut(rows, self._size, self._chunk, self._costs.row_seconds)
        began = time.perf_counter()
        if inline:
            with self._inline_lock:
                solution = self._solver.solve_rows(costs, instances, deterministic)
            seconds = time.perf_counter() - began
            solved = Solved(solution, (ChunkTime(Chunk(0, rows), seconds, seconds),), 0.0)
        else:
            solved = workers.run(Batch(costs, instances, deterministic, chunks))
        self._count(solved, time.perf_counter() - began, 0 if inline else min(self._size, len(chunks)))
        return solved.solution

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Run a call on the pool's own thread, after those submitted before."""
        self._check_usable()
        return self._background.submit(call)

    def stats(self) -> PoolStats:
        """Return the counts so far."""
        with self._lock:
            return PoolStats(
                solves=self._statuses.total(),
                inline_solves=self._inline_solves,
                solver_seconds=self._solver_seconds,
                waiting_seconds=self._idle_seconds,
                seconds=self._seconds,
                restarts=0 if self._workers is None else self._workers.restarts,
                statuses=dict(self._statuses),
                row_seconds=self._costs.row_seconds,
                overhead_seconds=self._costs.overhead_seconds,
            )

    def close(self) -> None:
        """End the workers, whatever they are doing. More than once does no harm."""
        self._closed = True
        self._finish()

    def _check_usable(self) -> None:
        # Before any lock: one that was held elsewhere at the time of a fork is never released in the child.
        if os.getpid() != self._process:
            raise InvalidInputError(
                "This SolverPool was made in another process, of which this one is a fork: its workers and "
                "threads are not here. Make a pool in this process (in a DataLoader's `worker_init_fn`, for "
                "example), or solve before or after the DataLoader."
            )
        if self._closed:
            raise InvalidInputError("This SolverPool is closed: make another one, or close it later.")

    def _started(self) -> Workers:
        with self._lock:
            if self._workers is None:
                self._workers = self._make_workers()
                self._finish.detach()
                self._finish = weakref.finalize(self, _close, self._process, self._background, self._workers)
            if not self._ready:
                self._workers.start()
                self._ready = True
            return self._workers

    def _count(self, solved: Solved, seconds: float, parallel: int) -> None:
        rows = len(solved.solution.statuses)
        with self._lock:
            self._statuses.update(solved.solution.statuses)
            self._solver_seconds += solved.solver_seconds
            self._seconds += seconds
            if parallel:
                self._costs.sent(rows, parallel, solved.solver_seconds, seconds)
                self._idle_seconds += max(0.0, self._size * seconds - solved.solver_seconds)
            else:
                self._costs.solved_inline(rows, seconds)
                self._inline_solves += rows


def _close(process: int, background: Background, workers: Workers | None) -> None:
    if os.getpid() != process:  # a forked child must not end its parent's workers
        return
    background.close()
    if workers is not None:
        workers.close()
