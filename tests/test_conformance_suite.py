"""The conformance suite itself: it must catch solvers that are wrong on purpose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.solution import Sense, Solution, Status
from imle_opt_solvers.solver import Solver, Traits
from imle_opt_solvers.testing import SolverCase, check_solver

POINTS = np.array([p for p in itertools.product((0.0, 1.0), repeat=4) if 1 <= sum(p) <= 3 and p[0] >= p[3]])


def cheapest(costs):
    return POINTS[np.argmin(POINTS @ costs)]


class Enumerating(Solver):
    """Correct by construction; subclasses below break one thing each."""

    def __init__(self):
        super().__init__((4,), Sense.MIN, Traits(binary=True))

    def choose(self, costs, row):
        return cheapest(costs)

    def objective(self, costs, decision):
        return float(costs @ decision)

    def solve_rows(self, costs, instances, deterministic):
        decisions = np.array([self.choose(row, index) for index, row in enumerate(costs)])
        objectives = np.array([self.objective(*pair) for pair in zip(costs, decisions, strict=True)])
        rows = len(costs)
        return Solution(decisions, objectives, (Status.OPTIMAL,) * rows, np.zeros(rows), 0.0)


class WrongSense(Enumerating):
    def choose(self, costs, row):
        return POINTS[np.argmax(POINTS @ costs)]


class MirroredSense(Enumerating):
    """Says min, and takes a maximisation's costs: right objectives for its own optimum only."""

    def choose(self, costs, row):
        return cheapest(-costs)


class IgnoresLaterRows(Enumerating):
    def solve_rows(self, costs, instances, deterministic):
        return super().solve_rows(np.repeat(costs[:1], len(costs), axis=0), instances, deterministic)


class DependsOnHistory(Enumerating):
    def __init__(self):
        super().__init__()
        self.seen = 0

    def choose(self, costs, row):
        best = np.flatnonzero(np.isclose(POINTS @ costs, (POINTS @ costs).min()))
        self.seen += 1
        return POINTS[best[self.seen % len(best)]]


class Fractional(Enumerating):
    def choose(self, costs, row):
        return np.where(cheapest(costs) == 1, 1 - 1e-9, 0.0)


class WritesToCosts(Enumerating):
    def solve_rows(self, costs, instances, deterministic):
        solution = super().solve_rows(costs, instances, deterministic)
        costs *= 2
        return solution


class Infeasible(Enumerating):
    """Reports the right objective beside a decision outside the region."""

    def choose(self, costs, row):
        return np.zeros(4)

    def objective(self, costs, decision):
        return float((POINTS @ costs).min())


def case(make_solver, **more):
    return SolverCase(
        name="toy",
        make_solver=make_solver,
        optimum=lambda costs: float((POINTS @ costs).min()),
        draw_costs=lambda rng, rows: rng.normal(size=(rows, 4)),
        feasible=lambda decision: bool((decision == POINTS).all(axis=1).any()),
        **more,
    )


def test_a_correct_solver_passes():
    check_solver(case(Enumerating))
    check_solver(case(lambda: FunctionSolver(cheapest, 4, "min")))


@pytest.mark.parametrize(
    "broken",
    [WrongSense, MirroredSense, IgnoresLaterRows, DependsOnHistory, Fractional, WritesToCosts, Infeasible],
)
def test_a_broken_solver_is_caught(broken):
    with pytest.raises(AssertionError):
        check_solver(case(broken))


def test_an_incumbent_called_an_optimum_is_caught():
    with pytest.raises(AssertionError):
        check_solver(case(Enumerating, limited=lambda: (Enumerating(), np.ones(4))))


def test_a_changed_model_is_caught():
    def watch():
        solver, state = Enumerating(), []
        solver.choose = lambda costs, row: (state.append(row), cheapest(costs))[1]
        return solver, lambda: len(state)

    with pytest.raises(AssertionError, match="model has changed"):
        check_solver(case(Enumerating, watch=watch))


def test_disagreeing_engines_are_caught():
    shifted = FunctionSolver(lambda costs: POINTS[np.argmin(POINTS @ np.roll(costs, 1))], 4, "min")
    with pytest.raises(AssertionError, match="two engines"):
        check_solver(case(Enumerating, rival=lambda: shifted))
