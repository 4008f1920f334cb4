"""cvxpy problems: which ones are taken, closed forms, statuses, and a problem that stays as it was."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import cvxpy as cp
import numpy as np
import pytest

import linear_models as models
from cases_cvxpy import ellipsoid, ellipsoid_optimum, problem_of, projection, projection_optimum, state
from imle_opt_solvers import (
    InvalidInputError,
    Limits,
    ModelError,
    Sense,
    Status,
    UnsupportedModelError,
    wrap,
)
from imle_opt_solvers.adapters.cvxpy_problem import CvxpySolver, read
from imle_opt_solvers.adapters.cvxpy_problem.costs import cost_problem
from oracles import optimum_of

ENGINES = ["highs", "native"]


def linear(build_objective, constraints=lambda x: [x >= 0, x <= 1], direction=cp.Minimize, shape=4):
    """A problem over x = Variable(shape), c = Parameter(shape)."""
    costs, x = cp.Parameter(shape, name="c"), cp.Variable(shape, name="x")
    return cp.Problem(direction(build_objective(costs, x)), constraints(x))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("direction", [cp.Minimize, cp.Maximize])
def test_fixed_costs_of_the_same_variable_and_a_constant(engine, direction):
    """min <c + f, x> + 2 over a box: each entry is at the end that its total cost says."""
    fixed = np.array([0.5, 0.0, -2.0, 0.25])
    solver = wrap(linear(lambda c, x: c @ x + fixed @ x + 2, direction=direction), engine=engine)
    assert solver.sense is (Sense.MIN if direction is cp.Minimize else Sense.MAX)
    sign = -solver.sense.sign
    for costs in np.random.default_rng(0).normal(size=(5, 4)):
        found = solver.solve(costs)
        ends = (sign * (costs + fixed) < 0).astype(float)
        np.testing.assert_allclose(found.decisions, ends, atol=1e-9)
        assert found.objectives == pytest.approx(ends @ (costs + fixed) + 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_piecewise_linear_terms_of_other_variables(engine):
    """min c x + 3 |y - x| + y over x in [-1, 1]: y = x is best, so it is min (c + 1) x."""
    c, x, y = cp.Parameter(), cp.Variable(), cp.Variable()
    problem = cp.Problem(cp.Minimize(c * x + 3 * cp.abs(y - x) + y), [x >= -1, x <= 1, y >= x - 3])
    for costs in (2.0, 0.5, -3.0):
        found = wrap(problem, engine=engine).solve(costs)
        assert found.decisions.shape == ()
        assert found.objectives == pytest.approx(-abs(costs + 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_matrices_are_in_row_major_order(engine):
    """cvxpy itself counts column by column."""
    costs, x = cp.Parameter((2, 3)), cp.Variable((2, 3), name="x")
    constraints = [x >= 0, x <= np.arange(6).reshape(2, 3)]
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(costs, x))), constraints)
    solver = wrap(problem, engine=engine)
    assert solver.names == ("x[0, 0]", "x[0, 1]", "x[0, 2]", "x[1, 0]", "x[1, 1]", "x[1, 2]")
    given = np.array([[1.0, -1, 1], [1, 1, -1]])
    np.testing.assert_allclose(solver.solve(given).decisions, [[0, 0, 2], [3, 4, 0]], atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_variables_that_are_integer_in_part(engine):
    costs, x = cp.Parameter(3), cp.Variable(3, integer=([0, 2],), bounds=[0, 2.5])
    found = wrap(cp.Problem(cp.Maximize(costs @ x)), engine=engine).solve(np.ones(3))
    np.testing.assert_array_equal(found.decisions, [2, 2.5, 2])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sign_of_the_parameter_is_not_enforced(engine):
    """Noise takes costs below zero."""
    costs, x = cp.Parameter(3, nonneg=True), cp.Variable(3, boolean=True)
    solver = wrap(cp.Problem(cp.Maximize(costs @ x)), engine=engine)
    assert solver.traits.binary
    np.testing.assert_array_equal(solver.solve([1.0, -1.0, 2.0]).decisions, [1, 0, 1])


def test_bounds_become_column_bounds():
    model = read(problem_of(models.knapsack()))
    assert model.num_rows == 2, "the two capacities; the bounds are not rows"
    np.testing.assert_array_equal([model.column_lower, model.column_upper], [np.zeros(6), np.ones(6)])
    assert model.predicted_binary


@pytest.mark.parametrize("build", [models.knapsack, models.polygon, models.facility_location])
def test_engines_agree_with_the_oracle_on_wide_costs(build):
    problem = problem_of(build())
    costs = np.random.default_rng(1).normal(size=(4, *problem.parameters()[0].shape)) * 1e5
    expected = [optimum_of(build)(row) for row in costs]
    for engine in ENGINES:
        np.testing.assert_allclose(wrap(problem, engine=engine).solve(costs).objectives, expected, rtol=1e-9)


def test_a_portfolio_against_its_closed_form():
    solver = wrap(ellipsoid())
    assert solver.traits.engine == "native:clarabel"
    assert solver.traits.exact
    costs = np.random.default_rng(2).normal(size=(20, 3)) * 10.0 ** np.arange(-10, 10)[:, None]
    found = solver.solve(costs)
    optima = np.array([ellipsoid_optimum(row) for row in costs])
    np.testing.assert_allclose(found.objectives - 0.75, optima - 0.75, rtol=2e-8)


def test_a_unit_ball_gives_the_norm():
    solver = wrap(linear(lambda c, x: c @ x, lambda x: [cp.norm(x) <= 1], cp.Maximize))
    costs = np.random.default_rng(3).normal(size=(10, 4))
    np.testing.assert_allclose(solver.solve(costs).objectives, np.linalg.norm(costs, axis=1), rtol=1e-8)
    direction = costs / np.linalg.norm(costs, axis=1, keepdims=True)
    np.testing.assert_allclose(solver.solve(costs).decisions, direction, atol=1e-4)


def test_a_quadratic_objective_against_its_closed_form():
    costs = np.random.default_rng(4).normal(size=(10, 2, 2))
    expected = [projection_optimum(row) for row in costs]
    np.testing.assert_allclose(projection().solve(costs).objectives, expected, atol=1e-8)


def test_a_variable_whose_entries_are_tied():
    """max <C, X> over symmetric X with entries in [-1, 1] is the sum of |C + C'| / 2."""
    costs, x = cp.Parameter((2, 2)), cp.Variable((2, 2), symmetric=True)
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(costs, x))), [x >= -1, x <= 1])
    with pytest.raises(UnsupportedModelError, match=r"one column for each entry.*engine='native'"):
        wrap(problem, engine="highs")
    given = np.array([[1.0, -3.0], [0.5, -2.0]])
    assert wrap(problem).solve(given).objectives == pytest.approx(np.abs(given + given.T).sum() / 2)


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_the_users_problem_stays_as_it_was(engine):
    problem = problem_of(models.facility_location())
    unsolved = state(problem)
    wrap(problem, engine=engine).solve(np.ones((2, 3)))
    assert state(problem) == unsolved
    problem.parameters()[0].value = np.arange(6.0).reshape(2, 3)
    problem.solve(solver=cp.HIGHS)
    solved = state(problem)
    wrap(problem, engine=engine).solve(np.ones((2, 3)))
    assert state(problem) == solved
    problem.solve(solver=cp.HIGHS)
    assert state(problem) == solved


