"""Shortest paths: graphs of every kind, negative costs, per-row data, bad input."""

from __future__ import annotations

import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import ferries, graphs, integer_costs, roads, stages, state
from imle_opt_solvers.errors import InvalidInputError, ModelError, SolveError
from imle_opt_solvers.graph import Graph
from imle_opt_solvers.grid import grid_graph, grid_path
from imle_opt_solvers.instances import per_row_array
from imle_opt_solvers.kernels import shortest_path as kernels
from imle_opt_solvers.reference_graphs import enumerate_paths, has_negative_cycle
from imle_opt_solvers.shortest_path import ShortestPath
from imle_opt_solvers.solution import Sense, Status
from imle_opt_solvers.solver import CostDomain

ENGINES = ("kernel", "native")


def edges_of(solver, decision):
    return {name for name, taken in zip(solver.names, decision, strict=True) if taken}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_undirected_graph_is_walked_either_way(engine):
    there = ShortestPath(roads(), "home", "tower", engine=engine)
    back = ShortestPath(roads(), "tower", "home", engine=engine)
    costs = there.graph_costs
    for solver in (there, back):
        solution = solver.solve(costs)
        assert edges_of(solver, solution.decisions) == {"home-mill", "mill-bridge", "bridge-tower"}
        assert solution.objectives == 5.0


@pytest.mark.parametrize("engine", ENGINES)
def test_parallel_edges_are_told_apart_by_key(engine):
    solver = ShortestPath(ferries(), "a", "d", engine=engine)
    costs = dict.fromkeys(solver.names, 9.0) | {"a->b[night]": 1.0, "b->c[day]": 1.0, "c->d[day]": 2.0}
    decision = solver.solve(list(costs.values())).decisions
    assert edges_of(solver, decision) == {"a->b[night]", "b->c[day]", "c->d[day]"}


@pytest.mark.parametrize("engine", ENGINES)
def test_vertex_costs_count_both_ends(engine):
    solver = ShortestPath(roads(), "home", "market", costs_on="vertices", engine=engine)
    assert solver.names == ("home", "mill", "bridge", "market", "tower")
    solution = solver.solve([[1.0, 2.0, 4.0, 8.0, 0.0], [1.0, 20.0, 4.0, 8.0, 0.0]])
    np.testing.assert_array_equal(solution.decisions, [[1, 1, 0, 1, 0], [1, 0, 1, 1, 0]])
    np.testing.assert_array_equal(solution.objectives, [11.0, 13.0])


def test_the_order_of_the_costs_is_that_of_networkx():
    for graph in (roads(), ferries(), stages()):
        solver = ShortestPath(graph, *list(graph.nodes)[:2])
        ends = [(solver.graph.nodes[t], solver.graph.nodes[h]) for t, h in _ends(solver.graph)]
        assert ends == [edge[:2] for edge in graph.edges]
        assert solver.graph.nodes == tuple(graph.nodes)
    weights = [data["weight"] for *_, data in roads().edges(data=True)]
    np.testing.assert_array_equal(ShortestPath(roads(), "home", "mill").graph_costs, weights)


def _ends(graph):
    return zip(graph.tails.tolist(), graph.heads.tolist(), strict=True)


def test_graph_costs_are_kept_where_every_edge_has_one():
    graph = roads()
    assert ShortestPath(graph, "home", "mill", "length").graph_costs is None
    assert ShortestPath(graph, "home", "mill", None).graph_costs is None
    nx.set_node_attributes(graph, {node: float(i) for i, node in enumerate(graph)}, "toll")
    tolls = ShortestPath(graph, "home", "mill", "toll", costs_on="vertices").graph_costs
    np.testing.assert_array_equal(tolls, np.arange(5.0))
    graph.edges["home", "mill"]["weight"] = "far"
    with pytest.raises(ModelError, match=r"\('home', 'mill'\) has 'weight' = 'far'"):
        ShortestPath(graph, "home", "mill")
    del graph.edges["home", "mill"]["weight"]
    assert ShortestPath(graph, "home", "mill").graph_costs is None


