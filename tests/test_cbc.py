"""CBC as an engine of linear models: its files, statuses, limits, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pytest

import linear_models as models
from imle_opt_solvers.adapters.pulp_problem import find_cbc
from imle_opt_solvers.engines.cbc import CbcSolver
from imle_opt_solvers.engines.mps_text import MpsText, bounds_of_row
from imle_opt_solvers.reference import enumerate_linear_model, knapsack_optimum
from imle_opt_solvers.solution import Limits, Status


def cbc(model, **options):
    return CbcSolver(model, find_cbc(), **options)


def every_kind_of_bound():
    """Free, fixed, boxed, half-open and integer columns; free, ranged, equal and one-sided rows."""
    inf = np.inf
    return models.linear_model(
        "min",
        np.arange(1, 31).reshape(5, 6) % 7 - 3,
        [-inf, -2, 1 / 3, -inf, 0],
        [inf, 6, 1 / 3, -1.5, inf],
        [-inf, 2, -3, -inf, 0, 0.1],
        [inf, 2, -1, -2, inf, 1e12],
        [False, False, True, True, True, False],
        predicted=range(6),
    )


def test_integer_preprocessing_loses_no_optimum():
    # With its preprocessing, CBC calls 5.05 optimal here; z below is feasible, and worth 6.57.
    matrix = [[6.85, -6.85, -6.85, -5.48, -5.48], [-1.37, 0, -1.37, -6.85, 5.48]]
    upper, integer = [1, 3, 4, 0, 1], [True, False, False, True, False]
    lower = [0, 1, 2, -1e6, -1]
    model = models.linear_model(
        "max", matrix, [-np.inf, 2.74], [-19.92, 2.74], lower, upper, integer, predicted=range(5)
    )
    costs = np.array([-2.20155712, 0.0998818, 1.18208455, 0.17374005, 0.88206603])
    z = np.array([0, 3, 4, -1, 0.25])
    np.testing.assert_allclose(model.activities(z)[1], 2.74)
    assert model.activities(z)[0] <= -19.92
    assert cbc(model).solve(costs).objectives == pytest.approx(costs @ z)


def test_the_written_file_is_the_model_to_the_last_digit(tmp_path):
    model = every_kind_of_bound()
    costs = np.array([0.1, -1 / 3, 1e-17, np.pi * 1e9, 0.0, -2.0])
    path = tmp_path / "model.mps"
    path.write_text(MpsText(model).minimise(costs, bounds_of_row(model, None, 0)))
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(path)) == highspy.HighsStatus.kOk
    lp = highs.getLp()
    np.testing.assert_array_equal(lp.col_cost_, costs)
    np.testing.assert_array_equal(lp.col_lower_, model.column_lower)
    np.testing.assert_array_equal(lp.col_upper_, model.column_upper)
    np.testing.assert_array_equal(lp.row_lower_, model.row_lower[1:])  # the reader drops the free row
    np.testing.assert_array_equal(lp.row_upper_, model.row_upper[1:])
    assert [kind == highspy.HighsVarType.kInteger for kind in lp.integrality_] == model.integrality.tolist()


@pytest.mark.parametrize("spread", [1e-3, 1e-7])
def test_near_ties_are_told_apart(spread):
    """CBC by itself stops at solutions that are within 1e-5 of the best."""
    rng = np.random.default_rng(5)
    weights = rng.integers(5, 20, size=14)
    profits = 3.0 + spread * rng.normal(size=(6, 14))
    model = models.linear_model("max", weights, -np.inf, 60, 0, 1, True, predicted=range(14))
    found = cbc(model).solve(profits)
    best = [knapsack_optimum(row, weights, 60) for row in profits]
    np.testing.assert_allclose(found.objectives, best, rtol=0, atol=spread * 1e-6)


def test_continuous_answers_keep_all_digits():
    model = models.linear_model("max", [3.0, 7.0], -np.inf, 1.0, 0, np.inf, False, predicted=range(2))
    found = cbc(model).solve([1.0, 2.0])
    assert found.decisions[0] == 1 / 3, "CBC's text file says 0.33333333"


def hard_model():
    rng = np.random.default_rng(1)
    weights = rng.uniform(1, 9, size=(20, 60))
    return models.linear_model("max", weights, -np.inf, 130, 0, 1, True, predicted=range(60)), rng.uniform(
        5, 9, 60
    )


def test_an_incumbent_at_the_time_limit_is_feasible_and_not_optimal():
    model, costs = hard_model()
    solver = cbc(model, limits=Limits(seconds=0.3), on_failure="incumbent")
    started = time.perf_counter()
    found = solver.solve(costs)
    assert time.perf_counter() - started < 5
    assert found.statuses == (Status.FEASIBLE,)
    assert (model.activities(found.decisions) <= 130 + 1e-6).all()
    assert 0 < found.gaps < 0.2


def test_a_relative_gap_is_reached_and_reported():
    model, costs = hard_model()
    found = cbc(model, limits=Limits(relative_gap=0.1, threads=2)).solve(costs)
    assert found.statuses == (Status.OPTIMAL,)
    assert 0 < found.gaps <= 0.1


@pytest.mark.parametrize("integer", [False, True])
def test_infeasible_and_unbounded_are_told_apart(integer):
    ray = models.linear_model("max", [1.0, -1.0], -1, 1, 0, np.inf, integer, predicted=range(2))
    solver = cbc(ray, on_failure="nan")
    assert solver.solve([[1.0, 1.0], [-1.0, -1.0]]).statuses == (Status.UNBOUNDED, Status.OPTIMAL)
    empty = replace(ray, row_starts=np.array([0, 0]), row_columns=ray.row_columns[:0], row_values=np.empty(0))
    empty = replace(empty, row_lower=np.array([0.5]))
    assert cbc(empty, on_failure="nan").solve([1.0, 1.0]).statuses == (Status.INFEASIBLE,)


def test_integers_without_a_feasible_point():
    odd = models.linear_model("max", [2.0, 2.0], 3, 3, 0, 5, True, predicted=range(2))
    assert cbc(odd, on_failure="nan").solve([1.0, 1.0]).statuses == (Status.INFEASIBLE,)


def test_a_model_without_constraints():
    free = models.linear_model(
        "min", np.zeros((0, 2)), [], [], [-1, 2], [3, 5], [True, False], predicted=range(2)
    )
    np.testing.assert_array_equal(cbc(free).solve([1.0, -1.0]).decisions, [-1, 5])


def test_bounds_that_cross_in_one_row_fail_that_row_alone():
    solver = cbc(models.knapsack(), on_failure="nan")
    found = solver.solve(np.ones((2, 6)), instances={"column_upper": {"x0": np.array([1.0, -1.0])}})
    assert found.statuses == (Status.OPTIMAL, Status.INFEASIBLE)


def test_instances_move_bounds_of_columns():
    model = models.knapsack()
    uppers = np.array([[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1.0]])
    found = cbc(model).solve(np.ones((2, 6)), instances={"column_upper": uppers})
    expected = [
        enumerate_linear_model(replace(model, column_upper=upper)).optimum(np.ones(6)) for upper in uppers
    ]
    np.testing.assert_allclose(found.objectives, expected)


def test_a_program_that_fails_is_an_error_and_not_an_optimum():
    broken = CbcSolver(models.knapsack(), sys.executable, on_failure="nan")
    assert broken.solve(np.ones(6)).statuses == (Status.ERROR,)


def test_nothing_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    cbc(models.knapsack()).solve(np.ones((2, 6)))
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import numpy as np
from imle_opt_solvers.adapters.pulp_problem import find_cbc
from imle_opt_solvers.engines.cbc import CbcSolver
from test_cbc import hard_model
model, costs = hard_model()
CbcSolver(model, find_cbc()).solve(costs)
"""


def processes_in(folder):
    """Return the processes that work in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = (entry / "cwd").readlink().is_relative_to(folder)
        except OSError:  # gone, or not ours
            continue
        if inside:
            found.append(int(entry.name))
    return found


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_interrupting_leaves_no_process_and_no_files(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    running = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE)
    with running:
        wait_until(lambda: processes_in(tmp_path))
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
