"""The problems, their costs, and who solves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from benchmarks import linear_models
from benchmarks.compare import user_models
from benchmarks.compare.timing import FloatArray
from benchmarks.compare.user_models import Loop
from benchmarks.kernels import path_program
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from imle_opt_solvers import LinearModel, Solver, SpanningTree, grid_graph, grid_path, wrap
from imle_opt_solvers.kernels import assignment, knapsack, shortest_path, spanning_tree

FloatMap = Callable[[FloatArray], FloatArray]
INSTANCES, SAMPLES = 32, 10
OURS, OURS_HIGHS, KERNEL, HIGHSPY = "imle-opt", "imle-opt, highs", "bare kernel", "highspy by hand"
PYEPO, PULP, NETWORKX = "PyEPO, OR-Tools", "PuLP, CBC", "NetworkX"


@dataclass(frozen=True)
class Case:
    """A problem with everybody who solves it.

    Args:
        title: in words.
        solver: ours, by the public door.
        highs: ours with `engine="highs"`; None for graphs.
        costs: (instances x samples, *shape), samples of an instance next to each other.
        kernel: from theta to decisions: the compiled code alone, or None where no kernel solves it.
        loops: from costs to objectives, in the solver's own sense; `HIGHSPY` leaves out fixed costs.
        linear: the model as arrays, None for graphs.
        few: (instances, samples) that those get who would take too long on all of them.
    """

    title: str
    solver: Solver
    highs: Solver | None
    costs: FloatArray
    kernel: FloatMap | None
    loops: dict[str, Loop]
    linear: LinearModel | None = None
    few: tuple[int, int] = (4, SAMPLES)

    @property
    def few_costs(self) -> FloatArray:
        """The rows of `few`."""
        instances, samples = self.few
        shape = self.solver.shape
        return self.costs.reshape(-1, SAMPLES, *shape)[:instances, :samples].reshape(-1, *shape)


def noisy(shape: tuple[int, ...], seed: int = 7) -> FloatArray:
    """Costs of 32 instances, ten times perturbed each."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(1, 10, size=(INSTANCES, 1, *shape))
    costs = base + 0.5 * rng.gumbel(size=(INSTANCES, SAMPLES, *shape))
    return np.maximum(costs, 0.1).reshape(-1, *shape)


def linear_case(
    title: str,
    model: LinearModel,
    kernel: FloatMap | None,
    costs: FloatArray | None = None,
    few: tuple[int, int] = (4, SAMPLES),
) -> Case:
    problem, predicted, _ = user_models.pulp_model(model)
    loops = {
        HIGHSPY: user_models.highspy_loop(model),
        "pywraplp": user_models.pywraplp_loop(model),
        "scipy": user_models.scipy_loop(model),
        "cvxpy": user_models.cvxpy_loop(model),
        PULP: user_models.pulp_cbc(model),
    }
    if find_spec("pyepo") is not None:
        from benchmarks.compare.pyepo_models import pyepo_loop

        loops[PYEPO] = pyepo_loop(model)
    solver = wrap(problem, variables=predicted)
    highs = wrap(problem, variables=predicted, engine="highs")
    costs = noisy(solver.shape) if costs is None else costs
    return Case(title, solver, highs, costs, kernel, loops, model, few)


def grid_lp(size: int) -> Case:
    model = path_program(size)
    region = grid_path((size, size), neighbours=2, costs_on="edges")._region
    order = region.order
    assert order is not None

    def kernel(theta: FloatArray) -> FloatArray:
        ends = [np.full(len(theta), node) for node in (0, size * size - 1)]
        return shortest_path.acyclic(-theta, region.arcs, order, *ends, False)[0]

    return linear_case(f"path {size}x{size}, linear program, {model.num_columns} arcs", model, kernel)


def entered(costs: list[float], tail: int, head: int, data: object) -> float:
    """Return what NetworkX is to take for the weight of an arc: the cost of the cell that it enters."""
    return costs[head]


def grid_map(size: int) -> Case:
    solver = grid_path((size, size))
    region = solver._region
    last = size * size - 1

    def kernel(theta: FloatArray) -> FloatArray:
        ends = [np.full(len(theta), node) for node in (0, last)]
        flat = -theta.reshape(len(theta), -1)
        return shortest_path.dijkstra(flat, region.arcs, *ends, True)[0].reshape(theta.shape)

    cells = grid_graph((size, size))
    graph = nx.DiGraph()
    ends = [
        np.concatenate(pair).tolist() for pair in ((cells.tails, cells.heads), (cells.heads, cells.tails))
    ]
    graph.add_edges_from(zip(*ends, strict=True))
    heads = np.array([head for _, head in graph.edges])

    def by_attribute(costs: FloatArray) -> FloatArray:
        lengths = np.empty(len(costs))
        for row, each in enumerate(costs.reshape(len(costs), -1)):
            weights = dict(zip(graph.edges, each[heads].tolist(), strict=True))
            nx.set_edge_attributes(graph, weights, "weight")
            lengths[row] = each[nx.dijkstra_path(graph, 0, last)].sum()
        return lengths

    def by_function(costs: FloatArray) -> FloatArray:
        lengths = np.empty(len(costs))
        for row, each in enumerate(costs.reshape(len(costs), -1)):
            weight = partial(entered, each.tolist())
            path = nx.dijkstra_path(graph, 0, last, weight=weight)
            lengths[row] = each[path].sum()
        return lengths

    loops = {NETWORKX: by_attribute, "NetworkX, weight function": by_function}
    return Case(
        f"map {size}x{size}, 8 neighbours, costs on cells", solver, None, noisy(solver.shape), kernel, loops
    )