def test_arrays_are_graphs_too():
    edges = np.array([[0, 1], [1, 2], [0, 2], [0, 2]])
    costs = [1.0, 1.0, 9.0, 3.0]
    one_way = ShortestPath(edges, 2, 0, directed=False)
    np.testing.assert_array_equal(one_way.solve(costs).decisions, [1, 1, 0, 0])
    assert one_way.names == ("0-1[0]", "1-2[0]", "0-2[0]", "0-2[1]")
    assert ShortestPath(edges.tolist(), 0, 2, directed=True).solve(costs).objectives == 2.0
    graph = Graph.from_edges(edges, directed=True, num_nodes=5)
    assert ShortestPath(graph, 0, 2).graph.num_nodes == 5
    with pytest.raises(ModelError, match="no path from source 0 to target 4"):
        ShortestPath(graph, 0, 4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("costs_on", ["edges", "vertices"])
def test_source_and_target_may_be_one(engine, costs_on):
    solver = ShortestPath(roads(), "mill", "mill", costs_on=costs_on, engine=engine, negative="bellman-ford")
    costs = np.full(solver.shape, -2.0)
    solution = solver.solve(costs)
    expected = [0.0] * 8 if costs_on == "edges" else [0.0, 1.0, 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(solution.decisions, expected)
    assert solution.objectives == -2.0 * sum(expected)


@settings(deadline=None)
@given(data=st.data(), graph=graphs(), negative=st.sampled_from(["error", "clip", "bellman-ford"]))
def test_engines_agree_with_enumeration(data, graph, negative):
    costs_on = data.draw(st.sampled_from(["edges", "vertices"]))
    source, target = data.draw(st.tuples(*[st.integers(0, graph.num_nodes - 1)] * 2))
    paths = enumerate_paths(graph, source, target, costs_on)
    if not len(paths.decisions):
        with pytest.raises(ModelError, match="no path"):
            ShortestPath(graph, source, target, costs_on=costs_on)
        return
    low = -3 if negative == "bellman-ford" else 0
    costs = integer_costs(data.draw, 2, paths.decisions.shape[1], low, 4)
    options = {"costs_on": costs_on, "negative": negative, "on_failure": "nan"}
    native = ShortestPath(graph, source, target, engine="native", **options).solve(costs)
    solution = ShortestPath(graph, source, target, **options).solve(costs)
    assert native.statuses == solution.statuses
    np.testing.assert_array_equal(native.objectives, solution.objectives)
    for row, status in enumerate(solution.statuses):
        if status is Status.OPTIMAL:
            assert solution.objectives[row] == paths.optimum(costs[row])
            assert paths.contains(solution.decisions[row])
            assert paths.contains(native.decisions[row])
        else:
            assert has_negative_cycle(graph, source, target, costs[row], costs_on)


def test_negative_costs_are_refused_with_advice():
    solver = ShortestPath(roads(), "home", "tower")
    costs = np.ones((3, 8))
    costs[1, 2] = -0.25
    with pytest.raises(InvalidInputError) as raised:
        solver.solve(costs)
    for part in ("1 of 24", "-0.25 at row 1, entry 2, 'mill-bridge'", "softplus", "clip", "bellman-ford"):
        assert part in str(raised.value)
    assert solver.traits.cost_domain is CostDomain.NONNEGATIVE
    tolls = ShortestPath(roads(), "home", "tower", costs_on="vertices")
    with pytest.raises(InvalidInputError, match="'bridge'"):
        tolls.solve([1.0, 1.0, -1.0, 1.0, 1.0])


@pytest.mark.parametrize("engine", ENGINES)
def test_clipping_chooses_for_clipped_costs_and_reports_true_ones(engine):
    graph = nx.DiGraph([("a", "b"), ("a", "c"), ("b", "c"), ("c", "a")])
    solver = ShortestPath(graph, "a", "c", negative="clip", engine=engine)
    costs = [[-5.0, 1.0, 2.0, 9.0], [-5.0, 1.0, 0.5, 9.0], [1.0, 5.0, 1.0, 9.0]]
    solution = solver.solve(costs)
    np.testing.assert_array_equal(solution.decisions, [[0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]])
    np.testing.assert_array_equal(solution.objectives, [1.0, -4.5, 2.0])
    np.testing.assert_array_equal(np.isnan(solution.gaps), [True, True, False])
    assert solution.statuses == (Status.OPTIMAL,) * 3
    assert not solver.traits.exact
    exact = ShortestPath(graph, "a", "c", negative="bellman-ford").solve(costs)
    np.testing.assert_array_equal(exact.objectives, [-3.0, -4.5, 2.0])


@pytest.mark.parametrize("engine", ENGINES)
def test_bellman_ford_says_so_where_there_is_a_negative_cycle(engine):
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 1), (2, 3), (0, 4), (4, 5), (5, 4), (6, 0)])
    graph.add_edge(7, 6)
    solver = ShortestPath(graph, 0, 3, negative="bellman-ford", engine=engine)
    costs = {(0, 1): 1.0, (1, 2): -2.0, (2, 1): 3.0, (2, 3): 1.0, (0, 4): 1.0, (4, 5): -5.0, (5, 4): 1.0}
    fine = [costs.get(edge, 1.0) for edge in graph.edges]  # 4-5-4 is negative, but leads nowhere
    bad = [costs.get(edge, 1.0) - 2 * (edge == (2, 1)) for edge in graph.edges]
    assert solver.solve(fine).objectives == 0.0
    with pytest.raises(
        SolveError, match=r"row 1: unbounded.*a negative cycle lies between source and target"
    ):
        solver.solve([fine, bad, fine])
    kept = solver.with_on_failure("nan").solve([fine, bad, fine])
    assert kept.statuses == (Status.OPTIMAL, Status.UNBOUNDED, Status.OPTIMAL)
    np.testing.assert_array_equal(kept.objectives, [0.0, np.nan, 0.0])
    assert np.isnan(kept.decisions[1]).all()


