"""What a pool gives, and what it costs: one process, threads, processes.

    python benchmarks/pool.py [--repeats 9]

Throughput: 64 rows of a knapsack that takes HiGHS over a millisecond each. What two workers can give at most
on this machine is measured in the same run: the same batch in two independent pools of one process each, at
the same time. Overhead: a solver that does nothing, 2 rows and 320 rows of 144 costs. Variants take turns;
medians of all repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers import FunctionSolver, HighsSolver, Solution, Solver, SolverPool
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import Sense

ROWS = 64


def knapsack(items: int = 16, capacities: int = 2) -> HighsSolver:
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


def medians(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each variant, which take turns, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, call in variants.items():
            began = time.perf_counter()
            call()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def throughput(repeats: int) -> None:
    """Print what two workers give."""
    solver = knapsack()
    costs = np.random.default_rng(1).uniform(20, 90, size=(ROWS, *solver.shape))
    expected = solver.solve(costs)
    pools = {
        f"{backend}, {workers} worker(s)": SolverPool(solver, workers, backend=backend, chunk=4)
        for backend in ("thread", "process")
        for workers in (1, 2)
    }
    rivals = [SolverPool(solver, 1, backend="process", chunk=4) for _ in range(2)]

    def at_once() -> list[Solution]:
        """Solve half of the batch in each of two pools that know nothing of each other."""
        halves: list[Future[Solution]] = [
            rival.submit(half) for rival, half in zip(rivals, np.split(costs, 2), strict=True)
        ]
        return [half.result() for half in halves]

    for pool in pools.values():
        answer = pool.solve(costs)
        assert (answer.decisions == expected.decisions).all()
        assert (answer.objectives == expected.objectives).all()
    calls: dict[str, Callable[[], object]] = {"no pool": partial(solver.solve, costs)}
    calls |= {name: partial(pool.solve, costs) for name, pool in pools.items()}
    found = medians(calls | {"two independent processes": at_once}, repeats)
    print(f"\n{ROWS} rows, {1e3 * found['no pool'] / ROWS:.2f} ms each\n")
    print("| | ms per batch | rows per second | against no pool |")
    print("|---|---:|---:|---:|")
    for name, seconds in found.items():
        print(f"| {name} | {1e3 * seconds:.1f} | {ROWS / seconds:.0f} | {found['no pool'] / seconds:.2f} |")
    for backend in ("thread", "process"):
        one, two = found[f"{backend}, 1 worker(s)"], found[f"{backend}, 2 worker(s)"]
        best = found["two independent processes"]
        print(f"\n{backend}: 2 workers against 1: {one / two:.2f}; of independent ones: {best / two:.2f}")
    for pool in (*pools.values(), *rivals):
        pool.close()


def overhead(repeats: int) -> None:
    """Print what one call costs with a solver that does nothing."""
    print("\n| solver that does nothing, rows of 144 costs | no pool, us | threads, us | processes, us |")
    print("|---|---:|---:|---:|")
    solver: Solver = FunctionSolver(np.zeros_like, 144, "min", batched=True)
    pools = {backend: SolverPool(solver, 2, backend=backend, chunk=160) for backend in ("thread", "process")}
    for rows in (2, 320, 3200):
        costs = np.random.default_rng(2).normal(size=(rows, 144))
        calls: dict[str, Callable[[], object]] = {"no pool": partial(solver.solve, costs)}
        for name, pool in pools.items():
            calls[name] = partial(pool.solve, costs)
        found = medians(calls, 100 * repeats)
        print(
            f"| {rows} rows, chunks of 160 |", " | ".join(f"{1e6 * each:.0f}" for each in found.values()), "|"
        )
    for pool in pools.values():
        pool.close()


def start() -> None:
    """Print how long two worker processes take to their first answer."""
    solver = knapsack()
    costs: NDArray[np.float64] = np.ones((2, *solver.shape))
    began = time.perf_counter()
    with SolverPool(solver, 2, backend="process", chunk=1) as pool:
        pool.solve(costs)
        print(f"\nfrom nothing to the first answer of 2 processes: {time.perf_counter() - began:.2f} s")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description="What a pool gives, and what it costs.")
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    start()
    throughput(repeats)
    overhead(repeats)


if __name__ == "__main__":
    main()
