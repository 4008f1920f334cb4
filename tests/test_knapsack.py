"""Knapsacks: kernels against enumeration and dynamic programming, hard rows, capacities per row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from cases_combinatorial import packings
from imle_opt_solvers import InvalidInputError, Knapsack, Limits, ModelError, Status
from imle_opt_solvers.kernels._packing_duals import packing_duals
from imle_opt_solvers.kernels.knapsack import by_capacity, search
from imle_opt_solvers.reference import knapsack_optimum


def explored(profits, weights, capacities, nodes=10**6):
    """Search every row, up to `nodes` nodes each."""
    return search(profits, weights, capacities, np.full(len(profits), nodes))


@st.composite
def knapsacks(draw, constraints=3):
    """Integer weights, capacities and profits, with ties, weightless items and items that cannot fit."""
    size, count = draw(st.integers(1, 9)), draw(st.integers(1, constraints))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    weights = rng.integers(0, 7, size=(count, size)).astype(float)
    capacities = np.floor(rng.uniform(0, 1, size=(3, count)) * weights.sum(axis=1))
    profits = rng.normal(size=(3, size))
    return (np.round(profits) if draw(st.booleans()) else profits), weights, capacities


@settings(max_examples=200, deadline=None)
@given(problem=knapsacks())
def test_the_search_finds_the_best_of_all_packings(problem):
    profits, weights, capacities = problem
    decisions, proven = explored(profits, weights, capacities)
    assert proven.all()
    for row, decision in enumerate(decisions):
        points = packings(weights, capacities[row])
        assert (weights @ decision <= capacities[row]).all()
        assert decision @ profits[row] == pytest.approx((points @ profits[row]).max(), abs=1e-12)
        assert not decision[profits[row] <= 0].any()


@settings(max_examples=200, deadline=None)
@given(problem=knapsacks(constraints=1))
def test_dynamic_programming_finds_the_best_packing(problem):
    profits, weights, capacities = problem
    whole = weights[0].astype(np.int64)
    decisions = by_capacity(profits, whole, capacities[:, 0].astype(np.int64))
    for row, decision in enumerate(decisions):
        capacity = int(capacities[row, 0])
        assert whole @ decision <= capacity
        assert decision @ profits[row] == pytest.approx(
            knapsack_optimum(profits[row], whole, capacity), abs=1e-12
        )
        assert not decision[profits[row] <= 0].any()


@settings(max_examples=100, deadline=None)
@given(constraints=st.integers(2, 5), size=st.integers(1, 20), seed=st.integers(0, 10_000))
def test_prices_of_the_relaxation_are_its_dual_optimum(constraints, size, seed):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 9, size=(constraints, size)).astype(float)
    profits, capacities = rng.uniform(0.1, 5, size), weights.sum(axis=1) * rng.uniform(0, 0.8, constraints)
    prices = packing_duals(profits, weights, capacities)
    assert (prices >= 0).all()
    bound = prices @ capacities + np.maximum(profits - prices @ weights, 0).sum()
    assert bound == pytest.approx(-linprog(-profits, weights, capacities, bounds=(0, 1)).fun, abs=1e-9)


def test_an_interrupted_search_says_so_and_keeps_what_it_found():
    rng = np.random.default_rng(0)
    weights = rng.integers(20, 90, size=(3, 40)).astype(float)
    capacities = np.tile(weights.sum(axis=1) // 3, (5, 1))
    profits = rng.uniform(20, 90, (5, 40))
    exact, proven = explored(profits, weights, capacities)
    short, unproven = explored(profits, weights, capacities, 60)
    assert proven.all()
    assert not unproven.any()
    assert (short @ weights.T <= capacities).all()
    assert ((short * profits).sum(axis=1) > 0).all()
    assert ((short * profits).sum(axis=1) <= (exact * profits).sum(axis=1) + 1e-9).all()


@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_rows_that_the_search_gives_up_are_solved_all_the_same(scale):
    """Even weights never fill an odd capacity, so that no bound is ever tight."""
    rng = np.random.default_rng(1)
    weights = 2 * rng.integers(50, 500, size=40)
    capacity = 2 * int(weights.sum() // 4) + 1
    profits = np.stack([weights.astype(float), rng.uniform(1, 9, 40)])  # the second row is an easy neighbour
    _, proven = explored(profits, weights[None].astype(float), np.full((2, 1), float(capacity)), 200_000)
    assert proven.tolist() == [False, True]
    solution = Knapsack(weights * scale, capacity * scale).solve(profits)  # by dynamic programming, by HiGHS
    expected = [knapsack_optimum(row, weights, capacity) for row in profits]
    np.testing.assert_allclose(solution.objectives, expected, rtol=1e-9)
    assert solution.statuses == (Status.OPTIMAL,) * 2
    assert (solution.decisions @ weights <= capacity).all()


def test_sums_that_exceed_the_capacity_by_rounding_fit():
    assert 0.1 + 0.2 > 0.3
    assert Knapsack([0.1, 0.2], 0.3).solve([1.0, 1.0]).objectives == 2
    assert Knapsack([0.1, 0.2], 0.3 - 1e-6).solve([1.0, 1.0]).objectives == 1


def test_capacities_per_row():
    solver = Knapsack([[2, 3, 4], [1, 1, 1]], (5, 2), on_failure="nan")
    found = solver.solve(np.ones((3, 3)), instances={"capacity": [[9, 3], [2, 3], [9, -1]]})
    assert found.statuses == (Status.OPTIMAL, Status.OPTIMAL, Status.INFEASIBLE)
    np.testing.assert_array_equal(found.objectives, [3, 1, np.nan])
    single = Knapsack([2, 3, 4], 5)
    found = single.solve(np.ones((2, 2, 3)), instances={"capacity": [[1, 2], [5, 9.5]]}).objectives
    np.testing.assert_array_equal(found, [[0, 1], [2, 3]])
    for bad, message in (
        ({"capacity": [[1.0, 2]]}, "leading dimensions"),
        ({"capacity": [1.0, np.nan]}, "finite"),
        ({"capacity": np.ones((2, 2))}, "one number per row and constraint"),
        ({"rhs": [1.0, 2]}, "takes 'capacity'"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            single.solve(np.ones((2, 3)), instances=bad)


def test_the_incumbent_of_a_short_search_is_kept():
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(4, 80))
    solver = Knapsack(weights, weights.sum(1) // 3, limits=Limits(seconds=2e-5), on_failure="incumbent")
    solution = solver.solve(rng.uniform(20, 90, (2, 80)))
    assert solution.statuses == (Status.FEASIBLE,) * 2
    assert (solution.objectives > 0).all()
    assert (solution.decisions @ weights.T <= weights.sum(1) // 3).all()


def test_a_row_does_not_depend_on_its_neighbours_capacities():
    """The rows of one batch are searched for as long as each would be alone."""
    rng = np.random.default_rng(5)
    weights = 2 * rng.integers(1, 4, size=40)  # ties everywhere
    costs, capacities = weights * np.ones((4, 1)), np.array([[21.0], [41.0], [61.0], [5000.0]])
    solver = Knapsack(weights, 21)
    together = solver.solve(costs, instances={"capacity": capacities}).decisions
    for row in range(4):
        alone = solver.solve(costs[row : row + 1], instances={"capacity": capacities[row : row + 1]})
        np.testing.assert_array_equal(alone.decisions[0], together[row])


def test_shapes_and_names():
    solver = Knapsack(np.arange(6), 5, shape=(2, 3), names="abcdef")
    assert (solver.shape, solver.names) == ((2, 3), tuple("abcdef"))
    np.testing.assert_array_equal(solver.solve([[1, 2, 3], [9, 5, 1]]).decisions, [[1, 0, 1], [1, 0, 0]])
    assert Knapsack([1, 2], 2).names is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Knapsack([1, -2], 3), ModelError, "`weights` must be finite and not negative.*-2"),
        (lambda: Knapsack([1, np.nan], 3), ModelError, "`weights`"),
        (lambda: Knapsack([1, 2], -3), ModelError, "`capacity`"),
        (lambda: Knapsack([1, 2], np.inf), ModelError, "`capacity`"),
        (lambda: Knapsack([1, 2], [3, 4]), ModelError, "one number for each of the 1 constraint"),
        (lambda: Knapsack([], 3), ModelError, "shape"),
        (lambda: Knapsack(np.ones((2, 2, 2)), 3), ModelError, "shape"),
        (lambda: Knapsack(["a"], 3), InvalidInputError, "`weights` must hold real numbers"),
        (lambda: Knapsack([1, 2], 3, shape=(3,)), InvalidInputError, "does not fit the 2 items"),
        (lambda: Knapsack([1, 2], 3, names="abc"), InvalidInputError, "name each of the 2 items"),
        (lambda: Knapsack([1, 2], 3, sense="most"), InvalidInputError, "`sense`"),
        (lambda: Knapsack([1, 2], 3, engine="scip"), InvalidInputError, "`engine`"),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