def test_a_negative_undirected_edge_is_a_negative_cycle():
    solver = ShortestPath(roads(), "home", "tower", negative="bellman-ford", on_failure="nan")
    costs = np.ones(8)
    costs[-1] = -0.1
    assert solver.solve(costs).statuses == (Status.UNBOUNDED,)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("negative", ["error", "clip", "bellman-ford"])
def test_an_acyclic_graph_takes_any_sign_exactly(engine, negative):
    graph = stages()
    solver = ShortestPath(graph, 0, 4, negative=negative, engine=engine)
    assert (solver.traits.exact, solver.traits.cost_domain) == (True, CostDomain.ANY)
    costs = np.random.default_rng(0).normal(size=(20, *solver.shape))
    paths = enumerate_paths(solver.graph, 0, 4)
    solution = solver.solve(costs)
    np.testing.assert_allclose(solution.objectives, [paths.optimum(row) for row in costs], atol=1e-12)
    assert (solution.gaps == 0).all()


def test_traits_name_the_kernel():
    def named(graph, source, target, **options):
        return ShortestPath(graph, source, target, **options).traits.engine

    assert named(roads(), "home", "mill") == "kernel:dijkstra"
    assert named(roads(), "home", "mill", negative="bellman-ford") == "kernel:bellman-ford"
    assert named(stages(), 0, 4) == "kernel:dag"
    assert named(stages(), 0, 4, engine="native") == "native:networkx"
    solver = ShortestPath(roads(), "home", "mill")
    assert solver.traits.binary
    assert solver.traits.releases_gil
    assert solver.sense is Sense.MIN


@pytest.mark.parametrize("engine", ENGINES)
def test_each_row_may_have_its_own_ends(engine):
    solver = ShortestPath(roads(), "home", "tower", engine=engine)
    costs = np.tile(solver.graph_costs, (2, 2, 1))
    instances = {"source": [["home", "mill"], ["bridge", "tower"]], "target": np.full((2, 2), "market")}
    np.testing.assert_array_equal(solver.solve(costs, instances=instances).objectives, [[6, 4], [3, 4]])
    one = solver.solve(costs[0, 0], instances={"target": "market"})
    assert one.objectives == 6.0


def test_a_row_without_a_path_is_infeasible_alone():
    solver = ShortestPath(stages(), 0, 4, on_failure="incumbent")
    solution = solver.solve(np.ones((3, 7)), instances={"source": [1, 4, 2], "target": [4, 1, 3]})
    assert solution.statuses == (Status.OPTIMAL, Status.INFEASIBLE, Status.OPTIMAL)
    np.testing.assert_array_equal(solution.objectives, [2.0, np.nan, 1.0])
    with pytest.raises(SolveError, match="no path leads from this row's source"):
        solver.with_on_failure("raise").solve(np.ones((1, 7)), instances={"source": [4], "target": [1]})


