"""Starts of branch and bound: exact all the same, and never a matter of history under `deterministic`."""

from __future__ import annotations

import numpy as np
import pytest

import linear_models as models
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.engines.highs_object import HighsObject
from imle_opt_solvers.engines.known_points import KnownPoints
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.solution import Limits
from imle_opt_solvers.wrap import wrap


def packing(seed):
    """Eight items, three constraints of small whole weights: fractional relaxations and many ties."""
    weights = np.random.default_rng(seed).integers(1, 6, size=(3, 8))
    sides = weights.sum(axis=1) // 2
    return models.linear_model("max", weights, [-np.inf] * 3, sides, 0, 1, True, predicted=range(8))


def costs_of(seed, rows=24):
    return np.random.default_rng(seed).integers(1, 6, size=(rows, 8)).astype(float)


@pytest.fixture
def starts_given(monkeypatch):
    """What each branch and bound was started from."""
    given, run = [], HighsObject.run

    def watched(self, costs, *, fresh, start=None):
        if self.model.is_mixed_integer:
            given.append(start)
        return run(self, costs, fresh=fresh, start=start)

    monkeypatch.setattr(HighsObject, "run", watched)
    return given


@pytest.mark.parametrize("seed", range(3))
def test_starts_from_earlier_answers_leave_every_optimum_exact(seed, starts_given):
    model = packing(seed)
    costs = costs_of(seed)
    found = HighsSolver(model).solve(costs, deterministic=False)
    oracle = enumerate_linear_model(model)
    np.testing.assert_allclose(found.objectives, [oracle.optimum(row) for row in costs], rtol=1e-12)
    assert (found.gaps == 0).all()
    assert sum(start is not None for start in starts_given) > 5


@pytest.mark.parametrize("seed", range(3))
def test_deterministic_answers_do_not_depend_on_what_was_met(seed, starts_given):
    model, costs = packing(seed), costs_of(seed)
    fresh = [HighsSolver(model).solve(row).decisions for row in costs]
    solver = HighsSolver(model)
    solver.solve(costs_of(seed + 100), deterministic=False)
    starts_given.clear()
    np.testing.assert_array_equal(solver.solve(costs).decisions, fresh)
    assert starts_given
    assert all(start is None for start in starts_given)


def test_given_starts_serve_deterministic_rows_in_any_order(starts_given):
    model, costs = packing(1), costs_of(1)
    starts = HighsSolver(model).solve(costs_of(5)).decisions
    one, other = HighsSolver(model, starts=starts), HighsSolver(model, starts=starts)
    other.solve(costs_of(9), deterministic=False)
    starts_given.clear()
    expected = one.solve(costs).decisions
    assert all(start is not None for start in starts_given)
    np.testing.assert_array_equal(other.solve(costs[::-1]).decisions[::-1], expected)
    oracle = enumerate_linear_model(model)
    np.testing.assert_array_equal((expected * costs).sum(axis=1), [oracle.optimum(row) for row in costs])


def test_an_optimum_that_is_known_is_found_again():
    model, costs = packing(2), costs_of(2)
    optima = HighsSolver(model).solve(costs)
    again = HighsSolver(model, starts=optima.decisions).solve(costs)
    np.testing.assert_array_equal(again.objectives, optima.objectives)
    assert set(again.statuses) == set(optima.statuses)


def test_the_best_start_is_the_one_of_the_least_objective():
    points = KnownPoints(np.array([[1.0, 0.0], [0.0, 1.0]]), most=2)
    points.add(np.array([1.0, 1.0]))
    assert points.best(np.array([-1.0, -2.0]), fixed_only=False).tolist() == [1.0, 1.0]
    assert points.best(np.array([-1.0, -2.0]), fixed_only=True).tolist() == [0.0, 1.0]
    assert points.best(np.array([1.0, 2.0]), fixed_only=False).tolist() == [1.0, 0.0]


def test_the_least_recently_met_point_is_forgotten_first():
    points = KnownPoints(np.zeros((0, 3)), most=2)
    assert points.best(np.ones(3), fixed_only=False) is None
    first, second, third = np.eye(3)
    for point in (first, second, first, third):
        points.add(point)
    kept = [points.best(-row, fixed_only=False).tolist() for row in (first, third)]
    assert kept == [first.tolist(), third.tolist()]
    assert points.best(-second, fixed_only=False).tolist() != second.tolist()


def test_rows_with_bounds_of_their_own_do_without_starts(starts_given):
    model, costs = packing(0), costs_of(0)
    solver = HighsSolver(model)
    solver.solve(costs, deterministic=False)
    starts_given.clear()
    upper = np.random.default_rng(3).integers(0, 2, size=costs.shape).astype(float)
    found = solver.solve(costs, instances={"column_upper": upper}, deterministic=False)
    assert (found.decisions <= upper).all()
    assert all(start is None for start in starts_given)
    free = solver.solve(costs, deterministic=False).objectives  # whose points were not mixed with those
    np.testing.assert_allclose(free, HighsSolver(model).solve(costs).objectives, rtol=1e-12)


def test_nothing_is_remembered_where_that_is_asked_for(starts_given):
    HighsSolver(packing(0), remembered=0).solve(costs_of(0), deterministic=False)
    assert starts_given
    assert all(start is None for start in starts_given)


def test_a_start_is_the_answer_of_a_row_without_time():
    model = packing(1)
    start = np.zeros((1, 8))
    solver = HighsSolver(model, starts=start, limits=Limits(seconds=1e-9), on_failure="incumbent")
    assert np.isfinite(solver.solve(costs_of(1, rows=1)).decisions).all()


@pytest.mark.parametrize(
    ("starts", "says"),
    [
        (np.ones((1, 8)), r"`starts\[0\]` must be a feasible point"),
        (np.vstack([np.zeros(8), np.full(8, 0.25)]), r"`starts\[1\]` must be"),
        (np.full((1, 8), -1.0), r"`starts\[0\]` must be"),
        (np.full((1, 8), np.nan), r"`starts\[0\]` must be"),
        (np.zeros(8), r"must have shape \(K, 8\)"),
        (np.zeros((2, 7)), r"must have shape \(K, 8\)"),
    ],
)
def test_starts_that_are_none_are_refused(starts, says):
    with pytest.raises(InvalidInputError, match=says):
        HighsSolver(packing(0), starts=starts)


@pytest.mark.parametrize("remembered", [-1, 1.5, True, "all"])
def test_counts_that_are_none_are_refused(remembered):
    with pytest.raises(InvalidInputError, match="`remembered` must be a whole number"):
        HighsSolver(packing(0), remembered=remembered)


def test_wrap_refuses_to_remember_for_functions():
    with pytest.raises(InvalidInputError, match="`remembered=` cannot be given with a function"):
        wrap(lambda costs: costs, shape=2, sense="min", remembered=3)
