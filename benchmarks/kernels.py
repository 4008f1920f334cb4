"""The combinatorial kernels against the obvious loop over a package's own call, on a batch of 320 rows.

    python benchmarks/kernels.py

Both find the same objectives. Times are processor time per row, medians over repeats that take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import networkx as nx
import numpy as np
from ortools.algorithms.python import knapsack_solver
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from imle_opt_solvers import (
    Assignment,
    HighsSolver,
    Knapsack,
    LinearModel,
    OneHot,
    Ranking,
    Solver,
    SpanningTree,
    TopK,
    grid_graph,
    grid_path,
)
from imle_opt_solvers.linear_model import Selection
from imle_opt_solvers.solution import Sense
from imle_opt_solvers.structured_solver import linear_solver

ROWS = 320
REPEATS = 7


@dataclass(frozen=True)
class Case:
    """A solver, its costs (rows, *shape), and what a user would write without it.

    Args:
        name: shown in the table.
        solver: solves the whole batch.
        costs: in the solver's own sense.
        package: what the loop calls.
        row: from costs (*shape,) to the objective.
    """

    name: str
    solver: Solver
    costs: np.ndarray
    package: str
    row: Callable[[np.ndarray], float]


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    yield selection("top 10 of 100", TopK(100, 10), rng, "numpy argpartition", largest(10))
    yield selection("one of 100", OneHot(100), rng, "numpy argmax", lambda row: float(row[row.argmax()]))
    yield selection(
        "ranks of 100", Ranking(100), rng, "scipy rankdata", lambda row: float(row @ (101 - rankdata(row)))
    )
    costs = rng.uniform(size=(ROWS, 20, 20))
    yield Case("assignment 20x20", Assignment(20), costs, "scipy linear_sum_assignment", assigned)
    weights = rng.integers(300, 800, size=(2, 32)) / 100
    profits = rng.uniform(1, 8, (ROWS, 32))
    yield Case(
        "knapsack 32x2, real weights",
        Knapsack(weights, (20, 20)),
        profits,
        "OR-Tools knapsack",
        packed(weights, (20, 20)),
    )
    energy = rng.choice([3.0, 5.0, 7.0], size=(1, 48))
    yield Case(
        "knapsack 48x1",
        Knapsack(energy, 120),
        energy * rng.uniform(5, 100, (ROWS, 48)),
        "OR-Tools knapsack",
        packed(energy, (120,)),
    )
    for size in (5, 12):
        model = path_program(size)
        highs = HighsSolver(model)
        yield Case(
            f"path {size}x{size} as a linear program, {model.num_columns} arcs",
            linear_solver(model, None, "raise"),
            rng.uniform(0.1, 5, (ROWS, model.num_columns)),
            "this library's HiGHS engine",
            lambda row, highs=highs: float(highs.solve(row, deterministic=False).objectives),
        )
    yield Case(
        "path 12x12, costs on cells", grid_path(), rng.uniform(0.1, 5, (ROWS, 12, 12)), "NetworkX", walked
    )
    tree = SpanningTree(nx.complete_graph(20))
    yield Case("tree of 20 nodes, 190 edges", tree, rng.normal(size=(ROWS, 190)), "NetworkX", spanned)


def selection(
    name: str, solver: Solver, rng: np.random.Generator, package: str, row: Callable[[np.ndarray], float]
) -> Case:
    return Case(name, solver, rng.normal(size=(ROWS, *solver.shape)), package, row)


def largest(k: int) -> Callable[[np.ndarray], float]:
    return lambda row: float(row[np.argpartition(row, -k)[-k:]].sum())


def assigned(row: np.ndarray) -> float:
    return float(row[linear_sum_assignment(row)].sum())


def packed(weights: np.ndarray, capacities: tuple[int, ...]) -> Callable[[np.ndarray], float]:
    """OR-Tools takes whole numbers only: hundredths of weights, and profits to nine digits."""
    whole = np.round(weights * 100).astype(int).tolist()
    sides = [100 * capacity for capacity in capacities]
    kind = knapsack_solver.SolverType.KNAPSACK_MULTIDIMENSION_BRANCH_AND_BOUND_SOLVER

    def pack(row: np.ndarray) -> float:
        solver = knapsack_solver.KnapsackSolver(kind, "knapsack")
        solver.init(np.round(row * 1e9).astype(int).tolist(), whole, sides)
        solver.solve()
        return sum(float(row[item]) for item in range(len(row)) if solver.best_solution_contains(item))

    return pack


def path_program(size: int) -> LinearModel:
    """Right and down over a grid: a variable per arc, flow conserved in every cell."""
    graph = grid_graph((size, size), 2)
    arcs, nodes = graph.num_edges, graph.num_nodes
    rows = np.concatenate([graph.tails, graph.heads])
    order = np.argsort(rows, kind="stable")
    sides = np.zeros(nodes)
    sides[0], sides[-1] = 1, -1
    return LinearModel(
        sense=Sense.MIN,
        row_starts=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=nodes))]),
        row_columns=np.tile(np.arange(arcs), 2)[order],
        row_values=np.repeat([1.0, -1.0], arcs)[order],
        row_lower=sides,
        row_upper=sides,
        column_lower=np.zeros(arcs),
        column_upper=np.ones(arcs),
        integrality=np.zeros(arcs, dtype=bool),
        fixed_costs=np.zeros(arcs),
        offset=0.0,
        predicted=Selection(np.arange(arcs), (arcs,)),
        column_names=graph.edge_names,
        row_names=graph.node_names,
    )


CELLS = grid_graph((12, 12))
MAP = nx.DiGraph()
MAP.add_edges_from(zip(CELLS.tails.tolist(), CELLS.heads.tolist(), strict=True))
MAP.add_edges_from(zip(CELLS.heads.tolist(), CELLS.tails.tolist(), strict=True))
NETWORK = nx.complete_graph(20)


def walked(row: np.ndarray) -> float:
    costs = row.ravel()
    length = nx.dijkstra_path_length(MAP, 0, 143, weight=lambda tail, head, data: costs[head])
    return float(length + costs[0])


def spanned(row: np.ndarray) -> float:
    nx.set_edge_attributes(NETWORK, dict(zip(NETWORK.edges, row.tolist(), strict=True)), "weight")
    return float(nx.minimum_spanning_tree(NETWORK).size(weight="weight"))


def seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    """Print a Markdown table."""
    print("| problem | kernel | `solver.map` | loop over | | ratio |\n|---|---|---:|---|---:|---:|")
    for case in cases():
        theta, few = case.solver.sense.sign * case.costs, case.costs[:20]
        found = case.solver.solve(few).objectives
        np.testing.assert_allclose(found, [case.row(row) for row in few], rtol=1e-7)
        fast: list[float] = []
        slow: list[float] = []
        for _ in range(REPEATS):
            fast.append(seconds(lambda case=case, theta=theta: case.solver.map(theta)) / ROWS)
            slow.append(seconds(lambda case=case, few=few: [case.row(row) for row in few]) / len(few))
        mine, other = 1e6 * statistics.median(fast), 1e6 * statistics.median(slow)
        engine = case.solver.traits.engine
        print(
            f"| {case.name} | `{engine}` | {mine:.2f} µs | {case.package} | {other:,.1f} µs "
            f"| {other / mine:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
