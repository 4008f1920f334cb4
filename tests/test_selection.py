"""Top-k, one-hot and ranking: against sorting, ties by position, both senses, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import integer_costs
from imle_opt_solvers import InvalidInputError, OneHot, Ranking, Sense, Status, TopK

SENSES = st.sampled_from(["min", "max"])


def best_first(costs, sense):
    """Positions of each row, the best first; of equal ones, the first."""
    return np.argsort(-costs if sense == "max" else costs, axis=1, kind="stable")


@settings(deadline=None)
@given(data=st.data(), size=st.integers(1, 12), sense=SENSES)
def test_top_k_takes_the_first_of_the_sorted_entries(data, size, sense):
    k = data.draw(st.integers(1, size))
    costs = integer_costs(data.draw, 3, size, -2, 2)  # few values: ties everywhere
    expected = np.zeros_like(costs)
    np.put_along_axis(expected, best_first(costs, sense)[:, :k], 1.0, axis=1)
    solver = TopK(size, k, sense=sense)
    solution = solver.solve(costs)
    np.testing.assert_array_equal(solution.decisions, expected)
    np.testing.assert_array_equal(solution.objectives, (expected * costs).sum(axis=1))
    np.testing.assert_array_equal(solver.map(costs), TopK(size, k).solve(costs).decisions)
    assert solver.traits.cardinality == k


@settings(deadline=None)
@given(data=st.data(), size=st.integers(1, 9), sense=SENSES)
def test_one_hot_is_the_top_one(data, size, sense):
    costs = integer_costs(data.draw, 3, size, -2, 2)
    one, top = OneHot(size, sense=sense), TopK(size, 1, sense=sense)
    np.testing.assert_array_equal(one.solve(costs).decisions, top.solve(costs).decisions)
    np.testing.assert_array_equal(one.solve(costs).objectives, top.solve(costs).objectives)


@settings(deadline=None)
@given(data=st.data(), size=st.integers(1, 9), sense=SENSES)
def test_ranks_are_places_in_the_sorted_order(data, size, sense):
    costs = integer_costs(data.draw, 3, size, -2, 2)
    order = best_first(costs, "max" if sense == "min" else "min")  # rank 1 at the largest cost for "min"
    expected = np.empty_like(costs)
    np.put_along_axis(expected, order, np.tile(np.arange(1.0, size + 1), (3, 1)), axis=1)
    np.testing.assert_array_equal(Ranking(size, sense=sense).solve(costs).decisions, expected)


def test_scores_are_ranked_with_one_for_the_best():
    solution = Ranking(4).solve([0.3, 9.0, -2.0, 1.0])
    np.testing.assert_array_equal(solution.decisions, [3, 1, 4, 2])
    assert solution.objectives == pytest.approx(0.3 * 3 + 9 - 2 * 4 + 2)
    assert solution.statuses == (Status.OPTIMAL,)
    np.testing.assert_array_equal(
        Ranking(4, sense="max").solve([0.3, 9.0, -2.0, 1.0]).decisions, [2, 4, 1, 3]
    )


def test_the_best_of_a_matrix_are_those_of_the_whole_matrix():
    costs = np.array([[1.0, 5.0, 2.0], [4.0, 4.5, 0.0]])
    np.testing.assert_array_equal(TopK((2, 3), 2).solve(costs).decisions, [[0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(
        OneHot((2, 3), sense=Sense.MIN).solve(costs).decisions, [[0, 0, 0], [0, 0, 1]]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopK(3, 0), "`k` must be a whole number"),
        (lambda: TopK(3, 4), "`k` is 4, and there are 3"),
        (lambda: TopK(3, 1.5), "`k` must be a whole number"),
        (lambda: TopK(0, 1), "`shape` must be a whole number, at least 1"),
        (lambda: TopK((), 1), "`shape`"),
        (lambda: TopK(3, True), "`k`"),
        (lambda: TopK(3, 1, sense="best"), "`sense` must be one of 'min', 'max'"),
        (lambda: OneHot(3.0), "`shape`"),
        (lambda: OneHot(3, sense="up"), "`sense`"),
        (lambda: Ranking((2, 3)), "`n` must be a whole number"),
        (lambda: Ranking(-1), "`n`"),
        (lambda: Ranking(3).solve([1e308, 1e308, 0]), "too large"),
        (lambda: TopK(3, 2).solve([1e308, 1e308, 0]), "too large"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
