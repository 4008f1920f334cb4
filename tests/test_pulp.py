"""PuLP models: order, bounds, constants, senses, and a model that stays as it was, without warnings."""

from __future__ import annotations

import itertools

import numpy as np
import pulp
import pytest

import linear_models as models
import pulp4
from cases_pulp import problem_of, state
from imle_opt_solvers import (
    Limits,
    MissingDependencyError,
    ModelError,
    Sense,
    Status,
    UnsupportedModelError,
    wrap,
)
from imle_opt_solvers.adapters import pulp_problem
from imle_opt_solvers.adapters.pulp_problem import read

BUILDERS = [models.knapsack, models.assignment, models.polygon, models.facility_location]


def bag(sense=pulp.LpMaximize, count=12):
    """A bag of at most three of twelve items, x_10 before x_2, with a charge on a thirteenth variable."""
    problem = pulp.LpProblem("bag", sense)
    extra = problem.add_variable("extra", 0, 4)
    items = problem.add_variable_dict("x", range(count), cat=pulp.LpBinary)
    problem += pulp.lpSum((i + 1) * items[i] for i in range(count)) - 2 * extra + 7
    problem += pulp.lpSum(items.values()) + 1 <= 4 + extra, "size"
    problem += items[10] + items[2] == 1
    return problem, items, extra


def bag_optimum(costs, sense):
    """Enumerate: `extra` costs 2 for each item beyond three."""
    values = []
    for chosen in itertools.product((0, 1), repeat=len(costs)):
        used = max(0, sum(chosen) - 3)
        if chosen[10] + chosen[2] == 1 and used <= 4:
            bought = used if sense == "max" else 4  # a minimisation pays for as much as it can: -2 each
            values.append(np.dot(chosen, costs) - 2 * bought + 7)
    return max(values) if sense == "max" else min(values)


@pytest.mark.parametrize("engine", ["highs", "native"])
@pytest.mark.parametrize("sense", ["max", "min"])
def test_against_enumeration_with_fixed_costs_and_constant(engine, sense):
    problem, items, _ = bag(pulp.LpMaximize if sense == "max" else pulp.LpMinimize)
    solver = wrap(problem, items, engine=engine)
    assert solver.sense == sense
    costs = np.random.default_rng(0).normal(size=(3, 12))
    expected = [bag_optimum(row, sense) for row in costs]
    np.testing.assert_allclose(solver.solve(costs).objectives, expected, atol=1e-9)


def test_the_order_is_the_users_and_not_the_names():
    problem, items, _ = bag()
    backwards = dict(reversed(items.items()))
    assert wrap(problem, items).names == tuple(f"x_{i}" for i in range(12))
    assert wrap(problem, backwards).names == tuple(f"x_{i}" for i in reversed(range(12)))
    costs = np.zeros(12)
    costs[10] = 1.0
    assert wrap(problem, items).solve(costs).decisions[10] == 1
    assert wrap(problem, backwards).solve(costs).decisions[1] == 1


def test_without_variables_the_order_is_first_appearance_whatever_pulp_has_sorted():
    problem, _, _ = bag()
    expected = (*(f"x_{i}" for i in range(12)), "extra")
    assert wrap(problem).names == expected
    problem.variables()  # sorts by name, in place
    assert wrap(problem).names == expected


@pytest.mark.parametrize("build", BUILDERS)
def test_the_arrays_are_the_model(build):
    model = build()
    problem, variables = problem_of(model)
    found = read(problem, variables)
    columns = [found.column_names.index(f"x_{11 - column}") for column in range(model.num_columns)]
    assert found.sense is model.sense
    assert found.offset == model.offset
    np.testing.assert_array_equal(found.predicted.columns, np.array(columns)[model.predicted.columns])
    assert found.predicted.shape == model.predicted.shape
    for name in ("column_lower", "column_upper", "integrality", "fixed_costs"):
        np.testing.assert_array_equal(getattr(found, name)[columns], getattr(model, name), err_msg=name)
    rng = np.random.default_rng(0)
    values = rng.normal(size=found.num_columns)
    for name, activity in zip(found.row_names, found.activities(values), strict=True):
        row = model.row_names.index(name.removesuffix("_lower"))
        assert activity == pytest.approx(model.activities(values[columns])[row])


