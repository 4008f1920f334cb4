"""What the copies of one pool share: its workers, its counts, and where a batch is solved."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal, final

from imle_opt_solvers._background import Background
from imle_opt_solvers._chunks import Batch, Chunk, ChunkTime, Solved, Workers, cut
from imle_opt_solvers._pool_costs import PoolCosts
from imle_opt_solvers._pool_counts import PoolCounts, PoolStats
from imle_opt_solvers._row_history import RowHistory
from imle_opt_solvers.cache import hits_of
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution
from imle_opt_solvers.solver import Solver

__all__ = ["PoolEngine"]


_WORTH_A_KEY = 1e-3
"""Seconds from which on a row is remembered: its key takes some microseconds."""


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
        self._counts = PoolCounts()
        self._history = RowHistory()
        self._hits_before = hits_of(solver)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve a batch, on the workers or here.

        Raises:
            InvalidInputError: the pool is closed, or belongs to the process that this one was forked from.
        """
        self._check_usable()
        workers = self._started()
        with self._lock:
            inline = self._solves_inline(workers) and self._costs.favour_inline(len(costs), self._size)
        if inline:
            return self._solve_here(costs, instances, deterministic)
        return self._send(workers, costs, instances, deterministic)

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Run a call on the pool's own thread, after those submitted before."""
        self._check_usable()
        return self._background.submit(call)

    def stats(self) -> PoolStats:
        """Return the counts so far."""
        with self._lock:
            counts, costs, workers = self._counts, self._costs, self._workers
            all_sent = not self._may_solve_inline or (workers is not None and workers.restarts > 0)
            return PoolStats(
                solves=counts.statuses.total(),
                inline_solves=counts.inline_solves,
                hits=counts.hits + hits_of(self._solver) - self._hits_before,
                solver_seconds=counts.solver_seconds,
                transfer_seconds=counts.transfer_seconds,
                waiting_seconds=counts.waiting_seconds,
                seconds=counts.seconds,
                restarts=0 if workers is None else workers.restarts,
                statuses=dict(counts.statuses),
                percentiles=counts.percentiles(),
                row_seconds=costs.row_seconds,
                overhead_seconds=costs.overhead_seconds,
                inline_below=0.0 if all_sent else costs.inline_below(self._size),
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

    def _solves_inline(self, workers: Workers) -> bool:
        return self._may_solve_inline and not workers.restarts

    def _solve_here(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        rows, began = len(costs), time.perf_counter()
        with self._inline_lock:
            solution = self._solver.solve_rows(costs, instances, deterministic)
        seconds = time.perf_counter() - began
        with self._lock:
            self._costs.solved_inline(rows, seconds)
            self._counts.add(
                Solved(solution, (ChunkTime(Chunk(0, rows), seconds, seconds),), 0.0), seconds, 0
            )
        return solution

    def _send(
        self, workers: Workers, costs: FloatArray, instances: Instances | None, deterministic: bool
    ) -> Solution:
        with self._lock:
            row_seconds = self._costs.row_seconds or 0.0
        chunks = cut(len(costs), self._size, self._chunk, row_seconds, workers.send_seconds)
        keys: list[bytes] = []
        if len(chunks) > self._size > 1 and row_seconds > _WORTH_A_KEY:
            keys = self._history.keys(costs)
            with self._lock:
                chunks = self._history.longest_first(chunks, keys)
        began = time.perf_counter()
        solved = workers.run(Batch(costs, instances, deterministic, chunks))
        seconds = time.perf_counter() - began
        with self._lock:
            self._costs.sent(len(costs), min(self._size, len(chunks)), solved.solver_seconds, seconds)
            self._counts.add(solved, seconds, self._size)
            if keys:
                self._history.learn(keys, solved.times)
        return solved.solution


def _close(process: int, background: Background, workers: Workers | None) -> None:
    if os.getpid() != process:  # a forked child must not end its parent's workers
        return
    background.close()
    if workers is not None:
        workers.close()
