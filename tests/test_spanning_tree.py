"""Spanning trees: both senses, forests, parallel edges, per-row graphs, bad input."""

from __future__ import annotations

import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import graphs, integer_costs, roads, stages, state
from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.graph import Graph, as_graph
from imle_opt_solvers.reference_graphs import enumerate_spanning_forests
from imle_opt_solvers.solution import Sense, Status
from imle_opt_solvers.solver import CostDomain
from imle_opt_solvers.spanning_tree import SpanningTree

ENGINES = ("kernel", "native")


def chosen(solver, costs):
    decision = solver.solve(costs).decisions
    return {name for name, taken in zip(solver.names, decision, strict=True) if taken}


@pytest.mark.parametrize("engine", ENGINES)
def test_smallest_and_largest_trees(engine):
    smallest = SpanningTree(roads(), engine=engine)
    assert chosen(smallest, smallest.graph_costs) == {
        "mill-bridge",
        "home-mill",
        "bridge-tower",
        "bridge-market",
    }
    largest = SpanningTree(roads(), sense="max", engine=engine)
    assert chosen(largest, largest.graph_costs) == {
        "mill-market",
        "home-bridge",
        "market-tower",
        "bridge-market",
    }
    assert (smallest.sense, largest.sense) == (Sense.MIN, Sense.MAX)


@settings(deadline=None)
@given(data=st.data(), graph=graphs(directed=False), sense=st.sampled_from(["min", "max"]))
def test_engines_agree_with_enumeration(data, graph, sense):
    forests = enumerate_spanning_forests(graph, sense)
    costs = integer_costs(data.draw, 3, graph.num_edges, -3, 3)
    for engine in ENGINES:
        solver = SpanningTree(graph, sense=sense, engine=engine)
        solution = solver.solve(costs)
        np.testing.assert_array_equal(solution.objectives, [forests.optimum(row) for row in costs])
        assert all(forests.contains(decision) for decision in solution.decisions)
        assert (solution.decisions.sum(axis=1) == solver.traits.cardinality).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_map_maximises_theta_in_both_senses(engine):
    theta = np.array([3.0, 2.0, 1.0])
    for sense in ("min", "max"):
        solver = SpanningTree([[0, 1], [1, 2], [2, 0]], sense=sense, engine=engine)
        np.testing.assert_array_equal(solver.map(theta), [1, 1, 0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disconnected_graph_has_a_forest(engine):
    graph = nx.Graph([("a", "b"), ("b", "c"), ("c", "a"), ("u", "v"), ("v", "v")])
    graph.add_node("alone")
    solver = SpanningTree(graph, engine=engine)
    assert solver.traits.cardinality == 3
    costs = dict.fromkeys(solver.names, 1.0) | {"a-b": 5.0, "v-v": -9.0}
    assert chosen(solver, list(costs.values())) == {"b-c", "a-c", "u-v"}


@pytest.mark.parametrize("engine", ENGINES)
def test_one_of_parallel_edges_is_chosen_and_zero_costs_are_kept(engine):
    graph = nx.MultiGraph([("a", "b", "road"), ("a", "b", "rail"), ("b", "c", "road"), ("a", "a", "ring")])
    solver = SpanningTree(graph, engine=engine)
    costs = dict.fromkeys(solver.names, 0.0) | {"a-b[road]": 1.0}
    assert chosen(solver, list(costs.values())) == {"a-b[rail]", "b-c[road]"}


@pytest.mark.parametrize("engine", ENGINES)
def test_each_row_may_have_its_own_graph(engine):
    square, star = nx.cycle_graph(4), nx.Graph([(0, 1), (0, 2), (0, 3), (1, 2)])
    parts = nx.Graph([(0, 1), (2, 3), (3, 4), (4, 2)])
    solver = SpanningTree(square, engine=engine)
    rows = [star, square, parts, star] * 5
    costs = np.random.default_rng(0).normal(size=(20, 4))
    solution = solver.solve(costs, instances={"graph": rows})
    forests = [enumerate_spanning_forests(as_graph(graph)) for graph in rows]
    optima = [oracle.optimum(row) for oracle, row in zip(forests, costs, strict=True)]
    np.testing.assert_allclose(solution.objectives, optima)
    assert solution.statuses == (Status.OPTIMAL,) * 20
    with pytest.raises(InvalidInputError, match="row 1: the graph is directed"):
        solver.solve(costs[:2], instances={"graph": [star, stages()]})
    with pytest.raises(InvalidInputError, match="row 0: the graph has 2 edges; every graph must have 4"):
        solver.solve(costs[:1], instances={"graph": [nx.path_graph(3)]})


def test_dense_and_sparse_graphs_take_different_kernels():
    dense, sparse = SpanningTree(nx.complete_graph(12)), SpanningTree(nx.path_graph(60))
    assert (dense.traits.engine, sparse.traits.engine) == ("kernel:prim", "kernel:kruskal")
    assert SpanningTree(roads(), engine="native").traits.engine == "native:networkx"
    assert dense.traits.binary
    assert dense.traits.exact
    assert dense.traits.cost_domain is CostDomain.ANY
    rng = np.random.default_rng(0)
    for solver in (dense, sparse):
        costs = rng.normal(size=(5, *solver.shape))
        native = SpanningTree(solver.graph, engine="native").solve(costs)
        np.testing.assert_allclose(solver.solve(costs).objectives, native.objectives, atol=1e-12)


def test_a_solver_survives_pickling_and_leaves_the_graph_alone():
    graph = roads()
    before = state(graph)
    for engine in ENGINES:
        solver = SpanningTree(graph, engine=engine)
        costs = np.random.default_rng(0).normal(size=(4, 8))
        found = solver.solve(costs).decisions
        copy = pickle.loads(pickle.dumps(solver))
        np.testing.assert_array_equal(copy.solve(costs).decisions, found)
    assert state(graph) == before


def test_shapes_and_an_empty_batch():
    solver = SpanningTree(nx.cycle_graph(6), shape=(2, 3))
    assert solver.solve(np.ones((4, 0, 2, 3))).decisions.shape == (4, 0, 2, 3)
    assert solver.solve(np.arange(6.0).reshape(2, 3)).objectives == 10.0
    assert SpanningTree(Graph.from_edges([[0, 1]], directed=False, num_nodes=4)).traits.cardinality == 1


def test_bad_models_are_named():
    with pytest.raises(ModelError, match="to_undirected"):
        SpanningTree(stages())
    with pytest.raises(ModelError, match="no edges"):
        SpanningTree(nx.empty_graph(3))
    with pytest.raises(InvalidInputError, match="`sense` must be one of 'min', 'max', not 'low'"):
        SpanningTree(roads(), sense="low")
    with pytest.raises(InvalidInputError, match="too large"):
        SpanningTree(roads()).solve(np.full(8, 1e308))