def test_a_constant_on_either_side_of_a_constraint():
    problem = pulp.LpProblem("sides")
    x, y = problem.add_variable("x"), problem.add_variable("y")
    problem += x + y
    problem += 2 * x + 3 >= y + 1, "below"
    problem += x - 5 == 2, "equal"
    problem += x + 1 <= 0.5 * y + 4, "above"
    model = read(problem)
    assert model.row_names == ("below", "equal", "above")
    np.testing.assert_array_equal(model.row_lower, [-2, 7, -np.inf])
    np.testing.assert_array_equal(model.row_upper, [np.inf, 7, 3])


def test_constraints_without_a_name_keep_pulps_own():
    problem, _, _ = bag()
    assert read(problem).row_names == ("size", "_C1")


def test_binary_in_either_spelling():
    problem = pulp.LpProblem("binary", pulp.LpMaximize)
    early = problem.add_variable("early", cat=pulp.LpBinary)
    late = problem.add_variable("late", -2, 5)
    late.cat = pulp.LpBinary
    problem += early + late
    model = read(problem)
    assert model.predicted_binary
    np.testing.assert_array_equal([model.column_lower, model.column_upper], [[0, 0], [1, 1]])


def test_nested_dicts_give_a_matrix():
    problem = pulp.LpProblem("grid")
    grid = problem.add_variable_dicts("g", (range(2), "abc"), 0, 1)
    problem += pulp.lpSum(grid[i][j] for i in range(2) for j in "abc")
    solver = wrap(problem, grid)
    assert solver.shape == (2, 3)
    assert solver.names == ("g_0_a", "g_0_b", "g_0_c", "g_1_a", "g_1_b", "g_1_c")


@pytest.mark.parametrize("engine", ["highs", "native"])
def test_two_variables_of_one_name(engine):
    problem = pulp.LpProblem("twins", pulp.LpMaximize)
    first, second = problem.add_variable("x", 0, 1), problem.add_variable("x", 0, 3)
    problem += first + second
    assert wrap(problem, [second, first], engine=engine).solve([2.0, 1.0]).objectives == 7
    with pytest.raises(ModelError, match="Several variables are called 'x'"):
        wrap(problem, "x")


def test_a_variable_that_was_added_without_a_term():
    problem = pulp.LpProblem("added", pulp.LpMaximize)
    x, y = problem.add_variable("x", 0, 1), problem.add_variable("y", 0, 2)
    problem += x
    with pytest.warns(DeprecationWarning, match="addVariable is deprecated"):
        problem.addVariable(y)
    assert wrap(problem, [y, x]).solve([1.0, 1.0]).objectives == 3


@pytest.mark.parametrize("solver", ["HiGHS", "PULP_CBC_CMD"])
def test_a_model_that_pulp_has_solved_is_read_and_left_alone(solver):
    problem, items, _ = bag()
    problem.solve(
        pulp.HiGHS(msg=False)
        if solver == "HiGHS"
        else pulp.PULP_CBC_CMD(msg=False, _skip_v4_deprecation=True)
    )
    before = state(problem)
    for engine in ("highs", "native"):
        wrap(problem, items, engine=engine).solve(-np.arange(12.0))
    assert state(problem) == before
    assert [problem.sol_status, items[11].varValue] == [1, 1]


def test_incumbents_at_the_time_limit_are_feasible():
    """PuLP itself calls them optimal."""
    rng = np.random.default_rng(1)
    problem = pulp.LpProblem("hard", pulp.LpMaximize)
    items = problem.add_variable_matrix("x", range(60), 0, 1, pulp.LpInteger)
    problem += pulp.lpSum(items)
    for weights in rng.uniform(1, 9, size=(20, 60)):
        problem += pulp.lpDot(weights.tolist(), items) <= 130
    solver = wrap(problem, items, engine="native", limits=Limits(seconds=0.2), on_failure="incumbent")
    found = solver.solve(rng.uniform(5, 9, 60))
    assert found.statuses == (Status.FEASIBLE,)
    assert np.isfinite(found.objectives)


