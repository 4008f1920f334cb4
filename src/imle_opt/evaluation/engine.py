"""The run over all blocks: read, solve side by side, keep, and put together.

Kernels release the interpreter's lock, and so do the array operations around them: whole blocks run on
threads. Other solvers are slower than what is around them, and may not come back when asked to stop: their
blocks run one after another, on a pool of processes where that saves seconds, and the pool's processes end
with this one.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from imle_opt.evaluation.block import Block, BlockTask, measure
from imle_opt.evaluation.cost_sample import CostSample
from imle_opt.evaluation.inputs import RowFeed, Run, TrueFacts, row_mismatch
from imle_opt.evaluation.remembered import RememberingSolver
from imle_opt.evaluation.schedule import BlockSizes
from imle_opt.evaluation.store import BlockStore
from imle_opt_solvers import Solver, SolverPool
from imle_opt_solvers.solution import FloatArray

__all__ = ["Work", "WorkTimes", "run_blocks"]

_WORTH_A_POOL = 4.0
"""Seconds of solving that are left, and below which processes cost more to start than they save."""


@dataclass(frozen=True, eq=False)
class Work:
    """What is to be measured.

    Args:
        solver: with its `on_failure`, and a memory.
        make_solver: makes the same solver in a worker process.
        true: the true costs.
        runs: the predictions.
        constant: the last run, predicted as these means in every row.
        worst_case: whether the worst tie is looked for.
        tolerance: relative.
        workers: threads or processes.
        store: where blocks are kept; None: nowhere.
        solved: called with the number of rows that were measured.
    """

    solver: RememberingSolver
    make_solver: Callable[[], Solver]
    true: TrueFacts
    runs: Sequence[Run]
    constant: FloatArray
    worst_case: bool
    tolerance: float
    workers: int
    store: BlockStore | None
    solved: Callable[[int], None]


@dataclass
class WorkTimes:
    """What a run over all blocks took: seconds of reading, and rows that were solved."""

    reading: float = 0.0
    solves: int = 0


def run_blocks(work: Work, keep: Callable[[Block], None], times: WorkTimes) -> None:
    """Measure all rows, block by block, in their order.

    Args:
        work: what is to be measured.
        keep: called with each block, in order; with those of the store first.
        times: is added to.

    Raises:
        ImleOptError: anything wrong with the tables, the costs or the solver.
    """
    start = 0
    if work.store is not None:
        for block in work.store.blocks():
            keep(block)
            work.solved(block.stop - block.start)
            start = block.stop
    if start == work.true.rows:
        return
    true = work.true.feed()
    for feed in (true, *(run.feed for run in work.runs)):
        feed.skip(start)
    tasks = _Tasks(work, true, start, times)
    with ExitStack() as stack:
        kernel = work.solver.traits.engine.startswith("kernel:")
        blocks = _on_threads if kernel and work.workers > 1 else _in_turn
        for block in stack.enter_context(blocks(work, tasks)):
            if work.store is not None:
                work.store.save(block)
            keep(block)
            work.solved(block.stop - block.start)
    _refuse_more_rows(work)
    times.solves += work.solver.solved


class _Tasks:
    """The next rows of all tables."""

    def __init__(self, work: Work, true: RowFeed, start: int, times: WorkTimes) -> None:
        self._work, self._true, self._start, self._times = work, true, start, times
        self._labels = [*(run.label for run in work.runs), "the constant reference"]
        self.sizes = BlockSizes(work.constant.size)

    @property
    def rows_left(self) -> int:
        return self._work.true.rows - self._start

    def take(self) -> BlockTask:
        began, work, start = time.perf_counter(), self._work, self._start
        true = self._true.take(self.sizes.next(self.rows_left))
        self._start += len(true)
        predicted = [run.feed.take(len(true)) for run in work.runs]
        for run, some in zip(work.runs, predicted, strict=True):
            if len(some) < len(true):
                raise row_mismatch(run.feed.path, run.feed.taken, work.true)
        constant = np.broadcast_to(work.constant, true.shape)
        self._times.reading += time.perf_counter() - began
        return BlockTask(start, true, [*predicted, constant], self._labels, frozenset({len(predicted)}))


def _measured(work: Work, solver: RememberingSolver, task: BlockTask) -> tuple[Block, float]:
    began = time.perf_counter()
    block = measure(
        task,
        solver,
        worst_case=work.worst_case,
        tolerance=work.tolerance,
        true_mean=work.true.mean,
        sample=CostSample(work.true.rows, work.constant.size),
    )
    return block, time.perf_counter() - began


@contextmanager
def _in_turn(work: Work, tasks: _Tasks) -> Generator[Generator[Block]]:
    """Yield a generator of blocks that are solved here or, where that pays, by processes."""
    with ExitStack() as stack:

        def blocks() -> Generator[Block]:
            current, pooled = work.solver, False
            while tasks.rows_left:
                left = (tasks.sizes.row_seconds or 0.0) * tasks.rows_left
                if not pooled and _pool_pays(work, left):
                    pool = stack.enter_context(SolverPool(work.make_solver, work.workers, backend="process"))
                    current, pooled = work.solver.around(pool.with_on_failure(work.solver.on_failure)), True
                task = tasks.take()
                block, seconds = _measured(work, current, task)
                tasks.sizes.took(len(task.true), seconds)
                yield block

        yield blocks()


def _pool_pays(work: Work, seconds: float) -> bool:
    return work.workers > 1 and seconds > _WORTH_A_POOL and sys.platform != "win32"


@contextmanager
def _on_threads(work: Work, tasks: _Tasks) -> Generator[Generator[Block]]:
    """Yield a generator of blocks that are solved on threads, and read while others are solved."""
    with ThreadPoolExecutor(work.workers, thread_name_prefix="imle-opt-regret") as threads:
        waiting: deque[tuple[Future[tuple[Block, float]], int]] = deque()

        def blocks() -> Generator[Block]:
            while tasks.rows_left or waiting:
                # The first block compiles the kernels, and says how large the next may be.
                ahead = 1 if tasks.sizes.row_seconds is None else work.workers + 1
                while tasks.rows_left and len(waiting) < ahead:
                    task = tasks.take()
                    call = partial(_measured, work, work.solver, task)
                    waiting.append((threads.submit(call), len(task.true)))
                future, rows = waiting.popleft()
                block, seconds = future.result()
                tasks.sizes.took(rows, seconds)
                yield block

        try:
            yield blocks()
        finally:
            for future, _ in waiting:
                future.cancel()


def _refuse_more_rows(work: Work) -> None:
    for run in work.runs:
        rows = run.feed.rest()
        if rows != work.true.rows:
            raise row_mismatch(run.feed.path, rows, work.true)