@pytest.mark.parametrize(
    ("constraints", "costs", "status"),
    [
        (lambda x: [x >= 1, cp.norm(x) <= 1], 1.0, Status.INFEASIBLE),
        (lambda x: [cp.norm(x[:2]) <= 1], 1.0, Status.UNBOUNDED),
        (lambda x: [cp.norm(x[:2]) <= 1, x[0] >= 2], 1.0, Status.INFEASIBLE),  # and unbounded in x[2]
        (lambda x: [], 1.0, Status.UNBOUNDED),
        (lambda x: [x >= 0], 1.0, Status.OPTIMAL),
        (lambda x: [x >= 0], -1.0, Status.UNBOUNDED),
        (lambda x: [x[0] >= 2, x[0] <= 1 + x[1], x[1] <= 0.5], -1.0, Status.INFEASIBLE),
    ],
)
def test_statuses(constraints, costs, status):
    solver = wrap(linear(lambda c, x: c @ x, constraints), engine="native", on_failure="nan")
    assert solver.solve(np.full(4, costs)).statuses == (status,)


def test_an_inaccurate_answer_is_never_optimal():
    solver = wrap(ellipsoid(), engine="native:clarabel", on_failure="nan")
    compiled = solver._compiled.get(lambda: None)  # made when the problem was wrapped
    run = compiled._run

    def inaccurate(problem, options):
        found = run(problem, options)
        found.status = "optimal_inaccurate"
        return found

    compiled._run = inaccurate
    assert solver.solve(np.ones(3)).statuses == (Status.FEASIBLE,)
    compiled._run = lambda *_: type("Found", (), {"status": "a new one", "primal_vars": {}, "attr": {}})
    assert solver.solve(np.ones(3)).statuses == (Status.ERROR,)


def test_highs_takes_another_number_of_threads():
    problem = linear(lambda c, x: c @ x)
    for threads in (1, 2, 1):
        solver = wrap(problem, engine="native", limits=Limits(threads=threads))
        assert solver.solve([1.0, -2.0, 3.0, -4.0]).objectives == pytest.approx(-6.0)


