"""`wrap`: every kind of model finds its adapter, every option its place, the rest one clear error."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import linear_models as models
import ortools_models
from cases_cvxpy import ellipsoid
from cases_cvxpy import problem_of as cvxpy_problem
from cases_files import write
from cases_pulp import problem_of as pulp_problem
from imle_opt_solvers import InvalidInputError, Limits, ModelError, Sense, Status, UnsupportedModelError, wrap
from imle_opt_solvers.testing import SolverCase
from oracles import optimum_of

MAKERS = {
    "pulp": pulp_problem,
    "pywraplp": ortools_models.pywraplp_model,
    "model_builder": ortools_models.model_builder_model,
    "mathopt": ortools_models.mathopt_model,
    "cp_sat": ortools_models.cp_sat_model,
    "cvxpy": lambda model: (cvxpy_problem(model), None),
}


@pytest.fixture(params=[*MAKERS, "file"])
def wrapped(request, tmp_path):
    """Wrap the 3x3 assignment, whatever it is written in."""
    model = models.assignment()
    if request.param == "file":
        names = np.array(model.predicted_names, dtype=object).reshape(3, 3)
        return lambda **options: wrap(write(tmp_path, model, ".mps"), names, **options)
    return lambda **options: wrap(*MAKERS[request.param](model), **options)


def test_limits_are_limits():
    with pytest.raises(InvalidInputError, match=r"Limits\(seconds=5\), not 5"):
        wrap(*MAKERS["pulp"](models.assignment()), limits=5)


@pytest.mark.parametrize("engine", ["auto", "highs", "native"])
def test_every_kind_of_model_on_every_engine(wrapped, engine):
    solver = wrapped(engine=engine)
    assert (solver.shape, solver.sense) == ((3, 3), Sense.MIN)
    assert len(solver.names) == 9
    costs = np.random.default_rng(0).integers(0, 50, size=(2, 3, 3)).astype(float)
    expected = [optimum_of(models.assignment)(row) for row in costs]
    np.testing.assert_allclose(solver.solve(costs).objectives, expected)
    prefix = {"auto": "kernel:assignment", "highs": "highs", "native": "native:"}[engine]
    assert solver.traits.engine.startswith(prefix)


@pytest.mark.parametrize("engine", ["highs", "native"])
def test_options_reach_the_solver(wrapped, engine):
    solver = wrapped(engine=engine, limits=Limits(seconds=30.0), on_failure="nan")
    assert solver.on_failure == "nan"
    assert solver.solve(np.ones((3, 3))).statuses == (Status.OPTIMAL,)


def test_right_hand_sides_of_every_kind_of_model(wrapped):
    solver = wrapped(engine="highs", on_failure="nan")
    sides = np.array([[1.0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 2]])  # the second: four customers, three sites
    found = solver.solve(np.ones((2, 3, 3)), instances={"rhs": sides})
    assert found.statuses == (Status.OPTIMAL, Status.INFEASIBLE)


def test_a_named_native_solver():
    model, variables = ortools_models.pywraplp_model(models.assignment())
    assert wrap(model, variables, engine="native:cbc").traits.engine == "native:cbc"
    problem, variables = pulp_problem(models.assignment())
    assert wrap(problem, variables, engine="native:cbc").traits.engine == "native:cbc"


def test_auto_keeps_the_own_solver_of_what_arrays_cannot_hold():
    assert wrap(ellipsoid()).traits.engine == "native:clarabel"
    with pytest.raises(UnsupportedModelError):
        wrap(ellipsoid(), engine="highs")


def top_three(costs):
    return (costs >= np.sort(costs)[-3]).astype(float)


class TopThree:
    def __call__(self, costs):
        return top_three(costs)


@pytest.mark.parametrize("function", [top_three, TopThree(), lambda costs: top_three(costs)])
def test_functions(function):
    solver = wrap(function, shape=5, sense="max")
    assert (solver.shape, solver.sense, solver.traits.engine) == ((5,), Sense.MAX, "function")
    np.testing.assert_array_equal(solver.solve([5.0, 1, 4, 2, 3]).decisions, [1, 0, 1, 0, 1])
    assert wrap(function, shape=[5], sense=Sense.MIN, on_failure="nan").on_failure == "nan"


def test_a_solver_comes_back():
    solver = wrap(top_three, shape=5, sense="max", on_failure="nan")
    assert wrap(solver) is solver
    assert wrap(solver, on_failure="incumbent").on_failure == "incumbent"
    assert solver.on_failure == "nan"
    with pytest.raises(InvalidInputError, match="`variables=`, `limits=` cannot be given with a Solver"):
        wrap(solver, ["x"], limits=Limits())


class Unrelated:
    """A class whose name is that of a model, in another package."""

    class LpProblem:
        pass


def problem_subclass():
    import pulp

    class OurProblem(pulp.LpProblem):
        pass

    problem = OurProblem("ours", pulp.LpMaximize)
    problem += problem.add_variable("x", 0, 3)
    return problem


def test_a_users_own_subclass_is_its_kind():
    assert wrap(problem_subclass()).solve([1.0]).objectives == 3


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            None,
            ModelError,
            r"type builtins.NoneType. It takes: pulp.LpProblem; ortools pywraplp.Solver; .*\.mps",
        ),
        (Unrelated.LpProblem(), ModelError, r"type test_wrap.Unrelated.LpProblem. It takes"),
        (np.ones(3), ModelError, "type numpy.ndarray"),
        (SolverCase, ModelError, "type builtins.type"),
        (nx.path_graph(3), ModelError, r"ShortestPath\(graph, source, target\) or SpanningTree\(graph\)"),
        (nx.MultiDiGraph(), ModelError, r"ShortestPath\(graph, source, target\)"),
        (Path("no/such.mps"), ModelError, "no/such.mps': No such file"),
        ("model.py:problem", ModelError, r"'model.py:problem' is not a model file"),
        (top_three, InvalidInputError, "A function says nothing.*`shape=`.*`sense='min'`"),
    ],
)
def test_what_is_no_model(model, error, message):
    with pytest.raises(error, match=message):
        wrap(model)


@pytest.mark.parametrize("engine", ["", "fast", "native:", "highs:simplex", "nativescip", "NATIVE"])
def test_unknown_engines(engine):
    with pytest.raises(
        InvalidInputError, match=r"`engine` must be 'auto', 'highs', 'native' or 'native:<solver>'"
    ):
        wrap(ellipsoid(), engine=engine)


def test_options_that_do_not_belong():
    problem, variables = pulp_problem(models.assignment())
    with pytest.raises(InvalidInputError, match=r"`shape=`, `sense=` cannot be given with pulp.LpProblem"):
        wrap(problem, variables, shape=(3, 3), sense="min")
    with pytest.raises(InvalidInputError, match=r"`variables=` cannot be given with a function"):
        wrap(top_three, ["x"], shape=3, sense="max")
    with pytest.raises(InvalidInputError, match=r"`sense` must be 'min' or 'max', not 'up'"):
        wrap(top_three, shape=3, sense="up")
    with pytest.raises(InvalidInputError, match="`on_failure` must be one of"):
        wrap(problem, variables, on_failure="ignore")
