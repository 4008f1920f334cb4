"""Batches on the HiGHS engine: optima certified by reduced costs, against enumeration and cold solves."""

from __future__ import annotations

import itertools
import signal
from dataclasses import replace

import numpy as np
import pytest

import linear_models as models
from imle_opt_solvers.engines import highs, walker
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.engines.highs_object import HighsObject
from imle_opt_solvers.engines.pace import Pace
from imle_opt_solvers.engines.walker import Walker
from imle_opt_solvers.kernels import simplex
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.solution import Limits, Status
from oracles import optimum_of


def random_model(seed, integer):
    """Small integer data: degenerate vertices, ranges, equalities, negative lower bounds."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-2, 3, size=(4, 6))
    inside = rng.integers(-1, 2, size=6)
    middle = matrix @ inside
    lower = np.where(rng.random(4) < 0.5, middle - rng.integers(0, 3, 4), -np.inf)
    upper = np.where(rng.random(4) < 0.7, middle + rng.integers(0, 2, 4), np.inf)
    if rng.random() < 0.5:
        lower[0] = upper[0] = middle[0]
    return models.linear_model("min", matrix, lower, upper, -1, 1, integer, predicted=range(6))


def batch(seed, rows=48, size=6, whole=False):
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, size=(rows, size)).astype(float) if whole else rng.normal(size=(rows, size))


def one_by_one(model, costs):
    """Cold solves: too few rows in one solver for a walk."""
    solvers = [HighsSolver(model) for _ in range(len(costs) // 30 + 1)]
    return [solvers[at // 30].solve(row) for at, row in enumerate(costs)]


def walked(model, costs):
    start = HighsObject(model.relaxed(), Limits()).feasible_basis()
    return Walker(model, start).walk(costs)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_batch_equals_cold_solves_of_its_rows_bit_for_bit(seed, integer, whole):
    model = random_model(seed, integer)
    costs = batch(seed, whole=whole)
    found = HighsSolver(model).solve(costs)
    alone = one_by_one(model, costs)
    np.testing.assert_array_equal(found.decisions, [each.decisions for each in alone])
    np.testing.assert_array_equal(found.objectives, [each.objectives for each in alone])


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_batches_match_enumeration(seed, deterministic):
    model = random_model(seed, integer=True)
    costs = np.concatenate([batch(seed), batch(seed, whole=True)])
    found = HighsSolver(model).solve(costs, deterministic=deterministic).objectives
    oracle = enumerate_linear_model(model)
    np.testing.assert_allclose(found, [oracle.optimum(row) for row in costs], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_walk_calls_optimal_is_so_and_what_it_calls_certain_is_the_only_optimum(seed):
    model = random_model(seed, integer=False)
    costs = np.concatenate([batch(seed), batch(seed, whole=True)])
    found = walked(model, costs)
    assert found.optimal.mean() > 0.9
    oracle = HighsSolver(model)
    for row, point, certain in zip(costs, found.points, found.certain, strict=True):
        best = oracle.solve(row).objectives
        assert row @ point == pytest.approx(best, abs=1e-9)
        if certain:  # then the optimum of nearby costs is the same point
            for direction in np.random.default_rng(1).normal(size=(4, 6)):
                near = oracle.solve(row + 1e-10 * direction).decisions
                np.testing.assert_allclose(near, point, atol=1e-7)


def test_a_tie_is_never_called_certain():
    model = models.assignment()
    tied = np.random.default_rng(3).integers(0, 2, size=(64, 9)).astype(float)
    points = np.array([np.eye(3)[list(order)].ravel() for order in itertools.permutations(range(3))])
    values = tied @ points.T
    unique = (np.isclose(values, values.min(axis=1, keepdims=True)).sum(axis=1)) == 1
    found = walked(model, tied)
    assert 0 < unique.sum() < 64
    assert not found.certain[~unique].any()


def test_ties_in_a_batch_do_not_depend_on_its_order_or_chunks():
    costs = np.random.default_rng(3).integers(0, 2, size=(120, 3, 3)).astype(float)
    expected = [each.decisions for each in one_by_one(models.assignment(), costs)]
    solver = HighsSolver(models.assignment())
    solver.solve(np.random.default_rng(4).normal(size=(64, 3, 3)))
    order = np.random.default_rng(5).permutation(120)
    np.testing.assert_array_equal(solver.solve(costs[order]).decisions, np.array(expected)[order])
    for chunk in (1, 7, 60):
        parts = [solver.solve(costs[at : at + chunk]).decisions for at in range(0, 120, chunk)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e9, 1e150])
def test_the_scale_of_a_batch_does_not_matter(scale):
    costs = batch(2, size=9).reshape(-1, 3, 3)
    plain = HighsSolver(models.assignment()).solve(costs).decisions
    np.testing.assert_array_equal(HighsSolver(models.assignment()).solve(costs * scale).decisions, plain)


def test_a_walk_leaves_unbounded_rows_to_highs_and_goes_on():
    model = replace(models.polygon(), column_upper=np.full(4, np.inf), row_upper=np.full(3, np.inf))
    costs = np.random.default_rng(6).normal(size=(64, 3))
    solver = HighsSolver(model, on_failure="nan")
    alone = [*map(solver.solve, costs[:31]), *map(HighsSolver(model, on_failure="nan").solve, costs[31:62])]
    costs, found = costs[:62], HighsSolver(model, on_failure="nan").solve(costs[:62])
    assert {Status.UNBOUNDED, Status.OPTIMAL} <= set(found.statuses)
    assert found.statuses == tuple(each.statuses[0] for each in alone)
    np.testing.assert_array_equal(found.objectives, [each.objectives for each in alone])


def test_an_infeasible_model_is_not_walked():
    model = replace(models.knapsack(), row_upper=np.array([-1.0, 7.0]))
    solution = HighsSolver(model, on_failure="nan").solve(np.ones((64, 6)))
    assert set(solution.statuses) == {Status.INFEASIBLE}


def test_rows_with_bounds_of_their_own_are_not_walked():
    costs = np.random.default_rng(8).normal(size=(64, 6))
    upper = np.random.default_rng(9).integers(0, 2, size=(64, 6)).astype(float)
    solver = HighsSolver(models.knapsack())
    solver.solve(costs)
    found = solver.solve(costs, instances={"column_upper": upper}).decisions
    assert (found <= upper).all()


def test_a_walk_saves_the_solves(monkeypatch):
    calls = []
    run = HighsObject.run
    monkeypatch.setattr(HighsObject, "run", lambda *given, **more: calls.append(1) or run(*given, **more))
    monkeypatch.setattr(Pace, "rows_to_walk", lambda self, rows: rows)  # however busy the machine is
    HighsSolver(models.assignment().relaxed()).solve(np.random.default_rng(0).normal(size=(320, 3, 3)))
    assert len(calls) < 10


def test_mixed_models_with_fixed_costs_in_a_batch():
    costs = np.random.default_rng(10).uniform(0, 2, size=(48, 2, 3))
    optimum = optimum_of(models.facility_location)
    found = HighsSolver(models.facility_location()).solve(costs).objectives
    np.testing.assert_allclose(found, [optimum(row) for row in costs], atol=1e-9)


def test_a_walk_that_is_slower_than_solves_is_given_up(monkeypatch):
    monkeypatch.setattr(highs.Walker, "walk", _refuse)
    solver = HighsSolver(models.assignment().relaxed())
    pace = solver._engines.get(solver._make_engine)._paces[True]
    for _ in range(3):
        pace.note_walk(1.0, 1, settled=1)
        pace.note_solve(1e-4)
    assert solver.solve(np.random.default_rng(0).normal(size=(64, 3, 3))).decisions.shape == (64, 3, 3)


def _refuse(self, costs, seconds):
    raise AssertionError("walked")


@pytest.mark.parametrize(("settled", "rows"), [(0, 0), (2, 0), (8, 512), (10, 512)])
def test_a_walk_pays_for_the_rows_that_it_settles_only(settled, rows):
    pace = Pace(3)
    pace.begin(32)
    for _ in range(3):
        pace.note_walk(seconds=5.0, rows=10, settled=settled)
        pace.note_solve(1.0)
    assert pace.rows_to_walk(10_000) == rows


def test_a_batch_is_walked_a_little_first_and_what_did_not_pay_is_tried_again():
    pace = Pace(3)
    pace.begin(1_000_000)
    wasted = 0
    for _ in range(100):
        rows = pace.rows_to_walk(1_000_000)
        if rows:
            pace.note_walk(1.0, rows, settled=0)
            wasted += rows
        for _ in range(pace.solves_wanted()):
            pace.note_solve(1e-3)
    assert 2 * 32 <= wasted <= 32 + 32 * 100 * 512 / 4096


def test_fractional_vertices_stop_the_walks():
    pairs = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]  # each pair up to 1.5
    model = models.linear_model("max", pairs, [-np.inf] * 3, [1.5] * 3, 0, 1, False, predicted=range(3))
    solver = HighsSolver(model)
    costs = np.random.default_rng(0).uniform(1, 2, size=(256, 3))
    found = solver.solve(costs).decisions
    assert (found != np.round(found)).any(axis=1).all()
    walker = solver._engines.get(_no_engine)._walker
    walks = []
    walker.walk = lambda *given: walks.append(given)  # would break the unpacking of what it found
    np.testing.assert_array_equal(solver.solve(costs).decisions, found)
    assert not walks


def _no_engine():
    raise AssertionError("no engine yet")


@pytest.mark.parametrize("work", [1, 500])
def test_a_walk_in_small_steps_ends_where_a_walk_at_once_does(monkeypatch, work):
    model, costs = models.assignment(), batch(2, size=9)
    at_once = walked(model, costs)
    monkeypatch.setattr(walker, "WORK", work)
    in_steps = walked(model, costs)
    assert in_steps.certain.all()
    np.testing.assert_array_equal(in_steps.points, at_once.points)
    np.testing.assert_array_equal(in_steps.exact, at_once.exact)


def test_a_row_that_takes_too_long_ends_the_walk_of_that_row_alone(monkeypatch):
    model = models.assignment().relaxed()
    costs = batch(2, size=model.num_columns)
    expected = HighsSolver(model).solve(costs.reshape(-1, *model.predicted.shape))
    monkeypatch.setattr(walker, "WORK", 1)
    walk = walker.Walker.walk
    monkeypatch.setattr(
        walker.Walker, "walk", lambda self, rows, seconds=1e3: walk(self, rows, seconds / 1e12)
    )
    solver = HighsSolver(model, limits=Limits(seconds=1000), on_failure="nan")
    found = solver.solve(costs.reshape(-1, *model.predicted.shape))
    done = np.array([status is Status.OPTIMAL for status in found.statuses])
    np.testing.assert_array_equal(found.decisions[done], expected.decisions[done])
    assert set(found.statuses) == {Status.OPTIMAL, Status.LIMIT}


def test_an_interrupt_between_two_steps_leaves_the_solver_usable(monkeypatch):
    monkeypatch.setattr(walker, "WORK", 1)
    model = models.assignment().relaxed()
    costs = batch(2, rows=64, size=9).reshape(-1, 3, 3)
    expected = HighsSolver(model).solve(costs).decisions
    solver = HighsSolver(model)
    walk, steps = simplex.walk, itertools.count()

    def interrupted(*given):
        walk(*given)
        if next(steps) == 20:
            signal.raise_signal(signal.SIGINT)

    # Whatever ran before in this process may have taken Python's handler away.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(simplex, "walk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.solve(costs)
    signal.signal(signal.SIGINT, handler)
    np.testing.assert_array_equal(solver.solve(costs).decisions, expected)