def bad_variable(name):
    def build():
        problem, items, _ = bag()
        other = pulp.LpProblem("other").add_variable("stranger")
        return problem, {"stranger": other, "twice": [items[0], items[0]], "number": 3, "sum": items[0] + 1}[
            name
        ]

    return build


def with_sos():
    problem, items, _ = bag()
    problem.sos1["set"] = {items[0]: 1, items[1]: 2}
    return problem, None


def without_objective():
    problem = pulp.LpProblem("empty")
    problem += problem.add_variable("x") >= 1
    return problem, None


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            bad_variable("stranger"),
            ModelError,
            "'stranger', which is not a variable of this model.*give it a term",
        ),
        (bad_variable("twice"), ModelError, "names 'x_0' twice"),
        (bad_variable("number"), ModelError, "names '3', which is not a variable"),
        (bad_variable("sum"), ModelError, "which is not a variable"),
        (
            lambda: (bag()[0], ["x_0", "nope"]),
            ModelError,
            "'nope', which is not a variable.*It has 13: x_0, x_1",
        ),
        (with_sos, UnsupportedModelError, "special ordered sets.*binary variables"),
        (without_objective, ModelError, "no objective.*`variables=`"),
        (lambda: (bag()[0], []), ModelError, "`variables` is empty"),
    ],
)
def test_bad_models(build, error, message):
    with pytest.raises(error, match=message):
        wrap(*build())


def test_another_native_solver_is_refused():
    with pytest.raises(UnsupportedModelError, match="is CBC, not 'scip'"):
        wrap(bag()[0], engine="native:scip")


def test_a_missing_cbc_is_named(monkeypatch):
    monkeypatch.setattr(pulp_problem.shutil, "which", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pulp\[cbc\]'.*engine='highs'"):
        wrap(bag()[0], engine="native")


def pulp4_bag():
    problem = pulp4.LpProblem("bag", -1)
    extra = problem.add_variable("extra", 0, 4)
    items = [problem.add_variable(f"x_{i}", cat="Binary") for i in range(12)]
    problem.set_objective([(items[i], i + 1.0) for i in reversed(range(12))] + [(extra, -2.0)], 7.0)
    problem.add_row("size", [*((item, 1.0) for item in items), (extra, -1.0)], -1, 3.0)
    problem.add_row("_C1", [(items[10], 1.0), (items[2], 1.0)], 0, 1.0)
    problem.add_variable("unused", cat="Integer")
    return problem, items


@pytest.mark.parametrize("engine", ["highs", "native"])
def test_pulp_4(engine):
    problem, items = pulp4_bag()
    solver = wrap(problem, items, engine=engine)
    assert solver.sense is Sense.MAX
    costs = np.random.default_rng(4).normal(size=12)
    assert solver.solve(costs).objectives == pytest.approx(bag_optimum(costs, "max"))
    model = read(problem)
    assert model.column_names == ("extra", *(f"x_{i}" for i in range(12)), "unused"), "order of creation"
    assert (model.column_lower[-1], model.column_upper[-1]) == (-np.inf, np.inf)
    assert model.row_names == ("size", "_C1")


def test_pulp_4_variables_of_another_model_are_not_taken_for_ours():
    """They have the same numbers, hash alike and compare equal."""
    problem, _ = pulp4_bag()
    stranger = pulp4.LpProblem("other").add_variable("stranger")
    for leaf in (stranger, 1, stranger == 1):
        with pytest.raises(ModelError, match="not a variable of this model"):
            wrap(problem, [leaf])


def test_pulp_4_special_ordered_sets():
    problem, items = pulp4_bag()
    problem._sos = True
    with pytest.raises(UnsupportedModelError, match="special ordered sets"):
        wrap(problem, items)
