"""The HiGHS engine: limits, scales, ties, per-row data, threads."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linear_models as models
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.engines.highs_object import HighsObject
from imle_opt_solvers.engines.start_choice import StartChoice
from imle_opt_solvers.errors import InvalidInputError, ModelError, SolveError, UnsupportedModelError
from imle_opt_solvers.reference import enumerate_linear_model, knapsack_optimum
from imle_opt_solvers.row_answer import RowAnswer
from imle_opt_solvers.solution import Limits, Sense, Status


def single_knapsack(weights, capacity):
    return models.linear_model("max", weights, -np.inf, capacity, 0, 1, True, predicted=range(len(weights)))


@settings(max_examples=30, deadline=None)
@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    capacity=st.integers(0, 20),
    seed=st.integers(0, 10_000),
)
def test_knapsacks_match_dynamic_programming(weights, capacity, seed):
    rng = np.random.default_rng(seed)
    profits = np.round(rng.normal(size=(3, len(weights))), 1)
    solver = HighsSolver(single_knapsack(weights, capacity))
    found = solver.solve(profits).objectives
    expected = [knapsack_optimum(row, np.array(weights), capacity) for row in profits]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_seconds_bound_each_row_and_not_the_sum_over_rows():
    # HiGHS counts the time of all LP runs of an object: a naive limit is hit after some hundred rows.
    limit = 0.05
    solver = HighsSolver(models.polygon(), limits=Limits(seconds=limit))
    costs = np.random.default_rng(0).normal(size=(400, 3))
    spent, solved = 0.0, 0
    while spent < 3 * limit:
        solution = solver.solve(costs, deterministic=False)
        assert set(solution.statuses) == {Status.OPTIMAL}
        spent, solved = spent + solution.seconds, solved + len(costs)
    assert solved >= 400


def test_a_gap_is_honoured_and_reported():
    rng = np.random.default_rng(5)
    weights = rng.integers(20, 90, size=(4, 40))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(40))
    costs = rng.uniform(20, 90, 40)
    exact = HighsSolver(model).solve(costs)
    loose = HighsSolver(model, limits=Limits(relative_gap=0.2)).solve(costs)
    assert exact.gaps == 0.0
    assert loose.statuses == (Status.OPTIMAL,)
    assert loose.gaps <= 0.2
    assert loose.objectives >= exact.objectives * (1 - 0.2)


def test_decisions_are_exactly_integral():
    solution = HighsSolver(models.knapsack()).solve(np.random.default_rng(1).normal(size=(50, 6)))
    assert np.isin(solution.decisions, (0.0, 1.0)).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_the_scale_of_the_costs_does_not_matter(scale):
    costs = np.random.default_rng(2).normal(size=(20, 3, 3))
    plain = HighsSolver(models.assignment()).solve(costs)
    scaled = HighsSolver(models.assignment()).solve(costs * scale)
    np.testing.assert_array_equal(plain.decisions, scaled.decisions)


def test_ties_are_broken_the_same_way_whatever_was_solved_before():
    solver = HighsSolver(models.assignment())
    rng = np.random.default_rng(3)
    tied = rng.integers(0, 2, size=(30, 3, 3)).astype(float)
    first = solver.solve(tied).decisions
    solver.solve(rng.normal(size=(20, 3, 3)), deterministic=False)
    order = rng.permutation(30)
    np.testing.assert_array_equal(solver.solve(tied[order]).decisions, first[order])


def test_objectives_count_fixed_costs_and_offset():
    model = models.facility_location()
    oracle = enumerate_linear_model(model)
    costs = np.array([[0.3, 0.2, 0.9], [0.4, 0.8, 0.1]])
    solution = HighsSolver(model).solve(costs)
    fixed = solution.objectives - np.sum(solution.decisions * costs)
    assert solution.objectives == pytest.approx(oracle.optimum(costs), abs=1e-9)
    assert fixed in (pytest.approx(-3 + 0.7), pytest.approx(-3 + 0.4), pytest.approx(-3 + 1.1))


def test_per_row_bounds_and_right_hand_sides():
    rng = np.random.default_rng(4)
    costs = rng.normal(size=(2, 3, 6))
    upper = rng.integers(0, 2, size=(2, 3, 6)).astype(float)
    capacity = rng.integers(0, 12, size=(2, 3)).astype(float)
    solver = HighsSolver(models.knapsack())
    found = solver.solve(costs, instances={"column_upper": upper, "rhs": {"r0": capacity}}).objectives
    for index in np.ndindex(2, 3):
        model = replace(models.knapsack((capacity[index], 7)), column_upper=upper[index])
        assert found[index] == pytest.approx(enumerate_linear_model(model).optimum(costs[index]), abs=1e-9)


def test_an_infeasible_row_does_not_harm_its_neighbours():
    solver = HighsSolver(models.knapsack()).with_on_failure("nan")
    costs = np.random.default_rng(6).normal(size=(3, 6))
    solution = solver.solve(costs, instances={"rhs": {"r0": np.array([9.0, -1.0, 9.0])}})
    assert solution.statuses == (Status.OPTIMAL, Status.INFEASIBLE, Status.OPTIMAL)
    assert np.isnan(solution.decisions[1]).all()
    np.testing.assert_allclose(
        solution.objectives[[0, 2]], HighsSolver(models.knapsack()).solve(costs[[0, 2]]).objectives
    )


def test_the_error_keeps_the_rows_that_were_solved():
    costs = np.random.default_rng(6).normal(size=(3, 6))
    with pytest.raises(SolveError, match="row 1: infeasible") as raised:
        HighsSolver(models.knapsack()).solve(costs, instances={"rhs": {"r0": np.array([9.0, -1.0, 9.0])}})
    assert raised.value.rows == (1,)
    assert raised.value.solution.statuses[2] is Status.OPTIMAL


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ({"rhs": np.zeros((2, 3))}, "shape"),
        ({"rhs": {"nowhere": np.zeros(2)}}, "nowhere"),
        ({"rhs": {"r0": np.array([1.0, np.nan])}}, "row 1"),
        ({"rhs": np.zeros(3)}, "leading dimensions"),
        ({"capacity": np.zeros(2)}, "capacity"),
    ],
)
def test_bad_instances_are_refused(instances, message):
    with pytest.raises(InvalidInputError, match=message):
        HighsSolver(models.knapsack()).solve(np.ones((2, 6)), instances=instances)


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        ("row_lower", "r0", np.inf),
        ("row_upper", "r0", -np.inf),
        ("row_lower", "r0", 1e20),
        ("rhs", "r0", -np.inf),
        ("column_lower", "x0", np.inf),
        ("column_upper", "x0", -np.inf),
    ],
)
def test_sides_at_the_wrong_infinity_are_refused(key, name, value):
    # HiGHS keeps the bounds of the row before when it is given such ones.
    solver = HighsSolver(models.knapsack())
    with pytest.raises(InvalidInputError, match=f"{name}.* in row 1 "):
        solver.solve(np.ones((2, 6)), instances={key: {name: np.array([1.0, value])}})


def test_an_interrupted_batch_leaves_the_model_as_it_was(monkeypatch):
    solver = HighsSolver(models.knapsack())
    expected = solver.solve(np.ones(6)).objectives

    def interrupted(self, costs, *, fresh):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HighsObject, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.solve(np.ones((2, 6)), instances={"rhs": {"r0": np.zeros(2)}})
    assert solver.solve(np.ones(6)).objectives == expected


def test_the_right_hand_side_of_a_range_is_ambiguous():
    with pytest.raises(InvalidInputError, match="range constraint 'r0'"):
        HighsSolver(models.polygon()).solve(np.ones((1, 3)), instances={"rhs": {"r0": np.array([1.0])}})


def test_crossed_instance_bounds_are_infeasible_not_wrong():
    solver = HighsSolver(models.polygon()).with_on_failure("nan")
    solution = solver.solve(np.ones((1, 3)), instances={"column_lower": {"x0": np.array([9.0])}})
    assert solution.statuses == (Status.INFEASIBLE,)


def test_threads_share_one_solver():
    solver = HighsSolver(models.knapsack())
    batches = np.random.default_rng(7).normal(size=(8, 20, 6))
    expected = [solver.solve(batch).objectives for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: solver.solve(batch).objectives, batches))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("relaxed", [False, True])
def test_solvers_with_other_numbers_of_threads_take_turns(relaxed):
    # HiGHS refuses to run with another number of threads than the one its thread pool was made with.
    model = models.knapsack().relaxed() if relaxed else models.knapsack()
    solvers = [HighsSolver(model, limits=Limits(threads=threads)) for threads in (1, 2, 3)]
    costs = np.random.default_rng(13).normal(size=(2, 6))
    expected = solvers[0].solve(costs).objectives
    for solver in (*solvers, *solvers):
        np.testing.assert_allclose(solver.solve(costs).objectives, expected)


def test_a_fractional_relaxation_is_not_taken_for_an_answer():
    model = single_knapsack([2, 2, 2], 3)
    relaxed = HighsObject(model.relaxed(), Limits()).run(np.array([-3.0, -2.0, -1.0]), fresh=True)
    assert relaxed.values is not None
    assert not np.array_equal(relaxed.values, np.round(relaxed.values))
    assert HighsSolver(model).solve([3.0, 2.0, 1.0]).objectives == 3.0


def test_unbounded_and_infeasible_are_told_apart():
    empty = replace(models.knapsack(), row_upper=np.array([-1.0, 7.0]), column_upper=np.full(6, np.inf))
    open_ = replace(models.knapsack(), row_upper=np.full(2, np.inf), column_upper=np.full(6, np.inf))
    for model, status in ((empty, Status.INFEASIBLE), (open_, Status.UNBOUNDED)):
        for variant in (model, model.relaxed()):
            solution = HighsSolver(variant).with_on_failure("nan").solve(np.ones(6))
            assert solution.statuses == (status,)


def test_crossed_bounds_are_refused_when_the_model_is_built():
    with pytest.raises(ModelError, match="'x2'"):
        replace(models.knapsack(), column_lower=np.array([0.0, 0, 2, 0, 0, 0]))


@pytest.mark.parametrize(("lower", "upper"), [(np.inf, np.inf), (-np.inf, -np.inf), (1e20, 1e25)])
def test_bounds_at_the_wrong_infinity_are_refused(lower, upper):
    # HiGHS drops the whole model then, and calls the empty one optimal.
    with pytest.raises(ModelError, match="'x0'"):
        replace(models.knapsack(), column_lower=np.full(6, lower), column_upper=np.full(6, upper))


def test_coefficients_that_highs_cannot_hold_are_named():
    model = models.knapsack()
    with pytest.raises(UnsupportedModelError, match="coefficient"):
        HighsSolver(replace(model, row_values=model.row_values * 1e16)).solve(np.ones(6))


def test_small_coefficients_count():
    # By default HiGHS drops coefficients up to 1e-9: x0 would be free to reach 5.
    model = models.linear_model("max", [[1e-9, 1]], -np.inf, 1, 0, [5e9, 5], False, predicted=range(2))
    assert HighsSolver(model).solve([1.0, 0.0]).objectives == pytest.approx(1e9)


@pytest.mark.parametrize("coefficient", [1e-12, -1e-13])
def test_coefficients_that_highs_would_drop_are_refused(coefficient):
    model = models.linear_model("max", [[coefficient, 1]], -np.inf, 1, 0, 5, False, predicted=range(2))
    with pytest.raises(UnsupportedModelError, match=r"'r0' has .* on variable 'x0'"):
        HighsSolver(model).solve(np.ones(2))


def test_the_other_simplex_is_asked_where_the_first_gives_up(monkeypatch):
    solver = HighsSolver(models.polygon())
    expected = solver.solve([1.0, -2.0, 0.5]).objectives
    read, calls = HighsObject._read, []

    def give_up_once(self):
        calls.append(self._strategy)
        return RowAnswer(Status.ERROR) if len(calls) == 1 else read(self)

    monkeypatch.setattr(HighsObject, "_read", give_up_once)
    assert solver.solve([1.0, -2.0, 0.5]).objectives == pytest.approx(expected)
    assert len(set(calls)) == 2


def test_the_objective_of_enormous_costs_is_finite_where_it_is_representable():
    model = models.linear_model("max", [[1, 1, 1]], 3, 3, 0, 1, False, predicted=range(3))
    costs = np.array([1.5e308, 1.5e308, -1.6e308])
    assert HighsSolver(model).solve(costs).objectives == pytest.approx(1.4e308)


@pytest.mark.parametrize("noise", [1e-3, 10.0])
def test_answers_from_the_last_basis_are_optimal_whatever_the_start(noise):
    rng = np.random.default_rng(11)
    costs = rng.normal(size=9) + noise * rng.normal(size=(100, 9))
    costs = costs.reshape(-1, 3, 3)
    solver = HighsSolver(models.assignment())
    warm = [solver.solve(row, deterministic=False).objectives for row in costs]
    np.testing.assert_allclose(warm, HighsSolver(models.assignment()).solve(costs).objectives, atol=1e-9)


@pytest.mark.parametrize("colder", [True, False])
def test_the_start_with_fewer_iterations_is_chosen(colder):
    choice = StartChoice()
    for _ in range(8):
        choice.note(3 if choice.fresh() == colder else 9)
    assert choice.fresh() == colder


def test_a_name_that_two_constraints_share_is_ambiguous():
    model = replace(models.knapsack(), row_names=("same", "same"))
    with pytest.raises(InvalidInputError, match=r"2 .* called 'same'"):
        HighsSolver(model).solve(np.ones((1, 6)), instances={"rhs": {"same": [1.0]}})


def test_presolve_loses_no_optimum_of_a_model_with_continuous_columns():
    # With its presolve, HiGHS 1.14 calls -13 optimal here; z below is feasible, and worth -14.
    integer, upper = [False, True, True, True], [0, 1, 1, 2]
    model = models.linear_model(
        "min", [[-3, 0, -5, 2]], -np.inf, 16, [-3, -1, -4, -1], upper, integer, predicted=range(4)
    )
    costs, z = np.array([3.0, -2, 2, 0]), np.array([-8 / 3, 1, -2, -1])
    assert model.activities(z)[0] <= 16 + 1e-12
    assert HighsSolver(model).solve(costs).objectives == pytest.approx(costs @ z)


def test_min_and_max_mirror_each_other():
    costs = np.random.default_rng(8).normal(size=(10, 6))
    largest = HighsSolver(models.knapsack()).solve(costs)
    smallest = HighsSolver(replace(models.knapsack(), sense=Sense.MIN)).solve(-costs)
    np.testing.assert_array_equal(largest.decisions, smallest.decisions)
    np.testing.assert_allclose(largest.objectives, -smallest.objectives)


def test_an_incumbent_of_a_time_limit_is_not_called_optimal():
    rng = np.random.default_rng(9)
    weights = rng.integers(20, 90, size=(10, 200))
    model = models.linear_model(
        "max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(200)
    )
    costs = weights.mean(axis=0) + rng.uniform(0, 5, 200)
    solution = HighsSolver(model, limits=Limits(seconds=0.5), on_failure="incumbent").solve(costs)
    assert solution.statuses == (Status.FEASIBLE,)
    assert 0 < solution.gaps < 1
    assert (weights @ solution.decisions <= weights.sum(1) // 3).all()


@pytest.mark.parametrize("upper", [np.inf, "equal"])
def test_right_hand_sides_of_lower_sides_and_equalities(upper):
    # Cover at least (or exactly) `demand` units at least cost, with unit columns.
    sides = 2.0 if upper == "equal" else upper
    model = models.linear_model("min", [[1, 1, 1, 1]], 2.0, sides, 0, 1, False, predicted=range(4))
    costs = np.array([[0.3, 0.1, 0.9, 0.5]] * 3)
    found = HighsSolver(model).solve(costs, instances={"rhs": np.array([[1.0], [3.0], [4.0]])}).objectives
    np.testing.assert_allclose(found, [0.1, 0.9, 1.8])


def test_near_optimal_decisions_do_not_pass_for_optimal():
    # Profits that differ from equal sums by parts in 10^8 only: at unit scale HiGHS stops 5e-8 too early.
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weights = rng.integers(2, 9, size=(2, 14))
        model = models.linear_model(
            "max", weights, -np.inf, weights.sum(1) // 2, 0, 1, True, predicted=range(14)
        )
        costs = weights.sum(0) / 16 + 1e-8 * rng.uniform(-1, 1, size=(4, 14))
        points = np.array(list(itertools.product((0, 1), repeat=14)))
        points = points[(points @ weights.T <= weights.sum(1) // 2).all(axis=1)]
        optima = (costs @ points.T).max(axis=1)
        np.testing.assert_allclose(HighsSolver(model).solve(costs).objectives, optima, rtol=0, atol=1e-12)
