"""What a pool and its worker processes say to each other; costs and decisions travel in shared memory.

A message is a header of fixed size, and where the header says so as many bytes more: instances or an
exception, pickled. Without them a message is one system call on either side and no pickling, which for both
workers of a pool together takes half as long as a `multiprocessing.Connection` does.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Any, NamedTuple

__all__ = ["Done", "Raised", "Ready", "Task", "read_answer", "read_task", "write_answer", "write_task"]

_TASK = Struct("=qqq?q")
_ANSWER = Struct("=Bdqq")
_READY, _DONE, _RAISED = range(3)
_AT_ONCE = 4096


class Task(NamedTuple):
    """Solve the rows `start` to `stop` of a batch of `rows`.

    `instances` are those of these rows, pickled; empty where there are none.
    """

    rows: int
    start: int
    stop: int
    deterministic: bool
    instances: bytes = b""


class Ready(NamedTuple):
    """The solver is loaded."""


class Done(NamedTuple):
    """The rows are solved; `seconds` in the solver, `hits` of them from a cache."""

    seconds: float
    hits: int


class Raised(NamedTuple):
    """Loading or solving raised; the exception, pickled."""

    exception: bytes


def write_task(descriptor: int, task: Task) -> None:
    """Send a task to a worker.

    Raises:
        OSError: there is no worker any more.
    """
    rows, start, stop, deterministic, instances = task
    _write(descriptor, _TASK.pack(rows, start, stop, deterministic, len(instances)) + instances)


def read_task(descriptor: int) -> Task:
    """Wait for the next task.

    Raises:
        EOFError: the pool has closed its end.
    """
    (rows, start, stop, deterministic, _), instances = _read(descriptor, _TASK)
    return Task(rows, start, stop, deterministic, instances)


def write_answer(descriptor: int, answer: Ready | Done | Raised) -> None:
    """Send an answer to the pool.

    Raises:
        OSError: there is no pool any more.
    """
    if isinstance(answer, Done):
        _write(descriptor, _ANSWER.pack(_DONE, answer.seconds, answer.hits, 0))
    elif isinstance(answer, Raised):
        _write(descriptor, _ANSWER.pack(_RAISED, 0.0, 0, len(answer.exception)) + answer.exception)
    else:
        _write(descriptor, _ANSWER.pack(_READY, 0.0, 0, 0))


def read_answer(descriptor: int) -> Ready | Done | Raised:
    """Wait for a worker's next answer.

    Raises:
        EOFError: the worker has ended.
        OSError: likewise.
    """
    (kind, seconds, hits, _), exception = _read(descriptor, _ANSWER)
    if kind == _DONE:
        return Done(seconds, hits)
    return Raised(exception) if kind == _RAISED else Ready()


def _write(descriptor: int, message: bytes) -> None:
    written = os.write(descriptor, message)
    while written < len(message):  # a signal came between
        written += os.write(descriptor, message[written:])


def _read(descriptor: int, header: Struct) -> tuple[tuple[Any, ...], bytes]:
    # Neither side sends before it was answered: there is never more than one message to read.
    message = os.read(descriptor, _AT_ONCE)
    if len(message) < header.size:
        message = _all_of(descriptor, message, header.size)
    fields = header.unpack_from(message)
    more = fields[-1]
    if not more:
        return fields, b""
    return fields, _all_of(descriptor, message, header.size + more)[header.size :]


def _all_of(descriptor: int, begun: bytes, size: int) -> bytes:
    whole = bytearray(begun)
    while len(whole) < size:
        part = os.read(descriptor, size - len(whole))
        if not part:
            raise EOFError
        whole += part
    return bytes(whole)
