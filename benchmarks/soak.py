"""Many small batches through one pool: memory and descriptors must stay as they are.

    python benchmarks/soak.py [--batches 100000] [--backend process] [--json soak.json]

Looks every 1,000 batches at this process and at the workers; the first look is what the others are compared
with. Fails if memory grows by more than 5 MiB, or descriptors by one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pool_rows

from imle_opt_solvers import SolverPool

ROWS = 4
EVERY = 1000
ALLOWED_MIB = 5.0


def look() -> tuple[float, float, int]:
    """Return the memory of this process, that of the largest worker, and all descriptors."""
    workers = pool_rows.worker_processes()
    descriptors = pool_rows.descriptors() + sum(map(pool_rows.descriptors, workers))
    return (
        pool_rows.resident_mib(),
        max(map(pool_rows.resident_mib, workers), default=0.0),
        descriptors,
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Many small batches through one pool.")
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--backend", choices=("process", "thread"), default="process")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    began = time.perf_counter()
    looks: list[tuple[float, float, int]] = []
    # `chunk` is given, so that no batch is solved here.
    with SolverPool(pool_rows.solver(), 2, backend=arguments.backend, chunk=ROWS // 2) as pool:
        for batch in range(arguments.batches):
            costs = pool_rows.rows(ROWS, batch)
            decisions = pool.solve(costs).decisions
            assert (decisions.argmax(axis=1) == costs.argmin(axis=1)).all()
            if batch % EVERY == EVERY - 1:
                looks.append(look())
        stats = pool.stats()
    here, workers, open_files = zip(*looks, strict=True)
    result: dict[str, object] = {
        "backend": arguments.backend,
        "batches": arguments.batches,
        "seconds": time.perf_counter() - began,
        "microseconds_per_batch": 1e6 * stats.seconds / arguments.batches,
        "memory_mib": here[0],
        "most_memory_later_mib": max(here),
        "memory_of_a_worker_mib": workers[0],
        "most_memory_of_a_worker_later_mib": max(workers),
        "descriptors": open_files[0],
        "most_descriptors_later": max(open_files),
        "workers_replaced": stats.restarts,
    }
    pool_rows.report(result, arguments.json)
    assert max(here) - here[0] < ALLOWED_MIB
    assert max(workers) - workers[0] < ALLOWED_MIB
    assert max(open_files) == open_files[0]


if __name__ == "__main__":
    main()
