"""What one solve costs: processor time per row, for a few problems, engines and ways of solving.

    python benchmarks/solvers.py

Costs change from row to row, as in training. Times are processor time of this process and of the processes
that it waits for, so that a busy machine changes little; the best of three batches.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import networkx as nx
import numpy as np
import pulp

from imle_opt.solvers import ShortestPath, Solver, SpanningTree, grid_path, wrap


def knapsack() -> tuple[pulp.LpProblem, object]:
    """Twenty items, one capacity."""
    weights = np.random.default_rng(0).integers(3, 9, size=20).tolist()
    model = pulp.LpProblem("knapsack", pulp.LpMaximize)
    take = model.add_variable_dict("take", range(20), cat="Binary")
    model += pulp.lpSum(take.values())
    model += pulp.lpSum(weight * take[item] for item, weight in enumerate(weights)) <= 40
    return model, take


def assignment() -> tuple[pulp.LpProblem, object]:
    """Twelve workers, twelve tasks."""
    model = pulp.LpProblem("assignment", pulp.LpMinimize)
    cells = [[model.add_variable(f"x_{i}_{j}", cat="Binary") for j in range(12)] for i in range(12)]
    model += pulp.lpSum(cell for row in cells for cell in row)
    for i in range(12):
        model += pulp.lpSum(cells[i]) == 1
        model += pulp.lpSum(row[i] for row in cells) == 1
    return model, cells


GRAPH = nx.complete_graph(12)
TOWN = nx.grid_2d_graph(12, 12)
LINEAR: dict[str, Callable[[str], Solver]] = {
    "knapsack, 20 items": lambda engine: wrap(*knapsack(), engine=engine),
    "assignment 12x12": lambda engine: wrap(*assignment(), engine=engine),
}
PROBLEMS: dict[str, Callable[[str], Solver]] = {
    "map 12x12, 8 neighbours, costs on cells": lambda engine: grid_path((12, 12), engine=engine),
    "grid 12x12, costs on edges": lambda engine: ShortestPath(TOWN, (0, 0), (11, 11), engine=engine),
    "spanning tree, 12 nodes, 66 edges": lambda engine: SpanningTree(GRAPH, engine=engine),
    **LINEAR,
}


def processor_seconds() -> float:
    """Return what this process and its finished children have used so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def microseconds(solver: Solver, rows: int, *, deterministic: bool) -> float:
    """Processor time per row, the best of three batches."""
    costs = np.random.default_rng(1).uniform(1, 10, size=(4, rows, *solver.shape))
    solver.solve(costs[0], deterministic=deterministic)  # compiles, and builds the model
    timings = []
    for batch in costs[1:]:
        began = processor_seconds()
        solver.solve(batch, deterministic=deterministic)
        timings.append(processor_seconds() - began)
    return 1e6 * min(timings) / rows


def main() -> None:
    """Print a Markdown table."""
    print("| problem | engine | one solve, from the same start | from the last answer |")
    print("|---|---|---:|---:|")
    for name, make in PROBLEMS.items():
        for engine in ("auto", "highs", "native") if name in LINEAR else ("auto", "native"):
            solver = make(engine)
            kernel = solver.traits.engine.startswith("kernel")
            rows = 20_000 if kernel else 300 if engine == "highs" else 60
            times = [microseconds(solver, rows, deterministic=flag) for flag in (True, False)]
            shown = [f"{time:,.1f} µs" if time < 100 else f"{time:,.0f} µs" for time in times]
            print(f"| {name} | `{solver.traits.engine}` | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
