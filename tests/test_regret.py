"""Regret against enumeration: both senses, fixed costs, ties, batches, and what must be refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.errors import InvalidInputError, RegretError, SolveError
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.regret import evaluate, normalized_regret, regret
from imle_opt_solvers.solution import Limits, Sense, Solution, Status
from imle_opt_solvers.solver import CostDomain, Solver, Traits
from linear_models import INF, knapsack, linear_model


class PoolSolver(Solver):
    """Chooses from a list of decisions: plainly correct, ties to the first one."""

    def __init__(self, decisions, sense, *, fixed=None, nonnegative=False, binary=True, statuses=None):
        self.decisions = np.asarray(decisions, dtype=float)
        self.fixed = np.zeros(len(self.decisions)) if fixed is None else np.asarray(fixed, dtype=float)
        self.forced = statuses
        domain = CostDomain.NONNEGATIVE if nonnegative else CostDomain.ANY
        traits = Traits(binary=binary, cost_domain=domain, takes_instances=("fixed",), engine="pool")
        super().__init__(self.decisions.shape[1:], Sense(sense), traits)
        self.solved = 0

    def solve_rows(self, costs, instances, deterministic):
        assert deterministic
        if self.traits.cost_domain is CostDomain.NONNEGATIVE:
            assert (costs >= 0).all()
        self.solved += len(costs)
        fixed = self.fixed if instances is None else instances["fixed"]
        objectives = costs.reshape(len(costs), -1) @ self.decisions.reshape(len(self.decisions), -1).T + fixed
        chosen = (-self.sense.sign * objectives).argmin(axis=1)
        rows = np.arange(len(costs))
        statuses = self.forced or (Status.OPTIMAL,) * len(costs)
        gaps = np.array([0.0 if status is Status.OPTIMAL else np.nan for status in statuses])
        return Solution(self.decisions[chosen], objectives[rows, chosen], statuses, gaps, 0.0)


def enumerated(decisions, fixed, sense, predicted, true):
    """Worst-tie regret, and best-tie regret, of one row by listing every decision."""
    worse = 1.0 if sense == "min" else -1.0
    seen = worse * (decisions @ predicted + fixed)
    real = worse * (decisions @ true + fixed)
    ties = real[seen <= seen.min() + 1e-9]
    return ties.max() - real.min(), ties.min() - real.min()


def facility():
    """Two predicted assignments and two unpredicted, costly openings: the fixed part decides."""
    matrix = [[1, 1, 0, 0], [1, 0, -1, 0], [0, 1, 0, -1]]
    return linear_model(
        "min",
        matrix,
        [1, -INF, -INF],
        [INF, 0, 0],
        0,
        1,
        True,
        predicted=[0, 1],
        fixed_costs=[0, 0, 7.0, 4.0],
        offset=11.0,
    )


@pytest.mark.parametrize(
    ("linear", "sense"), [(knapsack(), "max"), (knapsack(sense="min"), "min"), (facility(), "min")]
)
def test_regret_equals_enumeration(linear, sense):
    everything = enumerate_linear_model(linear)
    rng = np.random.default_rng(3)
    centre = 3 if sense == "max" else -3
    true = rng.normal(centre, 3, (12, *linear.predicted.shape))
    predicted = true + rng.normal(0, 2, true.shape)
    report = evaluate(HighsSolver(linear), predicted, true)
    worse = 1.0 if sense == "min" else -1.0
    for row in range(12):
        seen = worse * everything.objectives(predicted[row])
        real = worse * everything.objectives(true[row])
        assert report.regrets[row] == pytest.approx(real[seen.argmin()] - real.min(), abs=1e-9)
        assert report.optimal_objectives[row] == pytest.approx(everything.optimum(true[row]), abs=1e-9)
        assert report.worst_case_regrets[row] == pytest.approx(report.regrets[row], abs=1e-9)
    regrets, optima = report.regrets, np.abs(report.optimal_objectives)
    assert report.mean_regret == pytest.approx(regrets.mean())
    assert report.normalized_regret == pytest.approx(regrets.sum() / optima.sum())
    assert report.normalized_regret_mean_of_ratios == pytest.approx((regrets / optima).mean())
    assert report.normalized_regret != pytest.approx(report.normalized_regret_mean_of_ratios)
    assert report.optimal_share == pytest.approx((regrets < 1e-9).mean())
    assert 0 < report.optimal_share < 1
    assert report.tied_rows == ()


def test_perfect_predictions_have_no_regret():
    solver = HighsSolver(knapsack())
    true = np.random.default_rng(0).normal(1, 3, (8, 6))
    report = evaluate(solver, true, true)
    assert report.normalized_regret == 0
    assert report.normalized_worst_case_regret == 0
    assert report.optimal_share == report.exact_match_share == 1
    assert report.mean_hamming == 0
    assert report.solves == 16


def test_fixed_costs_count_in_both_objectives():
    # Opening 0 costs 7 and opening 1 costs 4; predictions of (1, 5) choose 1 + 7 = 8 over 5 + 4 = 9.
    report = evaluate(HighsSolver(facility()), [1.0, 5.0], [3.0, 2.0])
    assert report.achieved_objectives == pytest.approx(3 + 7 + 11)
    assert report.optimal_objectives == pytest.approx(2 + 4 + 11)
    assert report.regrets == pytest.approx(4)
    assert report.regrets.shape == ()
    assert report.hamming_distances == 2
    assert not report.exact_matches


@pytest.mark.parametrize("sense", ["min", "max"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_worst_case_is_the_worst_tie(sense, data):
    """Small integers make many ties; every decision has a fixed part of its own."""
    entries = st.integers(-3, 3)
    decisions = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    fixed = np.array(data.draw(st.lists(entries, min_size=8, max_size=8)), dtype=float)
    rows = st.lists(st.lists(entries, min_size=3, max_size=3), min_size=2, max_size=2)
    predicted = np.array(data.draw(rows), dtype=float)
    true = np.array(data.draw(rows), dtype=float)
    report = evaluate(PoolSolver(decisions, sense, fixed=fixed), predicted, true)
    assert (report.regrets >= 0).all()
    for row in range(2):
        worst, best = enumerated(decisions, fixed, sense, predicted[row], true[row])
        assert report.worst_case_regrets[row] == pytest.approx(worst, abs=1e-9)
        assert best - 1e-9 <= report.regrets[row] <= worst + 1e-9
        assert (row in report.tied_rows) == (worst > report.regrets[row] + 1e-9)


@pytest.mark.parametrize("sense", ["min", "max"])
def test_worst_case_on_a_mixed_integer_engine(sense):
    linear = knapsack(sense=sense)
    everything = enumerate_linear_model(linear)
    rng = np.random.default_rng(7)
    predicted = rng.integers(-1, 3, (15, 6)).astype(float)
    true = rng.normal(1, 2, (15, 6))
    report = evaluate(HighsSolver(linear), predicted, true)
    points = everything.decisions
    worst = [enumerated(points, everything.fixed, sense, predicted[row], true[row])[0] for row in range(15)]
    np.testing.assert_allclose(report.worst_case_regrets, worst, atol=1e-7)
    assert report.tied_rows
    assert report.tied_share == len(report.tied_rows) / 15
    assert report.normalized_worst_case_regret > report.normalized_regret


def test_worst_case_of_a_constant_prediction():
    """All-zero costs tie everything: the worst case is the worst decision."""
    decisions = np.eye(4)
    true = np.array([[3.0, 1.0, 8.0, 2.0]])
    report = evaluate(PoolSolver(decisions, "min"), np.zeros((1, 4)), true)
    assert report.worst_case_regrets[0] == pytest.approx(7)


def test_worst_case_keeps_costs_non_negative():
    decisions = np.eye(3)
    solver = PoolSolver(decisions, "min", nonnegative=True)
    predicted = np.array([[1.0, 1.0, 5.0], [0.0, 0.0, 5.0], [0.01, 0.01, 5.0]])
    true = np.array([[2.0, 6.0, 9.0], [2.0, 6.0, 9.0], [2.0, 6.0, 9.0]])
    report = evaluate(solver, predicted, true)
    assert report.worst_case_regrets[0] == pytest.approx(4)
    assert np.isnan(report.worst_case_regrets[1])
    assert report.worst_case_regrets[2] == pytest.approx(4)
    assert report.undetermined_worst_case_rows == (1,)
    assert any("could not be determined (row 1)" in note for note in report.notes)
    assert report.tied_share == 1.0
    assert report.mean_worst_case_regret == pytest.approx(4)


def test_worst_case_of_an_unbounded_set_of_ties_is_undetermined():
    linear = linear_model("min", [[1.0, 1.0]], 1, INF, 0, INF, False, predicted=[0, 1])
    report = evaluate(HighsSolver(linear), [[1.0, 0.0]], [[1.0, 2.0]])
    assert report.undetermined_worst_case_rows == (0,)


def test_a_curved_region_has_no_ties():
    """Minimising over the unit circle: z = -c / |c|, unique, and it moves with every perturbation."""

    def project(costs):
        return -costs / np.linalg.norm(costs)

    predicted, true = np.array([[1.0, 2.0]]), np.array([[2.0, 1.0]])
    report = evaluate(FunctionSolver(project, 2, "min"), predicted, true)
    expected = np.sqrt(5) - 4 / np.sqrt(5)
    assert report.regrets[0] == pytest.approx(expected)
    assert report.worst_case_regrets[0] == pytest.approx(expected)
    assert report.tied_rows == ()


def test_ties_of_a_linear_program():
    """max x + y on a simplex-like region: an edge of ties, whose worst end the solver need not return."""
    linear = linear_model("max", [[1.0, 1.0]], -INF, 1, 0, INF, False, predicted=[0, 1])
    report = evaluate(HighsSolver(linear), [[1.0, 1.0], [1.0, 1.0]], [[5.0, 1.0], [1.0, 5.0]])
    np.testing.assert_allclose(report.worst_case_regrets, [4, 4], atol=1e-9)
    assert len(report.tied_rows) == 1


@pytest.mark.parametrize("sense", ["min", "max"])
def test_a_wrong_sense_is_found(sense):
    def choose(costs):
        best = costs.argmax() if sense == "min" else costs.argmin()
        return np.eye(len(costs))[best]

    predicted = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]
    true = [[1.0, 2.0, 3.5], [1.0, 2.0, 3.5]]
    with pytest.raises(RegretError, match=rf"1 of 2 rows \(worst in row 1\).*better by 2\.5.*{sense}imise"):
        evaluate(FunctionSolver(choose, 3, sense), predicted, true)


def test_rounding_below_zero_is_clipped():
    decisions = np.eye(2)

    class Rounding(Solver):
        def solve_rows(self, costs, instances, deterministic):
            objectives = costs[:, 0] + 1e-9
            statuses = (Status.OPTIMAL,) * len(costs)
            return Solution(decisions[[0] * len(costs)], objectives, statuses, np.zeros(len(costs)), 0.0)

    solver = Rounding((2,), Sense.MIN, Traits())
    true = np.array([[1.0, 2.0]])
    earlier = solver.solve(true)
    better = Solution(earlier.decisions, earlier.objectives + 1e-8, earlier.statuses, earlier.gaps, 0.0)
    assert regret(solver, true, true, true_solution=better)[0] == 0
    worse = Solution(earlier.decisions, earlier.objectives + 1e-4, earlier.statuses, earlier.gaps, 0.0)
    with pytest.raises(RegretError, match="`true_solution` belongs to other costs"):
        regret(solver, true, true, true_solution=worse)


def test_a_proven_gap_widens_the_tolerance():
    solver = PoolSolver(np.eye(2), "min")
    true = np.array([[10.0, 11.0]])
    earlier = solver.solve(true)
    incumbent = Solution(np.array([[0.0, 1.0]]), np.array([11.0]), earlier.statuses, np.array([0.1]), 0.0)
    report = evaluate(solver, true, true, true_solution=incumbent)
    assert report.regrets[0] == 0
    assert report.unproven_rows == (0,)
    assert any("without proof of optimality" in note for note in report.notes)
    proven = Solution(incumbent.decisions, incumbent.objectives, earlier.statuses, np.array([0.05]), 0.0)
    with pytest.raises(RegretError):
        evaluate(solver, true, true, true_solution=proven)


def test_zero_optima_are_named():
    solver = HighsSolver(knapsack())
    rng = np.random.default_rng(1)
    true = np.vstack([-rng.uniform(1, 2, 6), rng.uniform(1, 2, 6)])
    predicted = rng.uniform(1, 2, (2, 6))
    report = evaluate(solver, predicted, true)
    assert report.optimal_objectives[0] == 0
    assert report.regrets[0] > 0
    assert report.undefined_ratio_rows == (0,)
    assert report.normalized_regret == pytest.approx(report.regrets.sum() / report.optimal_objectives[1])
    expected = report.regrets[1] / report.optimal_objectives[1]
    assert report.normalized_regret_mean_of_ratios == pytest.approx(expected)
    assert any("optimum of zero" in note and "row 0" in note for note in report.notes)


def test_all_optima_zero_leaves_both_ratios_undefined():
    report = evaluate(HighsSolver(knapsack()), np.ones((1, 6)), -np.ones((1, 6)))
    assert report.mean_regret > 0
    assert np.isnan(report.normalized_regret)
    assert np.isnan(report.normalized_regret_mean_of_ratios)
    assert any("ratio of sums is undefined" in note for note in report.notes)
    assert report.summary()["normalized_regret_ratio_of_sums"] is None
    assert "undefined" in str(report)


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (3, 0)])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_batch_shapes(batch, shape):
    weights = [[3, 4, 2, 5, 1, 4]]
    linear = linear_model("max", weights, -INF, 9, 0, 1, True, predicted=range(6), shape=shape)
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(1, 2, (2, *batch, *shape))
    report = evaluate(HighsSolver(linear), predicted, true)
    for array in (report.regrets, report.worst_case_regrets, report.hamming_distances, report.tolerances):
        assert array.shape == batch
    assert report.rows == np.prod(batch, dtype=int)
    assert len(report.true_statuses) == report.rows
    if report.rows == 0:
        assert np.isnan(report.normalized_regret)
        assert report.notes == ("there are no rows",)
    elif batch:
        one = tuple(0 for _ in batch)
        alone = regret(HighsSolver(linear), predicted[one], true[one])
        assert report.regrets[one] == pytest.approx(alone, abs=1e-12)


def test_instances_reach_every_solve():
    decisions = np.eye(3)
    solver = PoolSolver(decisions, "min")
    predicted = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    true = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    instances = {"fixed": np.array([[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])}
    report = evaluate(solver, predicted, true, instances=instances)
    np.testing.assert_allclose(report.regrets, [0, 0])
    np.testing.assert_allclose(report.worst_case_regrets, [1, 2])


def test_a_given_true_solution_saves_its_solves():
    solver = PoolSolver(np.eye(3), "min")
    rng = np.random.default_rng(0)
    predicted, true = rng.uniform(1, 2, (2, 7, 3))
    known = solver.solve(true)
    before = solver.solved
    report = evaluate(solver, predicted, true, true_solution=known, worst_case=False)
    assert solver.solved - before == report.solves == 7
    assert report.normalized_regret == normalized_regret(solver, predicted, true)
    assert report.worst_case_regrets is None
    assert np.isnan(report.normalized_worst_case_regret)
    with pytest.raises(InvalidInputError, match="true_solution"):
        evaluate(solver, predicted, true, true_solution=solver.solve(true[:3]))


def test_solves_are_counted():
    solver = PoolSolver(np.eye(3), "min")
    rng = np.random.default_rng(0)
    report = evaluate(solver, *rng.uniform(1, 2, (2, 50, 3)))
    # Two per row, one for its worst tie, and more where the second-best decision is close.
    assert 150 <= report.solves <= 250


def test_rows_without_a_decision_are_left_out_and_named():
    matrix = [[1.0, 1.0]]
    unbounded = linear_model("min", matrix, 1, INF, 0, INF, False, predicted=[0, 1])
    predicted = np.array([[1.0, 2.0], [-1.0, 2.0], [2.0, 1.0]])
    true = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    with pytest.raises(SolveError, match=r"With the predicted costs: 1 of 3.*row 1: unbounded") as caught:
        evaluate(HighsSolver(unbounded), predicted, true)
    assert caught.value.rows == (1,)
    with pytest.raises(SolveError, match="With the true costs"):
        evaluate(HighsSolver(unbounded), true, predicted)
    report = evaluate(HighsSolver(unbounded, on_failure="nan"), predicted, true)
    assert report.unmeasured_rows == (1,)
    np.testing.assert_allclose(report.regrets, [0, np.nan, 1])
    assert report.mean_regret == pytest.approx(0.5)
    assert report.normalized_regret == pytest.approx(0.5)
    assert report.optimal_share == report.exact_match_share == 0.5
    assert any(note.startswith("1 row without a decision") for note in report.notes)
    assert report.summary()["predicted_statuses"] == {"optimal": 2, "unbounded": 1}


def test_incumbents_are_measured_and_flagged():
    solver = PoolSolver(np.eye(2), "min", statuses=(Status.OPTIMAL, Status.FEASIBLE)).with_on_failure(
        "incumbent"
    )
    costs = np.array([[1.0, 2.0], [1.0, 2.0]])
    report = evaluate(solver, costs, costs, worst_case=False)
    assert report.unproven_rows == (1,)
    assert report.unmeasured_rows == ()
    solver = PoolSolver(np.eye(2), "min", statuses=(Status.FEASIBLE,)).with_on_failure("incumbent")
    report = evaluate(solver, costs[:1], costs[:1])
    assert report.undetermined_worst_case_rows == (0,)


def test_a_relative_gap_is_no_error():
    limited = HighsSolver(knapsack(), limits=Limits(relative_gap=0.5))
    rng = np.random.default_rng(0)
    report = evaluate(limited, *rng.uniform(1, 9, (2, 20, 6)))
    assert (report.regrets >= 0).all()
    assert report.unproven_rows


def test_functions_are_not_taken_for_proofs():
    report = evaluate(
        FunctionSolver(lambda costs: np.eye(2)[costs.argmin()], 2, "min"), [1.0, 2.0], [2.0, 1.0]
    )
    assert any("does not prove" in note for note in report.notes)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(1e-9, 1e9),
    predicted_scale=st.floats(1e-9, 1e9),
    seed=st.integers(0, 1000),
)
def test_regret_is_homogeneous_and_never_negative(scale, predicted_scale, seed):
    """Scaling the predictions changes nothing; scaling the true costs scales the regret."""
    rng = np.random.default_rng(seed)
    decisions = rng.integers(0, 2, (12, 5)).astype(float)
    predicted, true = rng.normal(0, 1, (2, 3, 5))
    solver = PoolSolver(decisions, "max")
    plain = evaluate(solver, predicted, true)
    scaled = evaluate(solver, predicted_scale * predicted, scale * true)
    assert (scaled.regrets >= 0).all()
    np.testing.assert_allclose(scaled.regrets, scale * plain.regrets, atol=1e-6 * scale)
    np.testing.assert_array_equal(scaled.optimal, plain.optimal)
    np.testing.assert_allclose(scaled.worst_case_regrets, scale * plain.worst_case_regrets, atol=1e-6 * scale)


def test_hamming_counts_entries():
    solver = PoolSolver([[1, 0, 0, 1], [0, 1, 1, 1]], "min")
    report = evaluate(solver, [[1.0, 1, 1, 1], [5, 1, 1, 1]], [[5.0, 1, 1, 1], [5, 1, 1, 1]])
    np.testing.assert_array_equal(report.hamming_distances, [3, 0])
    np.testing.assert_array_equal(report.exact_matches, [False, True])
    assert report.mean_hamming == 1.5
    assert report.exact_match_share == 0.5


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 3)), r"same shape.*\(2, 3\) and \(3, 3\)"),
        (np.ones((2, 4)), np.ones((2, 3)), r"`predicted_costs` must have shape"),
        (np.ones((2, 3)), np.full((2, 3), np.nan), r"`true_costs` must be finite.*row 0, entry 0"),
        (np.array([["a", "b", "c"]]), np.ones((1, 3)), r"`predicted_costs` must hold real numbers"),
    ],
)
def test_bad_costs_are_named(predicted, true, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate(PoolSolver(np.eye(3), "min"), predicted, true)


def test_bad_tolerance():
    with pytest.raises(InvalidInputError, match="tolerance"):
        evaluate(PoolSolver(np.eye(3), "min"), np.ones(3), np.ones(3), tolerance=-1)


def test_outputs_name_both_ratios():
    report = evaluate(PoolSolver(np.eye(2), "min"), [[1.0, 2.0]], [[2.0, 1.0]])
    text = str(report)
    assert "normalised regret (ratio of sums)" in text
    assert "normalised regret (mean of ratios)" in text
    summary = report.summary()
    assert summary["normalized_regret_ratio_of_sums"] == summary["normalized_regret_mean_of_ratios"] == 1.0
    assert summary["engine"] == "pool"


def test_equal_sums_in_another_order_are_no_regret():
    decisions = [[1.0, 1, 0], [0, 0, 1]]
    assert 0.1 + 0.2 != 0.3
    report = evaluate(PoolSolver(decisions, "min"), [[0.0, 0, 1]], [[0.1, 0.2, 0.3]])
    assert report.hamming_distances[0] == 3
    assert report.regrets[0] == 0
