"""The compiled kernels against enumeration, on random small graphs with frequent ties."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import graphs, integer_costs
from imle_opt_solvers.arcs import FOUND, NEGATIVE_CYCLE, NO_PATH, compile_region
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.kernels import shortest_path, spanning_tree
from imle_opt_solvers.reference_graphs import (
    acyclic_optimum,
    enumerate_paths,
    enumerate_spanning_forests,
    has_negative_cycle,
)

ROWS = 3
COSTS_ON = st.sampled_from(["edges", "vertices"])


@st.composite
def path_problems(draw, low, high, **options):
    """A graph, where its costs are, the costs, and per-row sources and targets."""
    graph, costs_on = draw(graphs(**options)), draw(COSTS_ON)
    region = compile_region(graph, costs_on)
    costs = integer_costs(draw, ROWS, region.num_costs, low, high)
    ends = integer_costs(draw, 2, ROWS, 0, graph.num_nodes - 1).astype(np.int64)
    return region, costs_on, costs, *ends


def assert_shortest(region, costs_on, costs, source, target, decision, code):
    """The decision is one of the simple paths, and none is shorter."""
    paths = enumerate_paths(region.graph, source, target, costs_on)
    if not len(paths.decisions):
        assert code == NO_PATH
        return
    assert code == FOUND
    assert paths.contains(decision)
    assert decision @ costs == paths.optimum(costs)


@settings(deadline=None)
@given(problem=path_problems(0, 3))
def test_dijkstra_finds_a_shortest_simple_path(problem):
    region, costs_on, costs, sources, targets = problem
    found = shortest_path.dijkstra(costs, region.arcs, sources, targets, region.on_vertices)
    for row, answer in enumerate(zip(sources, targets, *found, strict=True)):
        assert_shortest(region, costs_on, costs[row], *answer)


@settings(deadline=None)
@given(problem=path_problems(-3, 3, directed=True, acyclic=True))
def test_acyclic_takes_any_sign(problem):
    region, costs_on, costs, sources, targets = problem
    assert region.order is not None
    found = shortest_path.acyclic(costs, region.arcs, region.order, sources, targets, region.on_vertices)
    for row, (source, target, decision, code) in enumerate(zip(sources, targets, *found, strict=True)):
        assert_shortest(region, costs_on, costs[row], source, target, decision, code)
        optimum = acyclic_optimum(region.graph, source, target, costs[row], costs_on)
        assert optimum == (decision @ costs[row] if code == FOUND else np.inf)


@settings(max_examples=300, deadline=None)
@given(problem=path_problems(-2, 4))
def test_bellman_ford_is_exact_or_names_a_negative_cycle(problem):
    region, costs_on, costs, sources, targets = problem
    found = shortest_path.bellman_ford(costs, region.arcs, sources, targets, region.on_vertices)
    for row, (source, target, decision, code) in enumerate(zip(sources, targets, *found, strict=True)):
        cyclic = has_negative_cycle(region.graph, source, target, costs[row], costs_on)
        if source != target and cyclic:
            assert code == NEGATIVE_CYCLE
        else:
            assert_shortest(region, costs_on, costs[row], source, target, decision, code)


def test_a_cycle_that_is_zero_but_for_rounding_is_no_negative_cycle():
    graph = Graph.from_edges([[0, 1], [1, 2], [2, 3], [3, 1], [2, 4]], directed=True)
    region = compile_region(graph, "edges")
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(500, 2))
    costs = np.column_stack([np.full(500, 1e3), steps, -(steps[:, 0] + steps[:, 1]), np.full(500, 1e-3)])
    ends = np.zeros(500, dtype=np.int64), np.full(500, 4)
    decisions, codes = shortest_path.bellman_ford(costs, region.arcs, *ends, False)
    assert (codes == FOUND).all()
    np.testing.assert_array_equal(decisions, [[1, 1, 0, 0, 1]] * 500)
    costs[:, 3] -= 1e-9
    assert (shortest_path.bellman_ford(costs, region.arcs, *ends, False)[1] == NEGATIVE_CYCLE).all()


def test_all_path_kernels_agree_on_a_grid():
    steps = [(node, node + 1) for node in range(64) if node % 8 < 7] + [
        (node, node + 8) for node in range(56)
    ]
    region = compile_region(Graph.from_edges(steps, directed=True), "vertices")
    costs = np.random.default_rng(1).uniform(0, 1, (20, 64))
    ends = np.zeros(20, dtype=np.int64), np.full(20, 63)
    expected, _ = shortest_path.dijkstra(costs, region.arcs, *ends, True)
    for decisions, _ in (
        shortest_path.acyclic(costs, region.arcs, region.order, *ends, True),
        shortest_path.bellman_ford(costs, region.arcs, *ends, True),
    ):
        np.testing.assert_array_equal(decisions, expected)


@settings(deadline=None)
@given(data=st.data(), graph=graphs(directed=False))
def test_prim_and_kruskal_find_a_minimum_forest(data, graph):
    region = compile_region(graph, "edges")
    costs = integer_costs(data.draw, ROWS, graph.num_edges, -3, 3)
    forests = enumerate_spanning_forests(graph)
    size = int(forests.decisions[0].sum())
    prim = spanning_tree.prim(costs, region.arcs)
    kruskal = spanning_tree.kruskal(costs, graph.tails, graph.heads, graph.num_nodes, size)
    for row in range(ROWS):
        for decision in (prim[row], kruskal[row]):
            assert forests.contains(decision)
            assert decision @ costs[row] == forests.optimum(costs[row])


def test_a_row_does_not_depend_on_the_rows_before_it():
    graph = Graph.from_edges([[0, 1], [0, 2], [1, 3], [2, 3], [0, 3], [1, 2]], directed=False)
    region = compile_region(graph, "edges")
    costs = np.random.default_rng(2).integers(0, 2, (40, 6)).astype(float)
    ends = np.zeros(40, dtype=np.int64), np.full(40, 3)
    for solve in (
        lambda part: shortest_path.dijkstra(part, region.arcs, ends[0], ends[1], False)[0],
        lambda part: shortest_path.bellman_ford(part, region.arcs, ends[0], ends[1], False)[0],
        lambda part: spanning_tree.prim(part, region.arcs),
        lambda part: spanning_tree.kruskal(part, graph.tails, graph.heads, 4, 3),
    ):
        np.testing.assert_array_equal(solve(costs[::-1].copy())[::-1], solve(costs))


SCRIPT = """
import sys
import imle_opt_solvers
from imle_opt_solvers.spanning_tree import SpanningTree
assert "numba" not in sys.modules and "networkx" not in sys.modules, "imported too early"
solver = SpanningTree([[0, 1], [1, 2], [2, 0]])
assert "numba" not in sys.modules
assert solver.solve([3.0, 1.0, 2.0]).objectives == 3.0
assert "numba" in sys.modules and "networkx" not in sys.modules and "torch" not in sys.modules
"""


def test_numba_is_imported_by_the_first_solve_only():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)


def test_kernels_run_where_no_folder_can_be_written(tmp_path):
    """A file where the cache folder should be: not even the superuser can write below it."""
    blocked = tmp_path / "file"
    blocked.touch()
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(blocked / "cache"),
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=environment)
