"""Two workers against one, and against two processes that know nothing of each other; what a call costs.

Wall clock: workers are other processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import numpy as np
from benchmarks.compare.timing import FloatArray, interleaved

from imle_opt_solvers import FunctionSolver, Solution, Solver, SolverPool
from imle_opt_solvers.pool import Backend

BACKENDS: tuple[Backend, ...] = ("thread", "process")


def time_workers(solver: Solver, costs: FloatArray, repeats: int) -> dict[str, float]:
    """Return milliseconds of a batch, and the ratios of two workers to one and to the machine's best."""
    pools = {
        f"{backend}, {workers}": SolverPool(solver, workers, backend=backend, chunk=4)
        for backend in BACKENDS
        for workers in (1, 2)
    }
    rivals = [SolverPool(solver, 1, backend="process", chunk=4) for _ in range(2)]
    halves = np.array_split(costs, 2)

    def at_once() -> list[Solution]:
        waiting: list[Future[Solution]] = [
            rival.submit(half) for rival, half in zip(rivals, halves, strict=True)
        ]
        return [each.result() for each in waiting]

    expected = solver.solve(costs).decisions
    calls: dict[str, Callable[[], object]] = {
        name: partial(pool.solve, costs) for name, pool in pools.items()
    }
    calls["two independent processes"] = at_once
    for pool in pools.values():
        assert (pool.solve(costs).decisions == expected).all()
    at_once()
    turns = interleaved(calls, repeats, time.perf_counter)
    for pool in (*pools.values(), *rivals):
        pool.close()
    found = {f"{name}, ms": 1e3 * float(np.median(each)) for name, each in turns.items()}
    best = turns["two independent processes"]
    for backend in BACKENDS:
        one, two = turns[f"{backend}, 1"], turns[f"{backend}, 2"]
        found[f"{backend}: two over one"] = float(np.median(one / two))
        found[f"{backend}: two over two independent processes"] = float(np.median(best / two))
    found["two independent processes over one process"] = float(np.median(turns["process, 1"] / best))
    return found


def time_overhead(repeats: int) -> dict[str, float]:
    """Return what a pool adds to a solver that does nothing, in microseconds a call, and a row of 144."""
    solver = FunctionSolver(np.zeros_like, 144, "min", batched=True)
    found: dict[str, float] = {}
    for backend in BACKENDS:
        added: list[FloatArray] = []
        for rows in (2, 320, 3200):
            costs = np.random.default_rng(2).normal(size=(rows, 144))
            with SolverPool(solver, 2, backend=backend, chunk=rows // 2) as pool:
                pool.solve(costs)
                calls = {"alone": partial(solver.solve, costs), "pool": partial(pool.solve, costs)}
                turns = interleaved(calls, repeats, time.perf_counter)
            added.append(1e6 * (turns["pool"] - turns["alone"]))
        for label, summary in (("median", np.median), ("best tenth", partial(np.percentile, q=10))):
            few, middle, many = (float(summary(each)) for each in added)
            found[f"{backend}, {label}: us per call"] = few
            found[f"{backend}, {label}: us per row"] = (many - middle) / (3200 - 320)
    return found


def pyepo_workers(name: str, rows: int, timeout: float) -> dict[str, float]:
    """Return milliseconds of PyEPO's batch with one and two processes, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.compare.pyepo_pool", name, str(rows)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True)
    except subprocess.TimeoutExpired:  # a worker that cannot build its model is started again for ever
        return {"no answer within, s": timeout}
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found
