"""Batches through a pool whose workers are killed at random: every decision must be that of one solver.

    python benchmarks/chaos.py [--batches 2000] [--every 1.0] [--json chaos.json]

64 rows a batch, half of which sleep for a random while; a worker, drawn at random, is killed with SIGKILL
every second on average, whatever it is doing, also while it starts. Fails if one decision differs, or a
worker, a descriptor or a shared-memory segment is left.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pool_rows

from imle_opt_solvers import SolverPool

ROWS = 64


class Killer:
    """A thread that kills a worker now and then, at intervals that are distributed exponentially."""

    def __init__(self, every: float) -> None:
        self.kills = 0
        self._draw = np.random.default_rng(0)
        self._every = every
        self._quiet = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        due = time.monotonic()
        while True:
            due += self._draw.exponential(self._every)
            if self._quiet.wait(max(0.0, due - time.monotonic())):
                return
            workers = pool_rows.worker_processes()
            if workers:
                self.kills += 1
                os.kill(workers[self._draw.integers(len(workers))], signal.SIGKILL)

    def end(self) -> None:
        """Let it end."""
        self._quiet.set()
        self._thread.join()


def segments() -> set[Path]:
    """Return the named shared-memory segments of this machine."""
    return set(Path("/dev/shm").iterdir())


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="A pool whose workers are killed at random.")
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between kills, on average")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    alone = pool_rows.solver()
    before = pool_rows.descriptors(), segments()
    wrong, slowest, began = 0, 0.0, time.perf_counter()
    with SolverPool(pool_rows.solver(sleeps=True), arguments.workers, backend="process", retries=20) as pool:
        killer = Killer(arguments.every)
        try:
            for seed in range(arguments.batches):
                costs = pool_rows.rows(ROWS, seed)
                solution = pool.solve(costs)
                slowest = max(slowest, solution.seconds)
                wrong += int((solution.decisions != alone.solve(costs).decisions).any(axis=1).sum())
        finally:
            killer.end()
        stats = pool.stats()
    result: dict[str, object] = {
        "batches": arguments.batches,
        "rows": stats.solves,
        "workers_killed": killer.kills,
        "workers_replaced": stats.restarts,
        "wrong_decisions": wrong,
        "seconds": time.perf_counter() - began,
        "slowest_batch_seconds": slowest,
        "median_row_ms": 1e3 * stats.percentiles[50],
        "p99_row_ms": 1e3 * stats.percentiles[99],
        "workers_left": len(pool_rows.worker_processes()),
        "descriptors_left": pool_rows.descriptors() - before[0],
        "segments_left": len(segments() - before[1]),
    }
    pool_rows.report(result, arguments.json)
    assert stats.solves == arguments.batches * ROWS
    assert wrong == result["workers_left"] == result["descriptors_left"] == result["segments_left"] == 0


if __name__ == "__main__":
    main()
