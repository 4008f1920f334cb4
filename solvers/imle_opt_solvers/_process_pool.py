"""The worker processes of a pool: handing out chunks, and what happens when a worker is lost."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import threading
import time
from typing import final

import numpy as np

from imle_opt_solvers._chunks import Batch, Chunk, ChunkTime, Solved
from imle_opt_solvers._job import Job
from imle_opt_solvers._portable_pickle import dumps
from imle_opt_solvers._shared import RowViews, SharedRows, anonymous_file
from imle_opt_solvers._worker_messages import Done, Raised, Ready, Task, read_answer, write_task
from imle_opt_solvers._worker_process import WorkerProcess
from imle_opt_solvers.errors import ImleOptError, InvalidInputError
from imle_opt_solvers.instances import take_rows

__all__ = ["ProcessWorkers"]

_LOOK_SECONDS = 1.0
"""A lost worker's connection reads as ended at once, except where a child of its own holds it open."""
_START_SECONDS = 120.0
_FAILED_STARTS = 20
_DISMISS_SECONDS = 2.0


@final
class ProcessWorkers:
    """Processes that solve chunks: costs and decisions in shared memory, the solver sent once.

    Args:
        pickled: the solver, or a function that makes it.
        shape: of one row.
        workers: how many processes.
        timeout: seconds for one row; a chunk of k rows has k times that before its worker is killed.
        retries: how often the rows of a lost worker are solved again, one by one.
    """

    send_seconds = 1e-4

    def __init__(
        self, pickled: bytes, shape: tuple[int, ...], workers: int, timeout: float | None, retries: int
    ) -> None:
        self.restarts = 0
        self._shape = shape
        self._size = workers
        self._timeout = float("inf") if timeout is None else timeout
        self._retries = retries
        width = 1
        for extent in shape:
            width *= extent
        self._rows = SharedRows.create(width)
        self._solver = anonymous_file()
        with open(self._solver, "wb", closefd=False) as file:
            file.write(pickled)
        self._team: list[WorkerProcess] = []
        self._by_link: dict[int, WorkerProcess] = {}
        # Kept, as making one takes time; and `multiprocessing.connection.wait` takes 20 us.
        self._poll = select.poll()
        self._look_at = 0.0
        self._failed_starts = 0
        self._failing_since = 0.0
        self._closed = False
        self._owner = os.getpid()
        self._lock = threading.Lock()

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes' numbers."""
        return tuple(worker.pid for worker in self._team)

    def start(self) -> None:
        """Start the processes that are missing, all at once, and wait until all are ready."""
        with self._lock:
            self._fill()
            nothing = Job(Batch(np.empty((0, *self._shape)), None, True, ()))
            while not all(worker.ready for worker in self._team):
                self._listen(nothing)
                self._fill()

    def run(self, batch: Batch) -> Solved:
        """Solve a batch; one batch at a time.

        Raises:
            InvalidInputError: instances that cannot be pickled, or the pool was closed meanwhile.
            ImleOptError: workers do not start.
            Exception: what the solver raised, from the first chunk in the order of the rows.
        """
        with self._lock:
            self._drop_busy()  # there are none, but where giving up the last batch was interrupted
            for worker in self._team:
                worker.proven = worker.ready
            began = time.perf_counter()
            views = self._rows.reserve(len(batch.costs))
            views.costs[:] = batch.costs.reshape(views.costs.shape)
            copied = time.perf_counter() - began
            job = Job(batch, self._retries)
            try:
                self._work_off(job, views)
            except BaseException:
                self._drop_busy()
                raise
            began = time.perf_counter()
            solution = views.read(self._shape)
            copied += time.perf_counter() - began
            return Solved(solution, tuple(job.times), copied, job.hits)

    def close(self) -> None:
        """End the processes: idle ones by themselves, busy ones at once."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        for worker in list(self._team):
            if worker.chunk is not None or not worker.ready:
                worker.kill()
        # A batch in progress has lost its workers now, and lets go.
        if self._lock.acquire(timeout=_DISMISS_SECONDS):
            self._release()
            self._lock.release()

    def _release(self) -> None:
        deadline = time.monotonic() + _DISMISS_SECONDS
        for worker in self._team:
            worker.hang_up()
        for worker in self._team:
            worker.dismiss(max(0.0, deadline - time.monotonic()))
        self._team.clear()
        self._rows.close()
        os.close(self._solver)

    def _fill(self) -> None:
        self._adopt()
        while len(self._team) < self._size:
            self._check_open()
            worker = WorkerProcess(self._rows.descriptor, self._solver, self._rows.width)
            worker.deadline = time.monotonic() + _START_SECONDS
            self._by_link[worker.link] = worker
            self._adopt()

    def _adopt(self) -> None:
        """Listen to workers that were made and are not in the team: Ctrl-C may have come in between."""
        if len(self._by_link) == len(self._team):
            return
        for worker in self._by_link.values():
            if worker not in self._team:
                self._poll.register(worker.link, select.POLLIN)
                self._team.append(worker)

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInputError("The pool was closed while it was solving a batch.")

    def _work_off(self, job: Job, views: RowViews) -> None:
        while job.pending or [worker for worker in self._team if worker.chunk]:
            self._check_open()
            self._fill()
            if job.pending:
                for worker in [each for each in self._team if each.ready and each.chunk is None]:
                    if job.pending:
                        self._hand_out(worker, job)
            self._listen(job)
        for chunk in job.given_up:
            views.fail(chunk.rows)
        job.check()

    def _hand_out(self, worker: WorkerProcess, job: Job) -> None:
        task = _task(job.batch, job.pending[0])
        chunk = worker.chunk = job.pending.popleft()
        worker.deadline = time.monotonic() + self._timeout * chunk.size
        worker.sent = time.perf_counter()
        try:
            write_task(worker.link, task)
        except OSError:  # it had ended before: its end says nothing about these rows
            worker.chunk = None
            job.pending.appendleft(chunk)
            self._lose(worker, job)

    def _listen(self, job: Job) -> None:
        """Wait for the next message, loss or deadline."""
        due = min([self._look_at, *[worker.deadline for worker in self._team]])
        for link, _ in self._poll.poll(1e3 * max(0.0, due - time.monotonic())):
            self._hear(self._by_link[link], job)
        if time.monotonic() >= due:
            self._look(job)

    def _look(self, job: Job) -> None:
        """See to workers that are late, or have ended without a word."""
        now = time.monotonic()
        self._look_at = now + _LOOK_SECONDS
        for worker in tuple(self._team):
            if now >= worker.deadline or worker.has_ended():
                self._lose(worker, job)

    def _hear(self, worker: WorkerProcess, job: Job) -> None:
        try:
            message = read_answer(worker.link)
        except (EOFError, OSError):
            self._lose(worker, job)
            return
        if isinstance(message, Ready):
            worker.ready = True
        chunk, worker.chunk, worker.deadline = worker.chunk, None, float("inf")
        if isinstance(message, Ready):
            return
        if chunk is not None:
            self._failed_starts, worker.proven = 0, True
            _conclude(job, chunk, message, time.perf_counter() - worker.sent)
        elif isinstance(message, Raised):
            self._remove(worker)
            raise pickle.loads(message.exception)

    def _lose(self, worker: WorkerProcess, job: Job) -> None:
        """Kill a worker that is dead or late, and see to its rows; another one takes its place."""
        killed = worker.chunk is None and worker.was_killed(_DISMISS_SECONDS)
        self._remove(worker)
        self._check_open()
        self.restarts += 1
        if worker.chunk is not None:
            job.lost(worker.chunk)
        elif not worker.proven:
            self._check_starts(killed)

    def _check_starts(self, killed: bool) -> None:
        """Give up where workers end by themselves; that one was killed says nothing about the next."""
        self._failed_starts += 1
        now = time.monotonic()
        if self._failed_starts == 1:
            self._failing_since = now
        patient = killed and now < self._failing_since + _START_SECONDS
        if self._failed_starts >= _FAILED_STARTS and not patient:
            raise ImleOptError(
                f"Worker processes end before they are ready ({self._failed_starts} in a row). What they "
                f"wrote to the standard error stream says why; memory that runs out is a common reason."
            )

    def _drop_busy(self) -> None:
        """Kill the workers of a batch that is given up: nobody waits for their answers."""
        for worker in [each for each in self._team if each.chunk is not None]:
            self._remove(worker)

    def _remove(self, worker: WorkerProcess) -> None:
        worker.kill()
        with contextlib.suppress(KeyError):  # an interrupt may have left this half done
            self._poll.unregister(worker.link)
        if worker in self._team:
            self._team.remove(worker)
        self._by_link.pop(worker.link, None)
        worker.release()


def _conclude(job: Job, chunk: Chunk, message: Done | Raised, round_trip: float) -> None:
    if isinstance(message, Raised):
        job.raised(chunk, message.exception)
    else:
        job.solved(ChunkTime(chunk, message.seconds, round_trip), message.hits)


def _task(batch: Batch, chunk: Chunk) -> Task:
    rows = len(batch.costs)
    if batch.instances is None:
        return Task(rows, chunk.start, chunk.stop, batch.deterministic)
    taken = take_rows(batch.instances, chunk.rows)
    pickled = dumps(taken, "An entry of `instances`", "Or use backend='thread'.")
    return Task(rows, chunk.start, chunk.stop, batch.deterministic, pickled)
