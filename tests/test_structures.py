"""Structure found by itself: what is recognised, what is not, and that the answers are those of HiGHS."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pulp
import pytest

import linear_models as models
import structured_models
from imle_opt_solvers import (
    Assignment,
    HighsSolver,
    InvalidInputError,
    Knapsack,
    Limits,
    Ranking,
    Solution,
    Status,
    TopK,
    grid_graph,
    grid_path,
    wrap,
)
from imle_opt_solvers.kernels import assignment, knapsack, selection, shortest_path
from imle_opt_solvers.structured_solver import StructuredSolver, linear_solver

ENGINES = {
    "network": ("kernel:dag", "kernel:dijkstra", "kernel:assignment", "kernel:knapsack"),
    "visits": ("kernel:dag", "kernel:dijkstra", "kernel:assignment", "kernel:knapsack"),
    "pairing": ("kernel:assignment", "kernel:dag", "kernel:top-k"),
    "packing": ("kernel:knapsack",),
    "cardinality": ("kernel:top-k",),
}
"""What may run: a network of one arc is an assignment too, and so on."""


def solvers_of(model):
    return linear_solver(model, None, "nan"), HighsSolver(model, on_failure="nan")


def assert_same_answers(model, costs, **options):
    """Statuses and objectives are those of HiGHS; so are decisions, wherever they are as good as unique."""
    mine, other = (solver.solve(costs, **options) for solver in solvers_of(model))
    assert mine.statuses == other.statuses
    np.testing.assert_allclose(mine.objectives, other.objectives, atol=1e-7)
    np.testing.assert_allclose(mine.decisions, other.decisions, atol=1e-6)  # continuous costs: no ties


def engine_of(model):
    return linear_solver(model, None, "raise").traits.engine


@pytest.mark.parametrize("kind", structured_models.BUILDERS)
def test_every_structure_is_recognised_and_solved_as_highs_does(kind):
    rng = np.random.default_rng(0)
    for _ in range(60):
        model = structured_models.BUILDERS[kind](rng)
        assert engine_of(model) in ENGINES[kind]
        costs = rng.normal(size=(4, *model.predicted.shape))
        costs[:2] = np.abs(costs[:2])
        assert_same_answers(model, costs)


@pytest.mark.parametrize("kind", structured_models.BUILDERS)
def test_a_changed_model_is_solved_as_highs_does_whatever_runs(kind):
    rng = np.random.default_rng(1)
    routed = 0
    for change in structured_models.CHANGES * 12:
        model = change(rng, structured_models.BUILDERS[kind](rng))
        routed += engine_of(model) != "highs"
        assert_same_answers(model, rng.normal(size=(3, *model.predicted.shape)))
    assert 0 < routed < 72


@pytest.mark.parametrize("kind", structured_models.BUILDERS)
def test_instances_are_solved_as_highs_does(kind):
    rng = np.random.default_rng(2)
    for _ in range(25):
        model = structured_models.BUILDERS[kind](rng)
        rows, columns = model.num_rows, model.num_columns
        costs = rng.normal(size=(6, *model.predicted.shape))
        shift = rng.choice([0.0, 0.0, 0.0, 1.0, -1.0], size=(6, rows))
        upper = np.where(rng.random((6, columns)) < 0.2, rng.choice([0.0, 0.5, 2.0]), model.column_upper)
        sides = {"row_lower": model.row_lower + shift, "row_upper": model.row_upper + shift}
        ranges = np.where(np.isfinite(model.row_lower), model.row_lower, model.row_upper - 3) + shift - 1
        widened = {"row_lower": np.where(shift != 0, ranges, model.row_lower)}
        lower = {"column_lower": np.minimum(upper, 0.5)}
        for instances in (sides, widened, {"column_upper": upper}, lower):
            assert_same_answers(model, costs, instances=instances)


def edge_model(rows, columns, neighbours=2, **changes):
    """A grid path as a linear program over its arcs."""
    graph = grid_graph((rows, columns), neighbours)
    tails, heads = graph.tails, graph.heads
    if not graph.directed:
        tails, heads = np.concatenate([tails, heads]), np.concatenate([heads, tails])
    matrix = np.zeros((graph.num_nodes, len(tails)))
    matrix[tails, range(len(tails))], matrix[heads, range(len(tails))] = 1, -1
    sides = np.zeros(graph.num_nodes)
    sides[0], sides[-1] = 1, -1
    model = models.linear_model("min", matrix, sides, sides, 0, 1, False, predicted=range(len(tails)))
    return replace(model, **changes)


def test_the_grid_path_as_an_edge_program_is_a_path():
    model = edge_model(5, 5)
    assert model.num_columns == 40
    solver = linear_solver(model, None, "raise")
    assert solver.traits.engine == "kernel:dag"
    costs = np.random.default_rng(3).normal(size=(50, 40))
    np.testing.assert_allclose(solver.solve(costs).objectives, HighsSolver(model).solve(costs).objectives)


def test_negative_costs_on_cycles_are_left_to_highs():
    model = edge_model(3, 3, neighbours=4)
    solver = linear_solver(model, None, "raise")
    assert solver.traits.engine == "kernel:dijkstra"
    costs = np.full((3, 24), 1.0)
    costs[1, 5] = -0.5  # no cycle is negative
    costs[2, 5] = -1.5  # arc and its reverse: together -0.5
    solution = solver.solve(costs)
    np.testing.assert_allclose(solution.objectives, HighsSolver(model).solve(costs).objectives)
    unbounded = linear_solver(replace(model, column_upper=np.full(24, np.inf)), None, "nan").solve(costs)
    assert unbounded.statuses == (Status.OPTIMAL, Status.OPTIMAL, Status.UNBOUNDED)


def visit_model():
    """The cheapest way over a 3x3 map, 8 neighbours, as a linear program: arcs, and visits of cells."""
    graph = grid_graph((3, 3), 8)
    tails, heads = np.concatenate([graph.tails, graph.heads]), np.concatenate([graph.heads, graph.tails])
    arcs = len(tails)
    matrix = np.zeros((18, arcs + 9))
    matrix[tails, range(arcs)], matrix[heads, range(arcs)], matrix[9 + heads, range(arcs)] = 1, -1, 1
    matrix[range(9, 18), range(arcs, arcs + 9)] = -1
    sides = np.array([1.0, *[0] * 7, -1, -1, *[0] * 8])
    return models.linear_model(
        "min", matrix, sides, sides, 0, 1, False, predicted=range(arcs, arcs + 9), shape=(3, 3)
    )


def test_costs_on_visits_of_nodes_leave_a_path():
    solver = linear_solver(visit_model(), None, "raise")
    assert solver.traits.engine == "kernel:dijkstra"
    costs = np.random.default_rng(5).uniform(0.1, 5, (20, 3, 3))
    expected = grid_path((3, 3)).solve(costs)
    np.testing.assert_array_equal(solver.solve(costs).decisions, expected.decisions)
    np.testing.assert_allclose(solver.solve(costs).objectives, expected.objectives)
    closed = np.tile(solver.model.column_upper, (2, 1))
    closed[0, -5] = closed[1, 0] = (
        0.0  # no visit of the cell in the middle; no step from the first to the right
    )
    free = {"row_upper": {"r13": np.ones(20)}}  # the cell in the middle may be passed without a visit
    for some, instances in ((costs[:2], {"column_upper": closed}), (costs, free)):
        assert_same_answers(visit_model(), some, instances=instances)


def changed(model, **changes):
    """A model with single entries of its arrays replaced: name=(position, value)."""
    arrays = {name: getattr(model, name).copy() for name in changes}
    for name, (position, value) in changes.items():
        arrays[name][position] = value
    return replace(model, **arrays)


SINGLE = models.linear_model("max", [[3, 4, 2, 5]], -np.inf, 8, 0, 1, True, predicted=range(4))
CHOICE = models.linear_model("max", [[1, 1, 1, 1]], 2, 2, 0, 1, False, predicted=range(4))
FIVE_ROWS = models.linear_model("max", np.eye(5) + 1, -np.inf, 3, 0, 1, True, predicted=range(5))
CROWDED = models.linear_model(
    "max",
    np.vstack([np.kron(np.eye(3), np.ones(2)), np.kron(np.ones(3), np.eye(2))]),
    [1, 1, 1, 0, 0],
    1,
    0,
    1,
    True,
    predicted=range(6),
)
DOUBLE = models.linear_model(
    "min", [[1, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]], 1, 1, 0, 1, True, predicted=range(4)
)
NEAR_MISSES = {
    "path: a coefficient of 2": changed(edge_model(3, 3), row_values=(4, 2.0)),
    "path: two units of flow": changed(edge_model(3, 3), row_lower=(0, 2.0), row_upper=(0, 2.0)),
    "path: an inequality": changed(edge_model(3, 3), row_lower=(4, -1.0)),
    "path: an arc of half capacity": changed(edge_model(3, 3), column_upper=(2, 0.5)),
    "path: an arc that must be taken": changed(edge_model(3, 3), column_lower=(2, 1.0)),
    "path: one more row": structured_models._row(np.random.default_rng(0), edge_model(3, 3)),
    "path: no way": changed(edge_model(2, 2), column_upper=([0, 1], 0.0)),
    "visits: more than the inflow": changed(visit_model(), row_lower=(10, -np.inf)),
    "assignment: a coefficient of 2": changed(models.assignment(), row_values=(3, 2.0)),
    "assignment: a site with two customers": changed(
        models.assignment(), row_lower=(1, 2.0), row_upper=(1, 2.0)
    ),
    "assignment: a site that may stay free": changed(models.assignment(), row_lower=(0, 0.0)),
    "assignment: a forbidden pair": changed(models.assignment(), column_upper=(4, 0.0)),
    "assignment: more sites than customers": CROWDED,
    "assignment: one pair twice, one not at all": DOUBLE,
    "assignment: a forced pair": changed(models.assignment(), column_lower=(4, 1.0)),
    "knapsack: a continuous item": changed(SINGLE, integrality=(1, False)),
    "knapsack: two copies of an item": changed(SINGLE, column_upper=(1, 2.0)),
    "knapsack: a forced item": changed(SINGLE, column_lower=(1, 1.0)),
    "knapsack: a range": changed(SINGLE, row_lower=(0, 1.0)),
    "knapsack: an equality": changed(SINGLE, row_lower=(0, 8.0)),
    "knapsack: five constraints": FIVE_ROWS,
    "choice: a coefficient of 2": changed(CHOICE, row_values=(3, 2.0)),
    "choice: half an item": changed(CHOICE, row_lower=(0, 2.5), row_upper=(0, 2.5)),
    "choice: one bound of 2": changed(CHOICE, column_upper=(3, 2.0)),
    "choice: at most two, continuous": changed(CHOICE, row_lower=(0, -np.inf)),
}


def test_the_models_that_near_misses_come_from_are_recognised():
    found = [engine_of(model) for model in (edge_model(3, 3), models.assignment(), SINGLE, CHOICE)]
    assert found == ["kernel:dag", "kernel:assignment", "kernel:knapsack", "kernel:top-k"]


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_are_left_to_highs(name):
    assert engine_of(NEAR_MISSES[name]) == "highs"


def test_a_closed_arc_and_an_arc_with_a_fixed_cost_leave_a_path():
    model = edge_model(3, 3)
    closed = changed(model, column_upper=(0, 0.0))
    assert engine_of(closed) == "kernel:dag"
    fixed = replace(
        model,
        predicted=replace(model.predicted, columns=np.arange(2, 12), shape=(10,)),
        fixed_costs=np.where(np.arange(12) == 0, 0.7, 0.0),
    )
    assert engine_of(fixed) == "kernel:dag"
    rng = np.random.default_rng(4)
    for each in (closed, fixed):
        assert_same_answers(each, rng.normal(size=(20, *each.predicted.shape)))


def pulp_path():
    problem = pulp.LpProblem("path", pulp.LpMinimize)
    arcs = [(i, j) for i, j in itertools.permutations(range(4), 2) if (i, j) != (0, 3)]
    flow = {arc: problem.add_variable(f"f_{arc[0]}_{arc[1]}", 0, 1) for arc in arcs}
    problem += pulp.lpSum(flow.values())
    problem += pulp.lpSum(flow[0, j] for j in (1, 2)) - pulp.lpSum(flow[i, 0] for i in (1, 2, 3)) == 1
    for node in (1, 2):
        into = pulp.lpSum(flow[arc] for arc in arcs if arc[1] == node)
        problem += into == pulp.lpSum(flow[arc] for arc in arcs if arc[0] == node)
    return problem, flow


def test_wrap_takes_the_kernel_unless_told_otherwise():
    problem, flow = pulp_path()  # no row for the target
    limits = Limits(seconds=9.0)
    solver = wrap(problem, flow, limits=limits, on_failure="nan")
    assert isinstance(solver, StructuredSolver)
    assert (solver.traits.engine, solver.limits, solver.on_failure) == ("kernel:dijkstra", limits, "nan")
    highs = wrap(problem, flow, engine="highs")
    assert (highs.traits.engine, highs.names) == ("highs", solver.names)
    assert wrap(problem, flow, engine="native").traits.engine.startswith("native")
    costs = np.random.default_rng(5).uniform(0, 1, (20, 11))
    np.testing.assert_allclose(solver.solve(costs).decisions, highs.solve(costs).decisions, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "kernel"),
    [
        (lambda: TopK(12, 3), selection.top_k),
        (lambda: Ranking(12), selection.ranks),
        (lambda: Assignment(3, 4), assignment.assign),
        (lambda: Knapsack(np.arange(12), 20), knapsack.search),
        (lambda: linear_solver(edge_model(3, 3), None, "raise"), shortest_path.acyclic),
        (lambda: linear_solver(CHOICE, None, "raise"), selection.top_k),
        (lambda: linear_solver(models.assignment(), None, "raise"), assignment.assign),
    ],
)
def test_read_only_and_strided_costs_need_no_second_compilation(make, kernel):
    solver = make()
    costs = np.random.default_rng(0).uniform(size=(6, *solver.shape))
    expected = solver.solve(costs).decisions
    costs.setflags(write=False)
    compiled = len(kernel.signatures)
    np.testing.assert_array_equal(solver.solve(costs).decisions, expected)
    np.testing.assert_array_equal(solver.solve(costs[::-2]).decisions, expected[::-2])
    solver.map(costs)
    if solver.traits.takes_instances:
        name = solver.traits.takes_instances[0]
        sides = solver.capacity if name == "capacity" else solver.model.row_lower
        solver.solve(costs, instances={name: np.broadcast_to(sides, (6, len(sides)))})
    assert len(kernel.signatures) == compiled


def test_the_better_of_two_incumbents_is_returned(monkeypatch):
    model = models.linear_model("max", [[2.3, 3.1, 4.4, 1.7]], -np.inf, 6.3, 0, 1, True, predicted=range(4))
    costs = np.array([[2.0, 3.0, 4.5, 1.5]])
    optimum = linear_solver(model, None, "raise").solve(costs).objectives[0]

    def limited(decision):
        decisions = np.array([decision], dtype=float)
        answer = Solution(decisions, decisions @ costs[0], (Status.FEASIBLE,), np.array([0.5]), 0.0)
        monkeypatch.setattr(HighsSolver, "solve_rows", lambda *arguments: answer)
        return linear_solver(model, None, "incumbent").solve(costs)

    monkeypatch.setattr("imle_opt_solvers.structures.knapsack._MOST_NODES", 6)  # one dive, no proof
    worse, better = limited([1, 0, 0, 0]), limited([0, 0, 1, 1])
    assert worse.statuses == better.statuses == (Status.FEASIBLE,)
    assert worse.gaps == better.gaps == 0.5
    assert worse.objectives > 2.0
    assert worse.objectives == (worse.decisions * costs).sum()
    assert better.objectives == optimum == 6.0


def test_failures_limits_and_pickling_are_as_with_highs():
    solver = linear_solver(models.knapsack(), None, "nan")
    sides = {"rhs": {"r0": np.array([9.0, -1.0, 9.0])}}
    costs = np.random.default_rng(6).normal(size=(3, 6))
    solution = solver.solve(costs, instances=sides)
    assert solution.statuses == (Status.OPTIMAL, Status.INFEASIBLE, Status.OPTIMAL)
    assert np.isnan(solution.decisions[1]).all()
    for copy in (pickle.loads(pickle.dumps(solver)), solver.with_on_failure("incumbent")):
        assert copy.solve(costs, instances=sides).statuses == solution.statuses
    with pytest.raises(InvalidInputError, match="nowhere"):
        solver.solve(costs, instances={"rhs": {"nowhere": np.zeros(3)}})
    with pytest.raises(InvalidInputError, match="too large"):
        linear_solver(edge_model(3, 3), None, "raise").solve(np.full(12, 1e308))