def tree(nodes: int, edges: int | None) -> Case:
    graph = nx.complete_graph(nodes) if edges is None else nx.gnm_random_graph(nodes, edges, seed=0)
    solver = SpanningTree(graph)
    region = solver._region
    tails, heads = np.array(graph.edges).T

    def kernel(theta: FloatArray) -> FloatArray:
        if region.kernel == "prim":
            return spanning_tree.prim(-theta, region.arcs)
        own = region.graph
        return spanning_tree.kruskal(-theta, own.tails, own.heads, own.num_nodes, region.size)

    def by_networkx(costs: FloatArray) -> FloatArray:
        sizes = np.empty(len(costs))
        for row, each in enumerate(costs.tolist()):
            nx.set_edge_attributes(graph, dict(zip(graph.edges, each, strict=True)), "weight")
            sizes[row] = nx.minimum_spanning_tree(graph).size(weight="weight")
        return sizes

    def by_scipy(costs: FloatArray) -> FloatArray:
        sizes = [
            minimum_spanning_tree(csr_array((each, (tails, heads)), shape=(nodes, nodes))).sum()
            for each in costs
        ]
        return np.array(sizes)

    loops = {NETWORKX: by_networkx, "scipy": by_scipy}
    title = f"tree of {nodes} nodes, {graph.number_of_edges()} edges"
    return Case(title, solver, None, noisy(solver.shape), kernel, loops)


def assigned() -> Case:
    def by_scipy(costs: FloatArray) -> FloatArray:
        squares = costs.reshape(-1, 20, 20)
        return np.array([each[linear_sum_assignment(each)].sum() for each in squares])

    def kernel(theta: FloatArray) -> FloatArray:
        return assignment.assign(-theta.reshape(-1, 20, 20)).reshape(theta.shape)

    case = linear_case("assignment 20x20, linear program", linear_models.assignment(), kernel)
    case.loops["scipy, linear_sum_assignment"] = by_scipy
    return case


def knapsack_kernel(model: LinearModel) -> FloatMap:
    weights = np.ascontiguousarray(user_models.sparse_matrix(model).toarray())
    capacities = model.row_upper * (1 + 1e-9)

    def kernel(theta: FloatArray) -> FloatArray:
        rows = len(theta)
        sides = np.tile(capacities, (rows, 1))
        return knapsack.search(theta, weights, sides, np.full(rows, 200_000))[0]

    return kernel


def knapsack_32() -> Case:
    model = linear_models.knapsack(32, 2)
    return linear_case("knapsack, 32 items, 2 constraints", model, knapsack_kernel(model), few=(4, 2))


def knapsack_energy(path: Path) -> Case:
    """Days of the Irish electricity market as instances, profits perturbed by a tenth of their spread."""
    with np.load(path) as data:
        weights, profits = data["weights"].astype(float)[None], data["y_train"].reshape(-1, 48)[:INSTANCES]
    rng = np.random.default_rng(7)
    noise = 0.1 * profits.std() * rng.gumbel(size=(INSTANCES, SAMPLES, 48))
    costs = (profits[:, None] + noise).reshape(-1, 48)
    ones = np.ones(48, dtype=np.bool_)
    sides = np.array([120.0])
    model = linear_models.model_of(
        linear_models.Sense.MAX, weights, np.full(1, -np.inf), sides, ones, np.zeros(48), np.arange(48)
    )
    return linear_case("knapsack, 48 items, energy prices", model, knapsack_kernel(model), costs, few=(10, 2))


def makers(energy: Path) -> dict[str, Callable[[], Case]]:
    """Return every case by its name; the one of energy prices only where its file is."""
    found: dict[str, Any] = {
        "grid-lp-5x5": partial(grid_lp, 5),
        "grid-lp-12x12": partial(grid_lp, 12),
        "grid-map-12x12": partial(grid_map, 12),
        "grid-map-30x30": partial(grid_map, 30),
        "knapsack-32x2": knapsack_32,
        "knapsack-48x1": partial(knapsack_energy, energy),
        "assignment-20x20": assigned,
        "tree-20": partial(tree, 20, None),
        "tree-200": partial(tree, 200, 1000),
        "set-cover": lambda: linear_case(
            "set cover, 20 rows, 30 columns", linear_models.set_cover(), None, few=(10, 2)
        ),
        "facility-location": lambda: linear_case(
            "capacitated facility location, 5 sites, 12 customers",
            linear_models.facility_location(),
            None,
            few=(10, 2),
        ),
        "facility-location-8x20": lambda: linear_case(
            "capacitated facility location, 8 sites, 20 customers",
            linear_models.facility_location(8, 20),
            None,
            few=(10, 2),
        ),
    }
    if not energy.exists():
        del found["knapsack-48x1"]
    return found
