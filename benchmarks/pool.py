"""What a pool gives, and what it costs: one process, threads, processes, and actors where Ray is asked for.

    python benchmarks/pool.py [--repeats 9] [--ray] [--json pool.json]

Throughput: 64 rows of two knapsacks that take HiGHS over a millisecond each. What two workers can give at
most on this machine is measured in the same run: one process without a pool solves the batch, and two that
know nothing of each other solve one each at the same time. Overhead: a solver that does nothing, on rows of
144 costs; what a pool takes longer than the solver alone, in pairs, as the median of all pairs, and as the
tenth percentile, which a busy machine distorts less. Variants take turns, wall clock, medians of all repeats.
On a machine with other work to do none of this means much: the load is printed before and after. It takes two
minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pool_rows
from numpy.typing import NDArray

from imle_opt_solvers import FunctionSolver, HighsSolver, Solver, SolverPool
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.pool import Backend
from imle_opt_solvers.solution import Sense

ROWS = 64
ITEMS = (36, 40)


def knapsack(items: int, capacities: int = 2) -> HighsSolver:
    """Return a knapsack whose relaxation is fractional."""
    weights = np.random.default_rng(0).integers(20, 90, size=(capacities, items)).astype(float)
    model = LinearModel(
        sense=Sense.MAX,
        row_starts=np.arange(capacities + 1) * items,
        row_columns=np.tile(np.arange(items), capacities),
        row_values=weights.ravel(),
        row_lower=np.full(capacities, -np.inf),
        row_upper=weights.sum(axis=1) // 3,
        column_lower=np.zeros(items),
        column_upper=np.ones(items),
        integrality=np.ones(items, dtype=np.bool_),
        fixed_costs=np.zeros(items),
        offset=0.0,
        predicted=Selection(np.arange(items), (items,)),
        column_names=tuple(f"take_{item}" for item in range(items)),
        row_names=tuple(f"capacity_{row}" for row in range(capacities)),
    )
    return HighsSolver(model)


def timed(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of each variant, which take turns, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, call in variants.items():
            began = time.perf_counter()
            call()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: np.array(each) for name, each in seconds.items()}


def batch(items: int) -> NDArray[np.float64]:
    """Return the costs of one batch."""
    return np.random.default_rng(1).uniform(20, 90, size=(ROWS, items))


def solve_on_request(items: int, requests: Connection) -> None:
    """Solve the batch whenever asked to, until nobody can ask any more."""
    solver, costs = knapsack(items), batch(items)
    while True:
        try:
            requests.recv()
        except EOFError:
            return
        solver.solve(costs)
        requests.send(None)


class Independent:
    """Processes that know nothing of each other, nor of pools."""

    def __init__(self, processes: int, items: int) -> None:
        context = get_context("spawn")
        pairs = [context.Pipe() for _ in range(processes)]
        self._requests = [ours for ours, _ in pairs]
        for _, theirs in pairs:
            context.Process(target=solve_on_request, args=(items, theirs), daemon=True).start()
            theirs.close()

    def solve(self) -> None:
        """Have each solve the batch, all at the same time."""
        for requests in self._requests:
            requests.send(None)
        for requests in self._requests:
            requests.recv()

    def close(self) -> None:
        """Let them end."""
        for requests in self._requests:
            requests.close()


def throughput(items: int, repeats: int, backends: tuple[Backend, ...]) -> dict[str, float]:
    """Print what two workers give; return rows per second."""
    solver, costs = knapsack(items), batch(items)
    expected = solver.solve(costs)
    pools = {
        f"{backend}, {workers} worker(s)": SolverPool(solver, workers, backend=backend, chunk=4)
        for backend in backends
        for workers in (1, 2)
    }
    independent = {
        "one process without a pool": Independent(1, items),
        "two of them, a batch each": Independent(2, items),
    }
    for pool in pools.values():
        answer = pool.solve(costs)
        assert (answer.decisions == expected.decisions).all()
        assert (answer.objectives == expected.objectives).all()
    calls: dict[str, Callable[[], object]] = {name: each.solve for name, each in independent.items()}
    load = os.getloadavg()[0]
    found = timed(calls | {name: partial(pool.solve, costs) for name, pool in pools.items()}, repeats)
    alone, twice = (found[name] for name in independent)
    found["two of them, a batch each"] = both = twice / 2
    middle = {name: float(np.median(each)) for name, each in found.items()}
    each_row = 1e3 * middle["one process without a pool"] / ROWS
    print(f"\n{ROWS} rows, {each_row:.2f} ms each; load {load:.1f} before, {os.getloadavg()[0]:.1f} after\n")
    print("| | ms per batch | rows per second |")
    print("|---|---:|---:|")
    for name, seconds in middle.items():
        print(f"| {name} | {1e3 * seconds:.1f} | {ROWS / seconds:.0f} |")
    print(f"\ntwo independent processes against one: {np.median(alone / both):.2f} (medians of the ratios)")
    for backend in backends:
        one, two = found[f"{backend}, 1 worker(s)"], found[f"{backend}, 2 worker(s)"]
        print(
            f"{backend}: 2 workers against 1: {np.median(one / two):.2f}; against two independent "
            f"processes: {np.median(both / two):.2f}"
        )
    for each in (*pools.values(), *independent.values()):
        each.close()
    return {name: ROWS / seconds for name, seconds in middle.items()}


def overhead(repeats: int, backends: tuple[Backend, ...]) -> dict[str, float]:
    """Print what one call costs with a solver that does nothing; return microseconds per call and per row."""
    solver: Solver = FunctionSolver(np.zeros_like, 144, "min", batched=True)
    found: dict[str, float] = {}
    print(f"\nload {os.getloadavg()[0]:.1f}\n")
    print(
        "| overhead, us, median (tenth percentile) | 2 rows | 320 rows | 3200 rows | per row, 320 to 3200 |"
    )
    print("|---|---:|---:|---:|---:|")
    for backend in backends:
        cells, medians = [], []
        for rows in (2, 320, 3200):
            costs = np.random.default_rng(2).normal(size=(rows, 144))
            with SolverPool(solver, 2, backend=backend, chunk=rows // 2) as pool:
                calls: dict[str, Callable[[], object]] = {"no pool": partial(solver.solve, costs)}
                times = timed(calls | {"pool": partial(pool.solve, costs)}, 30 * repeats)
            extra = 1e6 * (times["pool"] - times["no pool"])
            medians.append(float(np.median(extra)))
            cells.append(f"{medians[-1]:.0f} ({np.percentile(extra, 10):.0f})")
            found[f"{backend}, {rows} rows"] = medians[-1]
        per_row = (medians[2] - medians[1]) / (3200 - 320)
        found[f"{backend}, per row"] = per_row
        print(f"| {backend} |", " | ".join(cells), f"| {per_row:.2f} |")
    return found


def start(repeats: int) -> dict[str, float]:
    """Print how long two worker processes take to their first answer, and their memory."""
    solver = knapsack(ITEMS[-1])
    costs: NDArray[np.float64] = np.ones((2, *solver.shape))
    seconds: list[float] = []
    memory: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        with SolverPool(solver, 2, backend="process", chunk=1) as pool:
            pool.solve(costs)
            seconds.append(time.perf_counter() - began)
            memory += map(pool_rows.resident_mib, pool_rows.worker_processes())
    print(f"\nfrom nothing to the first answer of 2 processes: {np.median(seconds):.2f} s")
    print(f"memory of a worker with HiGHS: {np.max(memory):.0f} MiB, shared libraries included")
    return {"seconds": float(np.median(seconds)), "worker_mib": float(np.max(memory))}


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description="What a pool gives, and what it costs.")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--ray", action="store_true", help="actors as well, on a cluster that Ray finds or starts"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    backends: tuple[Backend, ...] = ("thread", "process", "ray") if arguments.ray else ("thread", "process")
    result = {
        "start": start(5),
        "rows_per_second": {
            f"{items} items": throughput(items, arguments.repeats, backends) for items in ITEMS
        },
        "overhead_microseconds": overhead(arguments.repeats, backends),
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
