"""Batches of mixed-integer models: a branch and bound that keeps its tree, against enumeration and HiGHS."""

from __future__ import annotations

import numpy as np
import pytest

import linear_models as models
from imle_opt_solvers.engines import brancher, highs
from imle_opt_solvers.engines.brancher import Brancher
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.engines.highs_object import HighsObject
from imle_opt_solvers.engines.vertex import Vertices
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.solution import Limits, Status

ROWS = 60


def mixed_model(seed, *, continuous=3, sense="min"):
    """Small integer data: ranges, an equality, negative bounds, integers of four values, fixed costs."""
    rng = np.random.default_rng(seed)
    columns = 6
    matrix = rng.integers(-3, 4, size=(4, columns))
    inside = rng.integers(-1, 3, size=columns)
    middle = matrix @ inside
    lower = np.where(rng.random(4) < 0.5, middle - rng.integers(0, 4, 4), -np.inf)
    upper = np.where(rng.random(4) < 0.7, middle + rng.integers(0, 3, 4), np.inf)
    if seed % 3 == 0:
        lower[0] = upper[0] = middle[0]
    integer = rng.permutation(columns) >= continuous
    predicted = np.sort(rng.permutation(columns)[:4])
    fixed = np.where(np.isin(np.arange(columns), predicted), 0.0, rng.normal(size=columns))
    return models.linear_model(
        sense, matrix, lower, upper, -1, 2, integer, predicted=predicted, fixed_costs=fixed, offset=0.5
    )


