"""Assignments: against scipy, of any shape, scale and sign, with frequent ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from imle_opt_solvers import Assignment, InvalidInputError


def optima(costs, sense):
    pairs = [linear_sum_assignment(row, maximize=sense == "max") for row in costs]
    return np.array([row[pair].sum() for row, pair in zip(costs, pairs, strict=True)])


def draw_costs(kind, rng, shape):
    if kind == "continuous":
        return rng.normal(size=shape)
    if kind == "tied":
        return rng.integers(-2, 3, size=shape).astype(float)
    if kind == "all scales":
        return np.exp(20 * rng.normal(size=shape))
    if kind == "products":  # bids settle little here: most rows need an augmenting path
        a, b = rng.uniform(size=(2, *shape[:2], 1))
        c, d = rng.uniform(size=(2, shape[0], 1, shape[2]))
        return a + c + b * d
    return 1.0 + 1e-15 * rng.integers(0, 4, size=shape)  # prices that rounding swallows


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 9),
    extra=st.integers(0, 4),
    sense=st.sampled_from(["min", "max"]),
    kind=st.sampled_from(["continuous", "tied", "all scales", "nearly equal", "products"]),
    seed=st.integers(0, 10_000),
)
def test_assignments_are_as_cheap_as_scipys(n, extra, sense, kind, seed):
    costs = draw_costs(kind, np.random.default_rng(seed), (4, n, n + extra))
    solution = Assignment(n, n + extra, sense=sense).solve(costs)
    assert (solution.decisions.sum(axis=2) == 1).all()
    assert (solution.decisions.sum(axis=1) <= 1).all()
    assert np.isin(solution.decisions, (0.0, 1.0)).all()
    np.testing.assert_allclose(solution.objectives, optima(costs, sense), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(solution.objectives, (solution.decisions * costs).sum(axis=(1, 2)), rtol=1e-12)


def test_large_matrices():
    costs = np.random.default_rng(0).uniform(size=(3, 60, 80))
    np.testing.assert_allclose(Assignment(60, 80).solve(costs).objectives, optima(costs, "min"))
    products = draw_costs("products", np.random.default_rng(0), (3, 60, 60))
    np.testing.assert_allclose(Assignment(60).solve(products).objectives, optima(products, "min"))


def test_bids_that_rounding_swallows_come_to_an_end():
    costs = np.array([[-1e16, 0.5, 2.0], [-1e16, 0.5, 2.0], [-1e16, 0.5, 2.0]])
    np.testing.assert_array_equal(Assignment(3).solve(costs).decisions.sum(axis=0), [1, 1, 1])
    solution = Assignment(2, 3).solve(costs[:2])
    np.testing.assert_array_equal(solution.decisions.sum(axis=0), [1, 1, 0])


def test_a_row_does_not_depend_on_the_rows_before_it():
    costs = np.random.default_rng(1).integers(0, 2, size=(50, 5, 5)).astype(float)
    solver = Assignment(5)
    np.testing.assert_array_equal(solver.solve(costs[::-1]).decisions[::-1], solver.solve(costs).decisions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Assignment(4, 3), "n <= m, not 4 and 3.*Transpose"),
        (lambda: Assignment(0), "`n` must be a whole number"),
        (lambda: Assignment(2, 2.5), "`m` must be a whole number"),
        (lambda: Assignment((2, 2)), "n <= m"),
        (lambda: Assignment(3, sense="cheap"), "`sense`"),
        (lambda: Assignment(2).solve(np.full((2, 2), 1e308)), "too large"),
        (lambda: Assignment(2).solve(np.ones((2, 3))), r"shape \(\*batch, 2, 2\)"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