def hard(limits, engine):
    rng = np.random.default_rng(1)
    weights = rng.uniform(1, 9, size=(20, 60))
    costs, x = cp.Parameter(60), cp.Variable(60, boolean=True)
    problem = cp.Problem(cp.Maximize(costs @ x), [weights @ x <= 130])
    solver = wrap(problem, engine=engine, limits=limits, on_failure="incumbent")
    return solver.solve(rng.uniform(5, 9, 60)), weights


@pytest.mark.parametrize("engine", ENGINES)
def test_time_limits_and_gaps(engine):
    found, weights = hard(Limits(seconds=0.3), engine)
    assert found.statuses == (Status.FEASIBLE,)
    assert (weights @ found.decisions <= 130 + 1e-6).all()
    assert 0 < found.gaps < 0.5
    found, _ = hard(Limits(relative_gap=0.1), engine)
    assert found.statuses == (Status.OPTIMAL,)
    assert 0 < found.gaps <= 0.1


def test_a_conic_solver_that_is_stopped_early_has_no_optimum():
    solver = wrap(ellipsoid(lambda x: x >= 0.1), limits=Limits(seconds=1e-9), on_failure="nan")
    assert solver.solve(np.ones(3)).statuses[0] in (Status.LIMIT, Status.FEASIBLE)


def test_another_solver_by_name():
    solver = wrap(ellipsoid(), engine="native:scs")
    assert (solver.traits.engine, solver.traits.exact) == ("native:scs", False)
    costs = np.array([1.0, -2.0, 0.5])
    assert solver.solve(costs).objectives == pytest.approx(ellipsoid_optimum(costs), abs=1e-6)


def test_threads_share_one_solver():
    solver = projection()
    costs = np.random.default_rng(5).normal(size=(30, 2, 2))
    expected = [projection_optimum(row) for row in costs]
    found = {}
    threads = [
        threading.Thread(target=lambda k: found.update({k: solver.solve(costs)}), args=(k,)) for k in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(3):
        np.testing.assert_allclose(found[k].objectives, expected, atol=1e-8)


LOAD = """
import pickle, sys
import numpy as np
solvers = pickle.loads(sys.stdin.buffer.read())
costs = np.array([[1.0, -2.0, 0.5], [-1.0, 0.25, 3.0]])
for solver in solvers:
    print(*solver.solve(costs).objectives.tolist())
assert "torch" not in sys.modules
"""


def test_a_solver_that_is_loaded_in_another_process():
    """cvxpy numbers its objects from 1 in each process: those of the pickled problem are taken there."""
    cones = [lambda x: cp.norm(x[:2]) <= 0.8, lambda x: cp.abs(x) <= [0.3, 0.6, 0.9], lambda x: x[0] >= -0.2]
    solvers = [wrap(ellipsoid(*cones)), wrap(ellipsoid(*cones, sense="min"))]
    costs = np.array([[1.0, -2.0, 0.5], [-1.0, 0.25, 3.0]])
    expected = [solver.solve(costs).objectives for solver in solvers]
    command = [sys.executable, "-W", "error", "-c", LOAD]
    done = subprocess.run(command, input=pickle.dumps(solvers), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = [[float(word) for word in line.split()] for line in done.stdout.decode().splitlines()]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_copy_shares_no_number_with_its_original():
    """A number that stays is taken where a pickled problem is loaded: dual values then got others' shapes."""
    original = cost_problem(ellipsoid(lambda x: x >= -1, lambda x: cp.norm(x) <= 2))

    def numbers(costs):
        problem = costs.problem
        return {part.id for part in (*problem.variables(), *problem.parameters(), *problem.constraints)}

    assert len(numbers(original)) == 5
    assert not numbers(original) & numbers(original.copy())


def two_parameters():
    other = cp.Parameter(name="risk")
    return linear(lambda c, x: c @ x + other * cp.sum(x))


def bounded_by_parameter():
    costs = cp.Parameter(3, name="c")
    return cp.Problem(cp.Minimize(costs @ cp.Variable(3, name="x", bounds=[costs, None])))


def semidefinite_parameter():
    costs, x = cp.Parameter((2, 2), name="c", PSD=True), cp.Variable((2, 2))
    return cp.Problem(cp.Minimize(cp.trace(costs @ x)), [x >= 0])


def shapes_that_differ():
    costs, x = cp.Parameter((1, 3), name="c"), cp.Variable((3, 1), name="x")
    return cp.Problem(cp.Minimize(costs @ x), [x >= 0])


def constrained_by_parameter():
    costs, x = cp.Parameter(3, name="c"), cp.Variable(3, name="x")
    return cp.Problem(cp.Minimize(costs @ x), [x >= 0, costs @ x >= 1])


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: linear(lambda c, x: cp.sum(x)), ModelError, r"has 0 \(none\).*c = cp.Parameter\(n\)"),
        (two_parameters, ModelError, r"has 2 \(c, risk\).*by their values"),
        (constrained_by_parameter, UnsupportedModelError, r"'c' appears in constraint 1 \(1.0 <= c @ x\)"),
        (bounded_by_parameter, UnsupportedModelError, "'c' bounds the variable 'x'"),
        (semidefinite_parameter, UnsupportedModelError, r"'c' must be a plain cp.Parameter.*PSD"),
        (shapes_that_differ, UnsupportedModelError, r"'c' of shape \(1, 3\) is not the costs of one whole"),
        (
            lambda: linear(lambda c, x: 2 * c @ x),
            UnsupportedModelError,
            "not the costs of one whole Variable",
        ),
        (lambda: linear(lambda c, x: c[:2] @ x[:2]), UnsupportedModelError, "not the costs of one whole"),
        (lambda: linear(lambda c, x: c @ x[::-1]), UnsupportedModelError, "in the same place, once"),
        (lambda: linear(lambda c, x: c @ (x + 1)), UnsupportedModelError, "not the costs of one whole"),
        (lambda: linear(lambda c, x: c @ x + c[0]), UnsupportedModelError, "not the costs of one whole"),
        (lambda: linear(lambda c, x: cp.maximum(c @ x, -100)), UnsupportedModelError, "not the costs of one"),
        (lambda: linear(lambda c, x: cp.sum_squares(x - c)), UnsupportedModelError, "not the costs of one"),
        (lambda: linear(lambda c, x: -(c @ x)), UnsupportedModelError, r"minus the costs. Drop the minus"),
        (lambda: linear(lambda c, x: c @ x - cp.sum_squares(x)), ModelError, r"not convex.*is_dcp\(\)"),
        (lambda: linear(lambda c, x: cp.multiply(c, c) @ x), ModelError, r"not DPP.*linearly"),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "highs"])