def batch(model, seed, rows=ROWS, scale=1.0):
    """Costs of a few instances, each perturbed some times."""
    rng = np.random.default_rng(seed)
    shape = model.predicted.shape
    base = np.repeat(rng.normal(size=(rows // 6 + 1, *shape)), 6, axis=0)[:rows]
    return scale * (base + 0.3 * rng.normal(size=base.shape))


def searched(model, costs, **options):
    """Return what a search says of a batch, and the objectives of its points."""
    relaxation = HighsObject(model.relaxed(), Limits())
    total = np.stack([-model.sense.sign * model.total_costs(row.ravel()) for row in costs])
    search = Brancher(model, relaxation.feasible_basis())
    walked = search.walk(total, **options)
    objectives = np.einsum("bc,bc->b", total, walked.points)
    return walked, -model.sense.sign * objectives + model.offset


@pytest.mark.parametrize("sense", ["min", "max"])
@pytest.mark.parametrize("continuous", [0, 3])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_called_optimal_is_so_and_what_is_called_certain_is_the_only_optimum(seed, continuous, sense):
    model = mixed_model(seed, continuous=continuous, sense=sense)
    oracle = enumerate_linear_model(model)
    costs = batch(model, seed)
    walked, objectives = searched(model, costs)
    assert walked.optimal.mean() > 0.9
    for row in np.flatnonzero(walked.optimal):
        values = oracle.objectives(costs[row])
        best = oracle.optimum(costs[row])
        assert abs(objectives[row] - best) < 1e-9 * (1 + abs(best))
        near = oracle.decisions[np.abs(values - best) < 1e-10]
        if walked.certain[row]:
            assert np.abs(near - near[0]).max() < 1e-6
        assert np.abs(walked.points[row][model.predicted.columns] - near).max(axis=1).min() < 1e-7


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_batches_match_enumeration_whatever_was_solved_before(seed, deterministic):
    model = mixed_model(seed)
    oracle, solver = enumerate_linear_model(model), HighsSolver(model)
    for number in range(3):
        costs = batch(model, 10 * seed + number, scale=10.0 ** (3 * number))
        found = solver.solve(costs, deterministic=deterministic)
        expected = np.array([oracle.optimum(row) for row in costs])
        np.testing.assert_allclose(found.objectives, expected, rtol=1e-9, atol=1e-9 * 10.0 ** (3 * number))


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_equals_cold_solves_of_its_rows_bit_for_bit(monkeypatch, seed):
    model = mixed_model(seed)
    costs = batch(model, seed)
    alone = np.concatenate([HighsSolver(model).solve(row[None]).decisions for row in costs])
    solves = []
    solve = HighsObject.run
    monkeypatch.setattr(HighsObject, "run", lambda self, *a, **k: solves.append(0) or solve(self, *a, **k))
    np.testing.assert_array_equal(HighsSolver(model).solve(costs).decisions, alone)
    assert len(solves) < len(costs)  # or nothing was searched
    np.testing.assert_array_equal(HighsSolver(model).solve(costs[::-1]).decisions[::-1], alone)


def test_shares_of_capacitated_facilities_are_the_same_bits_alone_and_in_a_batch():
    rng = np.random.default_rng(5)
    demands, sites = np.array([3.0, 2.0, 4.0]), 2
    matrix, upper = np.zeros((5, 8)), np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    for site in range(sites):
        for customer in range(3):
            matrix[customer, sites + 3 * site + customer] = 1
            matrix[3 + site, sites + 3 * site + customer] = demands[customer]
        matrix[3 + site, site] = -7
    model = models.linear_model(
        "min",
        matrix,
        [1, 1, 1, -np.inf, -np.inf],
        upper,
        0,
        1,
        [True, True] + [False] * 6,
        predicted=range(2, 8),
        fixed_costs=[0.7, 0.4] + [0] * 6,
    )
    costs = rng.uniform(1, 4, size=(ROWS, 6))
    found = HighsSolver(model).solve(costs).decisions
    assert (found != np.round(found)).any(axis=1).sum() > 10
    alone = np.concatenate([HighsSolver(model).solve(row[None]).decisions for row in costs])
    np.testing.assert_array_equal(found, alone)


def test_a_tie_between_two_nodes_is_never_called_certain():
    model = models.linear_model("max", [[2, 2, 2]], -np.inf, 3, 0, 1, True, predicted=range(3))
    walked, objectives = searched(model, np.array([[1.0, 1.0, 0.5], [1.0, 0.9, 0.5]]))
    np.testing.assert_array_equal(walked.optimal, True)
    np.testing.assert_array_equal(walked.certain, [False, True])
    np.testing.assert_array_equal(objectives, 1.0)


def test_a_model_without_whole_points_is_infeasible_in_a_batch_too():
    model = models.linear_model("min", [[2, 2]], 1, 1, 0, 3, True, predicted=range(2))
    found = HighsSolver(model, on_failure="nan").solve(np.ones((ROWS, 2)))
    assert set(found.statuses) == {Status.INFEASIBLE}


def test_unbounded_rows_are_left_to_highs_and_their_neighbours_are_not_harmed():
    model = models.linear_model(
        "min", [[1, 1, -1]], -np.inf, 2.5, 0, [3, 3, np.inf], [True, True, False], predicted=range(3)
    )
    costs = np.tile([-1.0, -2.0, 0.7], (ROWS, 1))
    costs[::7, 2] = -1.0
    found = HighsSolver(model, on_failure="incumbent").solve(costs)
    expected = [Status.UNBOUNDED if row % 7 == 0 else Status.OPTIMAL for row in range(ROWS)]
    assert list(found.statuses) == expected
    oracle = min(-a - 2 * b + 0.7 * max(0.0, a + b - 2.5) for a in range(4) for b in range(4))
    np.testing.assert_allclose(np.delete(found.objectives, np.s_[::7]), oracle)


def test_a_tree_that_is_full_is_grown_anew_and_a_row_that_fills_it_alone_is_left_open(monkeypatch):
    monkeypatch.setattr(brancher, "_MOST_BYTES", 0)
    model = models.knapsack()
    costs = np.random.default_rng(0).uniform(1, 5, size=(200, 6))
    oracle = enumerate_linear_model(model)
    expected = [oracle.optimum(row) for row in costs]
    for nodes in (3, 9):
        monkeypatch.setattr(brancher, "_FEWEST_NODES", nodes)
        monkeypatch.setattr(brancher, "_GIVES_UP_AFTER", len(costs))
        walked, objectives = searched(model, costs)
        assert 0.1 < walked.optimal.mean() < (0.9 if nodes == 3 else 1.01)
        np.testing.assert_allclose(objectives[walked.optimal], np.array(expected)[walked.optimal])
    np.testing.assert_allclose(HighsSolver(model).solve(costs).objectives, expected)


def test_rows_without_time_for_a_search_are_left_open_and_the_rest_is_not_tried():
    model = mixed_model(1)
    walked, _ = searched(model, batch(model, 0), seconds=1e-9)
    assert not walked.optimal.any()


def test_searches_that_settle_nothing_are_given_up(monkeypatch):
    model = mixed_model(1)
    costs = batch(model, 0, rows=600)
    monkeypatch.setattr(brancher, "_ROW_WORK", 1)
    solver = HighsSolver(model)
    expected = solver.solve(costs).objectives
    walk = Brancher.walk
    calls = []
    monkeypatch.setattr(Brancher, "walk", lambda *given: calls.append(0) or walk(*given))
    np.testing.assert_array_equal(solver.solve(costs).objectives, expected)
    assert len(calls) <= 1


def test_rows_whose_optimum_hangs_on_tolerances_are_the_same_alone_and_in_a_batch():
    """HiGHS takes 2,000 for within 1999.9995, an exact search does not."""
    matrix = [[1000, 1000, 7], [1, 1, 1]]
    model = models.linear_model("max", matrix, -np.inf, [1999.9995, 2], 0, 1, True, predicted=range(3))
    costs = np.random.default_rng(0).uniform(1, 5, size=(ROWS, 3))
    solver = HighsSolver(model)
    found = [solver.solve(costs).decisions for _ in range(2)]
    alone = [solver.solve(row).decisions for row in costs]
    cold = [HighsSolver(model).solve(row).decisions for row in costs]
    for other in (*found, alone):
        np.testing.assert_array_equal(other, cold)


def test_single_rows_of_a_solver_that_knows_the_model_equal_cold_ones():
    model = mixed_model(2)
    costs = batch(model, 3, rows=80)
    solver = HighsSolver(model)
    warm = [solver.solve(row).decisions for row in costs]
    cold = [HighsSolver(model).solve(row).decisions for row in costs]
    np.testing.assert_array_equal(warm, cold)


@pytest.mark.parametrize("value", [1e-6, 5e-7])
def test_small_values_that_cost_much_are_not_taken_for_zero(value):
    """`max 2e6 x + .15 z1 + .03 z2, x <= value z1, 2 z1 + 2 z2 <= 3`: x = value at z1 = 1."""
    matrix = [[1, -value, 0], [0, 2, 2], [0, 1, -1]]
    kinds = [False, True, True]
    model = models.linear_model("max", matrix, -np.inf, [0, 3, 1], 0, 1, kinds, predicted=range(3))
    costs = np.array([[2e6, 0.15, 0.03]])
    for rows in (1, ROWS):
        for deterministic in (True, False):
            found = HighsSolver(model).solve(np.repeat(costs, rows, axis=0), deterministic=deterministic)
            np.testing.assert_allclose(found.objectives, 2e6 * value + 0.15, rtol=1e-9)


@pytest.mark.parametrize("sense", ["min", "max"])
def test_bounds_of_integers_that_rounding_moved_are_the_numbers_meant(sense):
    upper, lower = (0.1 + 0.7) * 10, 2 + 4e-16  # 7.999999999999999 and 2.0000000000000004
    model = models.linear_model(
        sense, [[1, 1]], -np.inf, 100, [lower, 0], [upper, 5], True, predicted=range(2)
    )
    costs = np.random.default_rng(0).uniform(1, 2, size=(2 * ROWS, 2))
    for deterministic in (True, False):
        found = HighsSolver(model).solve(costs, deterministic=deterministic).decisions
        np.testing.assert_array_equal(
            found, np.tile([8.0, 5.0] if sense == "max" else [2.0, 0.0], (2 * ROWS, 1))
        )


def test_integers_between_fractional_bounds_are_settled():
    model = models.linear_model("max", [[2, 3, 4]], -np.inf, 11, 0, [2.5, 1.5, 2.5], True, predicted=range(3))
    costs = np.random.default_rng(0).uniform(1, 5, size=(ROWS, 3))
    walked, objectives = searched(model, costs)
    oracle = enumerate_linear_model(model)
    assert walked.optimal.all()
    np.testing.assert_allclose(objectives, [oracle.optimum(row) for row in costs])


def test_rows_that_may_end_within_a_gap_are_the_same_alone_and_in_a_batch():
    model = models.knapsack()
    costs = np.random.default_rng(3).uniform(1, 5, size=(ROWS, 6))
    limits = Limits(relative_gap=0.3)
    found = HighsSolver(model, limits=limits).solve(costs).decisions
    alone = [HighsSolver(model, limits=limits).solve(row).decisions for row in costs]
    np.testing.assert_array_equal(found, alone)
    assert (found != HighsSolver(model).solve(costs).decisions).any()  # or the gap is too small for a test


def test_the_vertex_is_that_of_the_constraints_that_bind():
    """Two constraints bind at (1/3, 2/7); the third does not."""
    model = models.linear_model(
        "min",
        [[3, 0, 1], [0, 7, 1], [1, 1, 0]],
        [2, 3, -np.inf],
        [9, 9, 9],
        0,
        1,
        [False, False, True],
        predicted=range(3),
    )
    vertices, exact = Vertices(model), np.array([1 / 3, 2 / 7, 1.0])
    for error in (0.0, 1e-8, -1e-7):
        found = vertices.find(exact + np.array([error, -error, 0]), clear=False)
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-15)
        np.testing.assert_array_equal(found, vertices.find(exact, clear=False))
    assert vertices.find(np.array([0.5, 0.5, 1.0]), clear=False) is None  # inside: no vertex
    np.testing.assert_array_equal(vertices.find(np.array([1.0 - 1e-8, 2 / 7, 1.0]), clear=False)[0], 1.0)
    assert vertices.find(np.array([1.0 - 1e-5, 2 / 7, 1.0]), clear=True) is None  # at its bound or not?


def test_models_without_continuous_columns_need_no_vertex():
    assert (
        highs._Engine(models.knapsack(), Limits(), highs.KnownPoints(np.zeros((0, 6)), 0))._vertices is None
    )
