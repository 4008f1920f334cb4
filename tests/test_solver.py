"""The solver interface: shapes, failure policies, bad input, and functions as solvers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imle_opt_solvers.errors import ImleOptError, InvalidInputError, SolveError
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.instances import flatten_instances, take_instance
from imle_opt_solvers.solution import Limits, Sense, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

STATUSES = (Status.OPTIMAL, Status.FEASIBLE, Status.LIMIT, Status.INFEASIBLE)


class Scripted(Solver):
    """Ends row i with STATUSES[i]."""

    def __init__(self, on_failure="raise"):
        super().__init__((2,), Sense.MAX, Traits(), on_failure=on_failure)

    def solve_rows(self, costs, instances, deterministic):
        statuses = STATUSES[: len(costs)]
        bad = np.array([not status.has_decision for status in statuses])
        decisions = np.where(bad[:, None], np.nan, 1.0) * np.ones((len(costs), 2))
        objectives = np.where(bad, np.nan, costs.sum(axis=1))
        return Solution(decisions, objectives, statuses, np.zeros(len(costs)), 0.0)


def one_hot_min(costs):
    return np.eye(3)[np.argmin(costs)]


@given(batch=st.lists(st.integers(0, 3), max_size=3))
def test_any_batch_shape_comes_back(batch):
    solution = FunctionSolver(one_hot_min, 3, "min").solve(np.ones((*batch, 3)))
    assert solution.decisions.shape == (*batch, 3)
    assert solution.objectives.shape == solution.gaps.shape == tuple(batch)
    assert len(solution.statuses) == np.prod(batch, dtype=int)


def test_raising_names_rows_statuses_and_what_to_do():
    with pytest.raises(SolveError) as raised:
        Scripted().solve(np.ones((4, 2)))
    message = str(raised.value)
    assert raised.value.rows == (1, 2, 3)
    for part in (
        "3 of 4 rows",
        "row 1: feasible",
        "row 3: infeasible",
        "on_failure='incumbent'",
        "time limit",
    ):
        assert part in message


def test_incumbents_are_returned_when_asked_for():
    solution = Scripted("incumbent").solve(np.ones((4, 2)))
    np.testing.assert_array_equal(np.isnan(solution.objectives), [False, False, True, True])
    assert solution.statuses == STATUSES


def test_nan_covers_every_row_without_a_proof():
    solution = Scripted("nan").solve(np.ones((4, 2)))
    np.testing.assert_array_equal(np.isnan(solution.decisions).all(axis=1), [False, True, True, True])


def test_another_failure_policy_leaves_the_solver_alone():
    solver = Scripted()
    assert solver.with_on_failure("nan").on_failure == "nan"
    assert solver.on_failure == "raise"
    with pytest.raises(InvalidInputError, match="on_failure"):
        Scripted("ignore")


def test_map_turns_the_sense():
    theta = np.array([0.0, 2.0, 1.0])
    np.testing.assert_array_equal(FunctionSolver(one_hot_min, 3, "min").map(theta), [0, 1, 0])
    largest = FunctionSolver(lambda costs: np.eye(3)[np.argmax(costs)], 3, "max")
    np.testing.assert_array_equal(largest.map(theta), [0, 1, 0])


def test_non_finite_costs_are_located():
    costs = np.ones((5, 3))
    costs[4, 2] = np.nan
    with pytest.raises(InvalidInputError, match=r"`costs`.*1 of 15.*row 4, entry 2"):
        FunctionSolver(one_hot_min, 3, "min").solve(costs)


@pytest.mark.parametrize(
    "bad",
    [np.ones(4), np.ones((3, 2)), 1.0, np.array(["a", "b", "c"]), np.ones(3, complex), [[1, 2, 3], [1, 2]]],
)
def test_misfit_costs_are_refused(bad):
    with pytest.raises(InvalidInputError, match="costs"):
        FunctionSolver(one_hot_min, 3, "min").solve(bad)


def test_integers_and_booleans_are_costs():
    solver = FunctionSolver(one_hot_min, 3, "min")
    np.testing.assert_array_equal(solver.solve([3, 1, 2]).decisions, [0, 1, 0])
    np.testing.assert_array_equal(solver.solve(np.array([True, False, True])).decisions, [0, 1, 0])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones(2), r"shape \(2,\)"),
        (np.array([1.0, np.nan, 0.0]), "NaN"),
        (np.array(["x"] * 3), "real numbers"),
        ([[1], [1, 2], 3], "ragged"),
    ],
)
def test_what_a_function_returns_is_checked(returned, message):
    with pytest.raises(InvalidInputError, match=message):
        FunctionSolver(lambda costs: returned, 3, "min").solve(np.ones(3))


def test_a_function_cannot_write_to_the_users_costs():
    def greedy(costs):
        costs[:] = 0
        return np.zeros(3)

    costs = np.ones((2, 3))
    FunctionSolver(greedy, 3, "min").solve(costs)
    np.testing.assert_array_equal(costs, 1)


def test_a_batched_function_is_called_once():
    calls = []

    def batched(costs):
        calls.append(costs.shape)
        return np.eye(3)[np.argmin(costs, axis=1)]

    solver = FunctionSolver(batched, 3, "min", batched=True)
    costs = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_array_equal(
        solver.solve(costs).decisions, FunctionSolver(one_hot_min, 3, "min").map(-costs)
    )
    assert calls == [(8, 3)]


def test_a_function_needs_a_sense():
    with pytest.raises(InvalidInputError, match="'min' or 'max'"):
        FunctionSolver(one_hot_min, 3, "minimum")


def test_a_function_must_be_one():
    with pytest.raises(InvalidInputError, match="`function`"):
        FunctionSolver(np.ones(3), 3, "min")


@pytest.mark.parametrize(
    "limits",
    [
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": "5"},
        {"relative_gap": 1},
        {"relative_gap": None},
        {"threads": 0},
        {"threads": 1.5},
    ],
)
def test_limits_out_of_range_are_refused(limits):
    with pytest.raises(InvalidInputError, match=next(iter(limits))):
        Limits(**limits)


def test_instances_flatten_and_take():
    given_ = {"rhs": {"a": np.arange(6).reshape(2, 3)}, "source": [["u", "v", "w"], ["x", "y", "z"]]}
    flat = flatten_instances(given_, (2, 3))
    np.testing.assert_array_equal(flat["rhs"]["a"], np.arange(6))
    assert take_instance(flat, 4) == {"rhs": {"a": 4}, "source": "y"}
    with pytest.raises(InvalidInputError, match="leading dimensions"):
        flatten_instances({"rhs": np.zeros(4)}, (2, 3))


def test_objects_per_row_are_kept_whole():
    nodes = [("a", 1), ("b", 2)]
    assert list(flatten_instances({"source": nodes}, (2,))["source"]) == nodes


def test_every_error_is_an_imle_opt_error():
    with pytest.raises(ImleOptError):
        FunctionSolver(one_hot_min, 3, "min").solve(np.full(3, np.nan))
    with pytest.raises(ValueError, match="finite"):
        FunctionSolver(one_hot_min, 3, "min").solve(np.full(3, np.nan))