@pytest.mark.parametrize("engine", ENGINES)
def test_each_row_may_have_its_own_graph(engine):
    line = nx.path_graph(4, create_using=nx.DiGraph)
    star = nx.DiGraph([(0, 1), (0, 2), (0, 3)])
    ring = nx.Graph([(0, 1), (1, 2), (3, 0)])
    solver = ShortestPath(line, 0, 3, engine=engine)
    costs = np.array([[1.0, 2.0, 4.0]] * 4)
    solution = solver.solve(costs, instances={"graph": [star, line, ring, star]})
    np.testing.assert_array_equal(solution.decisions, [[0, 0, 1], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
    nested = solver.solve(costs.reshape(2, 2, 3), instances={"graph": [[star, line], [line, star]]})
    np.testing.assert_array_equal(nested.objectives, [[4, 7], [7, 4]])
    assert solver.solve(costs[0], instances={"graph": star}).objectives == 4.0
    with pytest.raises(InvalidInputError, match="must not be negative"):
        solver.solve(-costs, instances={"graph": [star, line, ring, star]})
    assert solver.solve(-costs, instances={"graph": [star, line, line, star]}).objectives.sum() == -22.0


def test_rows_may_bring_edges_as_an_array():
    solver = ShortestPath([[0, 1], [1, 2], [0, 2]], 0, 2, directed=True)
    edges = np.array([[[0, 1], [1, 2], [0, 2]], [[0, 2], [2, 1], [1, 0]]])
    solution = solver.solve([[1.0, 1.0, 3.0]] * 2, instances={"graph": edges})
    np.testing.assert_array_equal(solution.decisions, [[1, 1, 0], [1, 0, 0]])


def test_bad_instances_name_the_row():
    solver = ShortestPath(stages(), 0, 4)
    costs = np.ones((2, 7))
    with pytest.raises(InvalidInputError, match="Row 1 has the source 9, which is not a node"):
        solver.solve(costs, instances={"source": [0, 9]})
    with pytest.raises(
        InvalidInputError, match=r"'graph'\]`, row 1: the graph has 2 edges; every graph must have 7"
    ):
        solver.solve(costs, instances={"graph": [stages(), nx.path_graph(3)]})
    with pytest.raises(InvalidInputError, match=r"'graph'\]`, row 0: `graph` must be a NetworkX graph"):
        solver.solve(costs, instances={"graph": ["map", "map"]})
    with pytest.raises(InvalidInputError, match="leading dimensions"):
        solver.solve(costs, instances={"source": [0, 0, 0]})
    with pytest.raises(InvalidInputError, match="does not take"):
        solver.solve(costs, instances={"sources": [0, 0]})


def test_bad_models_are_named():
    with pytest.raises(ModelError, match=r"`source` is 'inn', which is not a node.*'home', 'mill'"):
        ShortestPath(roads(), "inn", "tower")
    with pytest.raises(ModelError, match=r"`target` is \(9, 9\)"):
        grid_path((3, 3), target=(9, 9))
    with pytest.raises(ModelError, match="no path from source 4 to target 0; its edges lead one way only"):
        ShortestPath(stages(), 4, 0)
    with pytest.raises(ModelError, match="no edges"):
        ShortestPath(nx.empty_graph(2), 0, 0)
    with pytest.raises(ModelError, match="no nodes"):
        ShortestPath(nx.Graph(), 0, 1)
    with pytest.raises(ModelError, match="not a dict"):
        ShortestPath({0: [1]}, 0, 1)
    with pytest.raises(ModelError, match="directed=True"):
        ShortestPath([[0, 1]], 0, 1)
    with pytest.raises(ModelError, match="a graph knows its own"):
        ShortestPath(roads(), "home", "mill", directed=True)
    with pytest.raises(ModelError, match="array of integers"):
        ShortestPath([[0.5, 1.0]], 0, 1, directed=True)
    with pytest.raises(ModelError, match="Edge 1 ends at node 7"):
        ShortestPath([[0, 1], [7, 0]], 0, 1, directed=True, num_nodes=3)
    for option in ({"negative": "shift"}, {"engine": "scip"}, {"costs_on": "edge"}, {"on_failure": "no"}):
        with pytest.raises(InvalidInputError, match=next(iter(option))):
            ShortestPath(roads(), "home", "mill", **option)
    with pytest.raises(InvalidInputError, match="does not fit the 8 edges"):
        ShortestPath(roads(), "home", "mill", shape=(3, 3))


def test_extreme_costs_are_solved_or_refused():
    solver = ShortestPath(roads(), "home", "tower")
    for scale in (1e-300, 1e300):
        assert solver.solve(solver.graph_costs * scale).objectives == pytest.approx(5 * scale)
    with pytest.raises(InvalidInputError, match="too large to be added up"):
        solver.solve(np.full(8, 1e308))


def test_zero_costs_give_a_simple_path():
    for negative in ("error", "bellman-ford"):
        solver = grid_path((6, 7), negative=negative)
        decision = solver.solve(np.zeros((6, 7))).decisions
        path = nx.subgraph(nx.from_edgelist(list(_ends(solver.graph))), np.flatnonzero(decision))
        assert nx.has_path(path, 0, 41)
        assert set(np.unique(decision)) == {0.0, 1.0}


def test_a_solver_survives_pickling_and_leaves_the_graph_alone():
    for graph, ends in ((roads(), ("home", "tower")), (ferries(), ("a", "d")), (stages(), (0, 4))):
        before = state(graph)
        for engine in ENGINES:
            solver = ShortestPath(graph, *ends, engine=engine)
            costs = np.random.default_rng(0).uniform(size=(4, *solver.shape))
            found = solver.solve(costs).decisions
            copy = pickle.loads(pickle.dumps(solver))
            np.testing.assert_array_equal(copy.solve(costs).decisions, found)
        assert state(graph) == before


def test_an_empty_batch_is_empty():
    solution = grid_path((3, 4)).solve(np.empty((0, 3, 4)), instances={"source": np.empty((0, 2), dtype=int)})
    assert solution.decisions.shape == (0, 3, 4)


def test_read_only_and_strided_costs_need_no_second_compilation():
    solver = grid_path((4, 4))
    costs = np.random.default_rng(0).uniform(size=(6, 4, 4))
    expected = solver.solve(costs).decisions
    costs.setflags(write=False)
    compiled = len(kernels.dijkstra.signatures)
    np.testing.assert_array_equal(solver.solve(costs).decisions, expected)
    np.testing.assert_array_equal(solver.solve(costs[::-2]).decisions, expected[::-2])
    solver.solve(costs, instances={"source": [(0, 0)] * 6})
    assert len(kernels.dijkstra.signatures) == compiled


def test_a_grid_path_runs_from_corner_to_corner():
    solver = grid_path()
    assert solver.shape == (12, 12)
    decision = solver.solve(np.ones((12, 12))).decisions
    np.testing.assert_array_equal(decision, np.eye(12))
    costs = np.array([[1.0, 9.0, 9.0], [1.0, 9.0, 9.0], [5.0, 1.0, 1.0]])
    for neighbours, cells in ((8, [0, 3, 7, 8]), (4, [0, 3, 6, 7, 8]), (2, [0, 3, 6, 7, 8])):
        solution = grid_path((3, 3), neighbours=neighbours).solve(costs)
        np.testing.assert_array_equal(np.flatnonzero(solution.decisions), cells)
        assert solution.objectives == costs.ravel()[cells].sum()


def test_a_grid_of_edges_has_the_usual_number_of_them():
    assert grid_path((5, 5), neighbours=2, costs_on="edges").shape == (40,)
    assert grid_path((5, 5), neighbours=4, costs_on="edges").shape == (40,)
    assert grid_path((5, 5), costs_on="edges").shape == (72,)
    assert grid_graph((2, 2)).edge_names[:3] == ("(0, 0)-(0, 1)", "(0, 0)-(1, 0)", "(0, 0)-(1, 1)")
    assert grid_path((3, 3), neighbours=2).traits.engine == "kernel:dag"
    for bad in ({"shape": (3,)}, {"shape": (0, 3)}, {"neighbours": 6}):
        with pytest.raises(InvalidInputError):
            grid_path(**bad)


def test_a_grid_takes_other_ends_as_arrays():
    solver = grid_path((4, 5), source=(3, 4), target=(0, 0))
    np.testing.assert_array_equal(
        np.argwhere(solver.solve(np.ones((4, 5))).decisions)[[0, -1]], [[0, 0], [3, 4]]
    )
    ends = {"source": np.array([[0, 0], [3, 0]]), "target": np.array([[0, 4], [0, 0]])}
    np.testing.assert_array_equal(solver.solve(np.ones((2, 4, 5)), instances=ends).objectives, [5, 4])


def test_graphs_and_labels_per_row_are_kept_whole():
    graph = nx.path_graph(3)
    assert per_row_array(graph).shape == ()
    assert per_row_array([[graph, graph]] * 3).shape == (3, 2)
    assert per_row_array([[("a", 1), ("b", 2)]] * 3).shape == (3, 2)
    assert per_row_array([np.zeros((2, 2)), np.zeros((3, 2))]).shape == (2,)
    assert per_row_array([[1, 2], [3, 4]]).dtype.kind == "i"
    assert per_row_array(["u", "v"]).tolist() == ["u", "v"]
