"""The actors of a pool on a Ray cluster: handing out chunks, and what happens when actors are lost."""

from __future__ import annotations

import pickle
import threading
import time
from typing import final

import numpy as np

from imle_opt_solvers._chunks import Batch, Chunk, ChunkTime, Solved
from imle_opt_solvers._job import Job
from imle_opt_solvers._ray_actor import SolvedChunk
from imle_opt_solvers._ray_cluster import (
    Actor,
    ActorLostError,
    connect,
    connected,
    dumps,
    first_answers,
    processors,
    store,
)
from imle_opt_solvers._shared import RowViews
from imle_opt_solvers._worker_messages import Raised, Ready
from imle_opt_solvers.errors import ImleOptError, InvalidInputError
from imle_opt_solvers.instances import take_rows

__all__ = ["RayWorkers"]

_LOOK_SECONDS = 1.0
_START_SECONDS = 120.0
_FAILED_STARTS = 10


@final
class RayWorkers:
    """Actors that solve chunks: the solver lies once in the cluster's object store.

    An actor that ends, or whose node does, is replaced as soon as the cluster has room; until then the others
    go on, and nodes that join later are used.

    Args:
        pickled: the solver, or a function that makes it.
        shape: of one row.
        workers: how many actors.
        timeout: seconds for one row; a chunk of k rows has k times that before its actor is killed.
        retries: how often the rows of a lost actor are solved again, one by one.
        address: of the cluster.
    """

    send_seconds = 1e-3

    def __init__(
        self,
        pickled: bytes,
        shape: tuple[int, ...],
        workers: int,
        timeout: float | None,
        retries: int,
        address: str | None,
    ) -> None:
        self.restarts = 0
        self._shape = shape
        self._size = workers
        self._timeout = float("inf") if timeout is None else timeout
        self._retries = retries
        connect(address)
        self._solver = store(pickled)
        self._team: list[Actor] = []
        self._failed_starts = 0
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the actors that are missing, and wait until one is ready; the others may join later."""
        nothing = np.empty((0, *self._shape))
        with self._lock:
            self._await_one(Job(Batch(nothing, None, True, ())), RowViews.over(nothing))

    def run(self, batch: Batch) -> Solved:
        """Solve a batch; one batch at a time.

        Raises:
            InvalidInputError: instances that cannot be pickled, or the pool was closed meanwhile.
            ImleOptError: no actor starts.
            Exception: what the solver raised, from the first chunk in the order of the rows.
        """
        with self._lock:
            self._drop_busy()  # there are none, but where giving up the last batch was interrupted
            views = RowViews.over(batch.costs)
            job = Job(batch, self._retries)
            try:
                self._work_off(job, views)
            except BaseException:
                self._drop_busy()
                raise
            return Solved(views.read(self._shape), tuple(job.times), 0.0, job.hits)

    def close(self) -> None:
        """End the actors, whatever they are doing; the connection to the cluster stays."""
        self._closed = True
        if connected():  # without a connection there are no actors
            for actor in list(self._team):
                actor.kill()

    def _work_off(self, job: Job, views: RowViews) -> None:
        while job.pending or any(actor.chunk for actor in self._team):
            self._await_one(job, views)
            for actor in [each for each in self._team if each.ready and each.chunk is None]:
                if job.pending:
                    self._hand_out(actor, job)
            self._listen(job, views)
        for chunk in job.given_up:
            views.fail(chunk.rows)
        job.check()

    def _await_one(self, job: Job, views: RowViews) -> None:
        """Wait until an actor is ready: the cluster may be full, or have lost a node just now."""
        self._fill()
        deadline = time.monotonic() + _START_SECONDS
        while not any(actor.ready for actor in self._team):
            if time.monotonic() > deadline:
                raise ImleOptError(
                    f"No actor of the pool started within {_START_SECONDS:.0f} s: each needs a processor, "
                    f"and {processors(free=True)} of the cluster's {processors()} are free. Wait for other "
                    f"jobs, or add a node."
                )
            self._listen(job, views)
            self._fill()

    def _fill(self) -> None:
        self._check_open()
        while len(self._team) < self._size:
            self._team.append(Actor(self._solver))

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInputError("The pool was closed while it was solving a batch.")

    def _hand_out(self, actor: Actor, job: Job) -> None:
        rows, given = job.pending[0].rows, job.batch.instances
        instances = None
        if given is not None:
            mend = "Or use backend='thread'."
            instances = dumps(take_rows(given, rows), "An entry of `instances`", mend)
        chunk = job.pending.popleft()
        seconds = self._timeout * chunk.size
        actor.solve(chunk, job.batch.costs[rows], instances, job.batch.deterministic, seconds)

    def _listen(self, job: Job, views: RowViews) -> None:
        """Wait for the next answer, loss or deadline."""
        speakers = [actor for actor in self._team if actor.chunk is not None or not actor.ready]
        if not speakers:
            return
        first = min(actor.deadline for actor in speakers)
        heard = first_answers(speakers, max(0.0, min(first - time.monotonic(), _LOOK_SECONDS)))
        for actor in heard:
            self._hear(actor, job, views)
        now = time.monotonic()
        for actor in speakers:
            if actor not in heard and now > actor.deadline:
                self._lose(actor, job, f"it took more than {self._timeout:g} s for each of its rows")

    def _hear(self, actor: Actor, job: Job, views: RowViews) -> None:
        try:
            message = actor.read()
        except ActorLostError as error:
            self._lose(actor, job, str(error))
            return
        chunk, actor.chunk, actor.deadline = actor.chunk, None, float("inf")
        if isinstance(message, Ready):
            actor.ready, self._failed_starts = True, 0
        elif chunk is None and isinstance(message, Raised):
            self._remove(actor)
            raise _not_loaded(message.exception)
        elif chunk is not None:
            _conclude(job, views, chunk, message, time.perf_counter() - actor.sent)

    def _lose(self, actor: Actor, job: Job, why: str) -> None:
        """End an actor that is lost or late, and see to its rows; another one takes its place."""
        self._remove(actor)
        self._check_open()
        self.restarts += 1
        if not actor.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise ImleOptError(
                    f"Actors end before they are ready ({_FAILED_STARTS} in a row). imle-opt must be "
                    f"installed on all nodes, in the same version. Ray says: {why}"
                )
        if actor.chunk is not None:
            job.lost(actor.chunk)

    def _drop_busy(self) -> None:
        """End the actors of a batch that is given up: nobody waits for their answers."""
        for actor in [each for each in self._team if each.chunk is not None]:
            self._remove(actor)

    def _remove(self, actor: Actor) -> None:
        self._team.remove(actor)
        actor.kill()


def _not_loaded(pickled: bytes) -> BaseException:
    error: BaseException = pickle.loads(pickled)
    if isinstance(error, ImportError):
        error.add_note(
            "Actors import what is installed on their node, and modules that lie beside the script. For "
            "others, before the pool is made: ray.init(runtime_env={'working_dir': '.'})"
        )
    return error


def _conclude(job: Job, views: RowViews, chunk: Chunk, message: Raised | SolvedChunk, trip: float) -> None:
    if isinstance(message, Raised):
        job.raised(chunk, message.exception)
    else:
        views.write(chunk.rows, message.solution)
        job.solved(ChunkTime(chunk, message.seconds, trip), message.hits)
