"""What a pool and its worker processes say to each other; costs and decisions travel in shared memory."""

from __future__ import annotations

from typing import NamedTuple

from imle_opt_solvers.instances import Instances

__all__ = ["Done", "Raised", "Ready", "Task"]


class Task(NamedTuple):
    """Solve the rows `start` to `stop` of a batch of `rows`; `instances` are those of these rows."""

    rows: int
    start: int
    stop: int
    deterministic: bool
    instances: Instances | None


class Ready(NamedTuple):
    """The solver is loaded."""


class Done(NamedTuple):
    """The rows are solved; `seconds` in the solver, `hits` of them from a cache."""

    seconds: float
    hits: int


class Raised(NamedTuple):
    """Loading or solving raised; the exception, pickled."""

    exception: bytes
