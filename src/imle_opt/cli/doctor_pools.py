"""Do pools answer, what does one call cost, and which batches are worth sending?"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from imle_opt.cli.doctor_checks import CHECKS, Check
from imle_opt_solvers import SolverPool
from imle_opt_solvers.pool import Backend

__all__ = ["POOL_CHECKS", "PoolCheck", "PoolFinding", "find_pool"]

_WORKERS = 2
_ROWS = 64
_BATCHES = 8
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class PoolCheck:
    """A solver that `doctor` knows, on workers of one kind."""

    check: Check
    backend: Backend


@dataclass(frozen=True)
class PoolFinding:
    """What became of a check.

    Args:
        name: of the solver.
        backend: of the pool.
        answers: whether the right optima came back.
        start_seconds: from nothing to the first answer; None where none came back.
        call_seconds: what sending one batch takes beyond its solves.
        inline_below: batches of fewer rows of this solver are solved where the call comes from.
        problem: what went wrong; empty where nothing did.
    """

    name: str
    backend: Backend
    answers: bool
    start_seconds: float | None
    call_seconds: float | None
    inline_below: int | None
    problem: str


def find_pool(pooled: PoolCheck) -> PoolFinding:
    """Run one check; nothing that goes wrong in it escapes."""
    name, backend = pooled.check.name, pooled.backend
    try:
        return _measure(pooled)
    except Exception as error:  # noqa: BLE001  # a broken installation fails in any way it likes
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return PoolFinding(name, backend, False, None, None, None, problem)


def _measure(pooled: PoolCheck) -> PoolFinding:
    check, backend = pooled.check, pooled.backend
    costs = np.tile(check.costs, (_ROWS, 1))
    with SolverPool(check.make(), _WORKERS, backend=backend) as pool:
        began = time.perf_counter()
        found = pool.solve(costs).objectives
        start = time.perf_counter() - began
        if np.abs(found - check.optimum).max() > _TOLERANCE:
            problem = f"it finds {found.min():.9g} where the optimum is {check.optimum:.9g}"
            return PoolFinding(check.name, backend, False, None, None, None, problem)
        for _ in range(_BATCHES):
            pool.solve(costs)
        stats = pool.stats()
    below = stats.inline_below
    whole = int(below) if below is not None and np.isfinite(below) else None
    return PoolFinding(check.name, backend, True, start, stats.overhead_seconds, whole, "")


_BY_NAME = {check.name: check for check in CHECKS}

POOL_CHECKS = (
    PoolCheck(_BY_NAME["HiGHS"], "thread"),
    PoolCheck(_BY_NAME["HiGHS"], "process"),
    PoolCheck(_BY_NAME["kernels: shortest path"], "thread"),
)
"""What `SolverPool` does by default with these solvers, and with a `timeout`. Ray needs a cluster."""
