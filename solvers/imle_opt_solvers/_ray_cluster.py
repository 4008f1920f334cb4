"""A Ray cluster and its actors. The only module that imports Ray, an extra."""

from __future__ import annotations

import logging
import pickle
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, final

import ray
from ray import cloudpickle
from ray.exceptions import RayError

from imle_opt_solvers._chunks import Chunk
from imle_opt_solvers._ray_actor import ChunkSolver, SolvedChunk
from imle_opt_solvers._worker_messages import Raised, Ready
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["Actor", "ActorLostError", "connect", "connected", "dumps", "first_answers", "processors", "store"]

_KNOCK_SECONDS = 10.0


class ActorLostError(Exception):
    """An actor ended, or its node did, or its machine ran out of memory; the message is Ray's."""


def connect(address: str | None) -> None:
    """Connect this process to a cluster, if it is not connected.

    Args:
        address: of the cluster, as `ray.init` takes it; None is the one that Ray finds, or a new one here.

    Raises:
        InvalidInputError: there is no cluster at that address, or the process is connected to another one.
    """
    if ray.is_initialized():
        here: str = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise InvalidInputError(
                f"`address` is {address!r}, and this process is connected to the Ray cluster {here!r}: leave "
                f"`address` out to use that one, or call ray.shutdown() before."
            )
        return
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"`address` {address!r} is no Ray cluster that can be reached: {error}. Start one with `ray "
            f"start --head`, and give the address that it prints; or leave `address` out to start one here."
        ) from error


def _knock(address: str | None) -> None:
    """Raise at once where nobody listens: Ray itself tries for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _KNOCK_SECONDS).close()


def connected() -> bool:
    """Whether this process is connected to a cluster."""
    return bool(ray.is_initialized())


def processors(*, free: bool = False) -> int:
    """Return how many processors the cluster has, all together or free ones only."""
    resources: Mapping[str, float] = ray.available_resources() if free else ray.cluster_resources()
    return int(resources.get("CPU", 0))


def store(value: bytes) -> Any:
    """Put `value` into the cluster's object store once, for all actors; return the reference."""
    return ray.put(value)


def dumps(value: object, what: str, mend: str) -> bytes:
    """Pickle `value` as Ray does: functions and classes of the user's script go by value.

    Args:
        value: anything.
        what: what it is, for the message.
        mend: what to do where it cannot be pickled, for the message.

    Raises:
        InvalidInputError: it cannot be pickled.
    """
    try:
        pickled: bytes = cloudpickle.dumps(value)  # pyright: ignore[reportPrivateImportUsage]  # as Ray does
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInputError(
            f"{what} cannot be sent to an actor: it cannot be pickled ({error}). {mend}"
        ) from error
    return pickled


@final
class Actor:
    """One actor, which loads the solver and then solves chunks, one at a time.

    Args:
        solver: reference to the pickled solver, or to a function that makes it.

    Attributes:
        answer: reference to what the actor will say next.
        ready: it has loaded its solver.
        chunk: what it is solving.
        sent: when it was given the chunk, on the performance clock.
        deadline: when to give it up, on the monotonic clock.

    It takes one processor. Ray does not restart it: the pool starts another one, and knows which rows it had.
    """

    def __init__(self, solver: Any) -> None:
        # With a processor of its own comes OMP_NUM_THREADS=1, unless the user has set it.
        made: Any = ray.remote(num_cpus=1, max_restarts=0)(ChunkSolver)
        self._handle = made.remote()
        self.answer: Any = self._handle.load.remote(solver)
        self.ready = False
        self.chunk: Chunk | None = None
        self.sent = 0.0
        self.deadline = float("inf")

    def solve(
        self, chunk: Chunk, costs: FloatArray, instances: bytes | None, deterministic: bool, seconds: float
    ) -> None:
        """Let it solve a chunk; `seconds` from now it is late."""
        self.chunk = chunk
        self.sent = time.perf_counter()
        self.deadline = time.monotonic() + seconds
        self.answer = self._handle.solve.remote(costs, instances, deterministic)

    def read(self) -> Ready | Raised | SolvedChunk:
        """Return the answer; wait for it if need be.

        Raises:
            ActorLostError: there will be none.
        """
        try:
            message: Ready | Raised | SolvedChunk = ray.get(self.answer)
        except RayError as error:
            raise ActorLostError(str(error)) from error
        return message

    def kill(self) -> None:
        """End it, whatever it is doing, also where it keeps the interpreter's lock."""
        ray.kill(self._handle)


def first_answers(actors: Iterable[Actor], seconds: float) -> list[Actor]:
    """Wait at most `seconds` for the next answer or loss; return the actors that have one to read."""
    by_answer = {actor.answer: actor for actor in actors}
    ready, _ = ray.wait(list(by_answer), num_returns=1, timeout=seconds)
    return [by_answer[answer] for answer in ready]