def test_problems_that_are_refused(build, error, message, engine):
    with pytest.raises(error, match=message):
        wrap(build(), engine=engine)


def test_a_parameter_times_a_convex_term_is_refused():
    """At positive values |x| looks like x."""
    costs, x = cp.Parameter(3, nonneg=True), cp.Variable(3)
    with pytest.raises(ModelError):
        wrap(cp.Problem(cp.Minimize(costs @ cp.abs(x))))


def test_conic_problems_are_not_for_highs():
    with pytest.raises(UnsupportedModelError, match=r"not linear\. Use engine='native'"):
        wrap(ellipsoid(), engine="highs")
    with pytest.raises(UnsupportedModelError, match=r"quadratic objective\. Use engine='native'"):
        wrap(linear(lambda c, x: c @ x + cp.sum_squares(x)), engine="highs")


def test_mixed_integer_conic_problems_need_a_solver_that_is_not_here():
    costs, x = cp.Parameter(3), cp.Variable(3, integer=True)
    problem = cp.Problem(cp.Maximize(costs @ x), [cp.norm(x) <= 2])
    if {"SCIP", "GUROBI", "MOSEK", "CPLEX"} & set(cp.installed_solvers()):
        assert wrap(problem).solve([1.0, 0.1, 0.1]).objectives == pytest.approx(2)
    else:
        with pytest.raises(UnsupportedModelError, match=r"HIGHS takes this.*pip install pyscipopt"):
            wrap(problem)


def test_bad_options():
    with pytest.raises(InvalidInputError, match="`variables` is not for cvxpy"):
        wrap(ellipsoid(), ["weights"])
    with pytest.raises(
        UnsupportedModelError, match=r"None of NOSUCH takes this.*not installed.*Installed are"
    ):
        wrap(ellipsoid(), engine="native:nosuch")
    with pytest.raises(UnsupportedModelError, match="`limits` cannot be handed to OSQP: use one of HIGHS"):
        CvxpySolver(linear(lambda c, x: c @ x + cp.sum_squares(x)), solver="osqp", limits=Limits(seconds=1.0))


@pytest.mark.parametrize("engine", ["highs", "native:highs"])
def test_presolve_loses_no_optimum_of_a_model_with_continuous_columns(engine):
    # With its presolve, HiGHS 1.14 calls -13 optimal here; (-8/3, 1, -2, -1) is feasible, and worth -14.
    costs, x = cp.Parameter(4), cp.Variable(4, integer=[(1, 2, 3)])
    bounds = [x >= [-3, -1, -4, -1], x <= [0, 1, 1, 2]]
    problem = cp.Problem(cp.Minimize(costs @ x), [np.array([-3, 0, -5, 2]) @ x <= 16, *bounds])
    assert wrap(problem, engine=engine).solve([3.0, -2.0, 2.0, 0.0]).objectives == pytest.approx(-14)
