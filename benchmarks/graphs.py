"""Paths and trees: the compiled kernels against NetworkX, one `solver.map` on a batch of 320 rows.

    python benchmarks/graphs.py

Prints the median microseconds per row of each, and the ratio. Both find the same objectives.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Literal

import networkx as nx
import numpy as np

from imle_opt_solvers.grid import grid_path
from imle_opt_solvers.solver import Solver
from imle_opt_solvers.spanning_tree import SpanningTree

ROWS = 320
SOLVERS: dict[str, Callable[[Literal["kernel", "native"]], Solver]] = {
    "path 12x12, 8 neighbours, vertex costs": lambda engine: grid_path(engine=engine),
    "path 12x12, 4 neighbours, edge costs": lambda engine: grid_path(
        neighbours=4, costs_on="edges", engine=engine
    ),
    "path 12x12, right and down, edge costs": lambda engine: grid_path(
        neighbours=2, costs_on="edges", engine=engine
    ),
    "tree of 20 nodes, 190 edges": lambda engine: SpanningTree(nx.complete_graph(20), engine=engine),
    "tree of 20 nodes, 30 edges": lambda engine: SpanningTree(
        nx.gnm_random_graph(20, 30, seed=0), engine=engine
    ),
}


def microseconds_per_row(solver: Solver, costs: np.ndarray, repeats: int) -> float:
    theta = solver.sense.sign * costs
    solver.map(theta)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        solver.map(theta)
        times.append(time.perf_counter() - started)
    return statistics.median(times) / len(costs) * 1e6


def main() -> None:
    print(f"{'':42}{'kernel us':>12}{'networkx us':>14}{'ratio':>8}")
    for name, make in SOLVERS.items():
        kernel, native = make("kernel"), make("native")
        costs = np.random.default_rng(0).uniform(0.1, 5, (ROWS, *kernel.shape))
        found, expected = kernel.solve(costs).objectives, native.solve(costs).objectives
        np.testing.assert_allclose(found, expected)
        fast, slow = microseconds_per_row(kernel, costs, 15), microseconds_per_row(native, costs, 3)
        print(f"{name:42}{fast:12.1f}{slow:14.1f}{slow / fast:8.0f}")


if __name__ == "__main__":
    main()
