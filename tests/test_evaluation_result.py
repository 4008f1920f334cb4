"""What the result of an evaluation says of itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import linear_models as models
from imle_opt.evaluation.cost_sample import CostSample, SampledCosts
from imle_opt.evaluation.picture import ItemsPicture, picture_of
from imle_opt.evaluation.result import (
    STATUSES,
    Evaluation,
    MethodResult,
    ModelFacts,
    PredictionErrors,
    Role,
    Timings,
    status_counts,
)
from imle_opt_solvers import FunctionSolver, Knapsack, Sense, SpanningTree, Status, grid_path
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.structured_solver import linear_solver

OPTIMAL, FEASIBLE, LIMIT = (STATUSES.index(each) for each in (Status.OPTIMAL, Status.FEASIBLE, Status.LIMIT))


def codes(*each):
    return np.array(each, dtype=np.uint8)


def method(**changes):
    settings = {
        "name": "a",
        "role": Role.PREDICTED,
        "seeds": ("0",),
        "regrets": np.array([[0.0, 2.0, np.nan]]),
        "achieved_objectives": np.array([[5.0, 7.0, np.nan]]),
        "tolerances": np.full((1, 3), 1e-6),
        "worst_case_regrets": np.array([[1.0, 2.0, np.nan]]),
        "hamming_distances": np.array([[2.0, 1.0, np.nan]]),
        "statuses": codes(OPTIMAL, OPTIMAL, LIMIT)[None],
        "gaps": np.array([[0.0, 0.0, np.nan]]),
        "errors": PredictionErrors(*np.ones((4, 1))),
        "worst_rows": (),
        "sampled_costs": SampledCosts(np.empty(0), np.empty(0)),
        "seconds": 1.0,
    }
    return MethodResult(**{**settings, **changes})


def evaluation(methods, **changes):
    settings = {
        "model": ModelFacts("m", "highs", Sense.MIN, (2,), None, True, None, 0.0, 1e-6),
        "inputs": (),
        "versions": {},
        "created": "2026-01-01T00:00:00+00:00",
        "optimal_objectives": np.array([5.0, 5.0, 5.0]),
        "true_statuses": codes(OPTIMAL, OPTIMAL, OPTIMAL),
        "true_gaps": np.zeros(3),
        "methods": tuple(methods),
        "baseline": None,
        "failures": (),
        "timings": Timings(0.0, 1.0, 0.0, 1.0, 1),
        "solves": 6,
        "picture": None,
    }
    return Evaluation(**{**settings, **changes})


def test_flags_per_row():
    one = method()
    assert one.measured.tolist() == [[True, True, False]]
    assert one.optimal.tolist() == [[True, False, False]]
    assert one.exact_matches.tolist() == [[False, False, False]]
    assert one.has_ties.tolist() == [[True, False, False]]
    assert method(worst_case_regrets=None).has_ties is None


def test_gaps_and_counts():
    proven = evaluation([method()])
    assert proven.num_rows == 3
    assert proven.largest_oracle_gap == proven.largest_gap == 0
    within = evaluation([method(gaps=np.array([[0.3, 0.0, np.nan]]))], true_gaps=np.array([0, 0.02, 0]))
    assert (within.largest_oracle_gap, within.largest_gap) == (0.02, 0.3)
    unknown = evaluation([], true_statuses=codes(FEASIBLE, LIMIT, OPTIMAL), true_gaps=np.array([np.nan] * 3))
    assert unknown.largest_oracle_gap == np.inf
    lost = {"optimal_objectives": np.array([np.nan, 5, 5]), "true_gaps": np.array([np.nan, 0, 0])}
    failed = evaluation([], true_statuses=codes(LIMIT, OPTIMAL, OPTIMAL), **lost)
    assert failed.largest_oracle_gap == 0
    assert status_counts(codes(LIMIT, OPTIMAL, OPTIMAL)) == {"optimal": 2, "limit": 1}
    assert proven.method("a") is proven.methods[0]
    with pytest.raises(KeyError):
        proven.method("b")


def test_pictures():
    cells = picture_of(grid_path((2, 3)))
    assert cells.costs_on == "vertices"
    np.testing.assert_array_equal(cells.positions, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])
    tree = picture_of(SpanningTree(np.array([[0, 1], [1, 2], [0, 2]])))
    assert (tree.costs_on, tree.positions) == ("edges", None)
    assert picture_of(FunctionSolver(lambda costs: costs, 2, "min")) is None


def test_pictures_of_knapsacks_by_any_name():
    weights, capacities = [[3, 4, 2, 5, 1, 4], [2, 1, 5, 3, 2, 2]], [9, 7]
    model = models.knapsack()
    for solver in (Knapsack(weights, capacities), HighsSolver(model), linear_solver(model, None, "raise")):
        items = picture_of(solver)
        assert isinstance(items, ItemsPicture)
        np.testing.assert_array_equal(items.weights, weights)
        np.testing.assert_array_equal(items.capacities, capacities)
    for other in (models.assignment(), models.polygon(), models.facility_location()):
        assert picture_of(HighsSolver(other)) is None


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (3, 5), (60, 36), (7, 400), (1000, 40), (401, 1)])
def test_sampled_costs_do_not_depend_on_blocks(rows, size):
    table = np.arange(rows * size, dtype=float).reshape(rows, size)
    sample = CostSample(rows, size)
    whole = sample.take(table, 0)
    assert len(whole) == sample.count == min(400, rows * size)
    for length in (1, 2, 7, rows):
        cut = [sample.take(table[start : start + length], start) for start in range(0, rows, length)]
        np.testing.assert_array_equal(np.concatenate(cut), whole)
    seen = np.unique(whole // size)
    assert len(seen) == min(rows, 400)
    assert len(np.unique(whole % size)) >= min(size, sample.count) / 2


def test_the_result_loads_no_torch():
    code = (
        "import sys, imle_opt.evaluation.result\nassert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
