"""The conformance suite of solvers, shipped for those who write an adapter.

    case = SolverCase(name="my model", make_solver=make, optimum=oracle, draw_costs=draw)
    check_solver(case)                       # every check that applies; an AssertionError says what failed

In pytest, parametrise over `CHECKS` to see them one by one. Checks compare objectives with an oracle, never
decisions with decisions, except where the optimum is unique.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imle_opt_solvers.errors import InvalidInputError, SolveError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Sense, Status
from imle_opt_solvers.solver import Solver

__all__ = ["CHECKS", "InstanceCase", "SolverCase", "check_solver"]

_ROWS = 6


@dataclass(frozen=True)
class InstanceCase:
    """Per-row data and what they must lead to.

    Args:
        instances: entries with one item per row.
        optima: for each row, the oracle `costs (*shape,) -> objective`.
    """

    instances: Instances
    optima: tuple[Callable[[FloatArray], float], ...]


@dataclass(frozen=True)
class SolverCase:
    """One solver under test.

    Args:
        name: shown by pytest.
        make_solver: builds the solver anew, from a model built anew.
        optimum: the oracle: costs of one row (*shape,) to the optimal objective, in the model's own sense,
            fixed part and offset included.
        draw_costs: `(rng, n) -> (n, *shape)`, legal costs, continuous, so that ties have probability 0.
        feasible: whether one decision (*shape,) is feasible; None where the oracle's value is check enough.
        tied_costs: costs (n, *shape) at which optima tie; None for all-zero costs.
        tolerance: relative and absolute, of objectives.
        watch: builds the user's model, returns the solver made from it and a function that reads the model's
            state; the state must be the same after solving.
        infeasible: builds a solver of the same kind and shape whose model has no feasible decision; None
            where the constructor refuses such a model.
        unbounded: builds a solver and the costs (*shape,) under which it is unbounded.
        limited: builds a solver with a limit too tight for its model, and costs (*shape,) for it.
        rival: builds another solver (another engine) of the same model: objectives must agree.
        instance_case: per-row data, where the solver takes them.
    """

    name: str
    make_solver: Callable[[], Solver]
    optimum: Callable[[FloatArray], float]
    draw_costs: Callable[[np.random.Generator, int], FloatArray]
    feasible: Callable[[FloatArray], bool] | None = None
    tied_costs: FloatArray | None = None
    tolerance: float = 1e-7
    watch: Callable[[], tuple[Solver, Callable[[], object]]] | None = None
    infeasible: Callable[[], Solver] | None = None
    unbounded: Callable[[], tuple[Solver, FloatArray]] | None = None
    limited: Callable[[], tuple[Solver, FloatArray]] | None = None
    rival: Callable[[], Solver] | None = None
    instance_case: InstanceCase | None = None

    def costs(self, rows: int = _ROWS, seed: int = 0) -> FloatArray:
        """Draw `rows` rows of costs, the same for the same seed."""
        return np.asarray(self.draw_costs(np.random.default_rng(seed), rows), dtype=np.float64)


def check_solver(case: SolverCase) -> None:
    """Run every check on `case`.

    Raises:
        AssertionError: the first check that fails; the message names the case.
    """
    for check in CHECKS:
        check(case)


def check_optimal(case: SolverCase) -> None:
    """Objectives equal the oracle's, decisions are feasible and earn the objectives that are reported."""
    solver, costs = case.make_solver(), case.costs()
    solution = solver.solve(costs)
    assert solution.statuses == (Status.OPTIMAL,) * _ROWS, f"{case.name}: statuses {solution.statuses}"
    optima = np.array([case.optimum(row) for row in costs])
    _assert_close(solution.objectives, optima, case, "objectives against the oracle")
    if case.feasible is not None:
        for row, decision in enumerate(solution.decisions):
            assert case.feasible(decision), f"{case.name}: infeasible decision in row {row}: {decision}"
    if solver.traits.binary:
        assert np.isin(solution.decisions, (0.0, 1.0)).all(), f"{case.name}: decisions are not exactly 0 or 1"
    if solver.traits.cardinality is not None:
        ones = solution.decisions.reshape(_ROWS, -1).sum(axis=1)
        assert (ones == solver.traits.cardinality).all(), f"{case.name}: ones per decision: {ones}"


def check_sense(case: SolverCase) -> None:
    """`map` maximises `theta`, which is `costs` for a maximisation and `-costs` for a minimisation."""
    solver, costs = case.make_solver(), case.costs(2)
    theta = costs if solver.sense is Sense.MAX else -costs
    mapped, solved = solver.map(theta), solver.solve(costs)
    np.testing.assert_allclose(mapped, solved.decisions, atol=1e-5, err_msg=case.name)
    inner = np.sum(mapped * costs, axis=tuple(range(1, costs.ndim)))
    # An optimum under its own costs is at least as good there as the other row's optimum.
    crossed = np.sum(mapped[::-1] * costs, axis=tuple(range(1, costs.ndim)))
    fixed = solved.objectives - inner
    gain = (crossed + fixed[::-1]) - (inner + fixed)
    worst = gain.max() if solver.sense is Sense.MAX else -gain.min()
    assert worst <= case.tolerance * (1 + np.abs(inner).max()), (
        f"{case.name}: another row's decision is better"
    )


def check_shapes(case: SolverCase) -> None:
    """Any leading batch shape comes back, the empty one and a batch of nothing included."""
    solver = case.make_solver()
    shape, costs = solver.shape, case.costs()
    one = solver.solve(costs[0])
    assert one.decisions.shape == shape, case.name
    assert one.objectives.shape == (), case.name
    nested = solver.solve(costs.reshape(2, _ROWS // 2, *shape))
    assert nested.decisions.shape == (2, _ROWS // 2, *shape), case.name
    assert nested.objectives.shape == nested.gaps.shape == (2, _ROWS // 2), case.name
    assert len(nested.statuses) == _ROWS, case.name
    empty = solver.solve(np.empty((0, *shape)))
    assert empty.decisions.shape == (0, *shape), case.name
    assert empty.statuses == (), case.name


def check_rows_are_independent(case: SolverCase) -> None:
    """A row's answer does not depend on its neighbours, nor on what was solved before."""
    solver, costs = case.make_solver(), case.costs()
    together = solver.solve(costs)
    reversed_ = solver.solve(costs[::-1])
    np.testing.assert_allclose(reversed_.decisions[::-1], together.decisions, atol=1e-6, err_msg=case.name)
    alone = case.make_solver().solve(costs[3])
    np.testing.assert_allclose(alone.decisions, together.decisions[3], atol=1e-6, err_msg=case.name)


def check_ties(case: SolverCase) -> None:
    """Where optima tie, the objective is the oracle's, and the same row gets the same answer every time."""
    solver = case.make_solver()
    tied = np.zeros((1, *solver.shape)) if case.tied_costs is None else case.tied_costs
    first = solver.solve(tied)
    optima = np.array([case.optimum(row) for row in tied])
    _assert_close(first.objectives, optima, case, "objectives at ties")
    solver.solve(case.costs())
    again = solver.solve(tied)
    np.testing.assert_array_equal(
        again.decisions, first.decisions, err_msg=f"{case.name}: depends on history"
    )


def check_warm(case: SolverCase) -> None:
    """Solving from the last answer finds the same objectives."""
    solver, costs = case.make_solver(), case.costs(4 * _ROWS, seed=1)
    warm = solver.solve(costs, deterministic=False)
    optima = np.array([case.optimum(row) for row in costs])
    _assert_close(warm.objectives, optima, case, "objectives of warm solves")


def check_scales(case: SolverCase) -> None:
    """Very small and very large costs are solved as well as ordinary ones."""
    solver, costs = case.make_solver(), case.costs(2)
    fixed_part = _has_fixed_part(case, costs[0])
    for scale in (1e-8, 1e8):
        if fixed_part and scale < 1:
            continue
        optima = np.array([case.optimum(row) for row in costs * scale])
        found = solver.solve(costs * scale).objectives
        np.testing.assert_allclose(
            found, optima, rtol=1e-6, atol=1e-6 * scale, err_msg=f"{case.name}: costs x {scale}"
        )


def check_failures(case: SolverCase) -> None:
    """Infeasible, unbounded and limited rows carry their status, and raise by default."""
    expected = (
        (None if case.infeasible is None else (case.infeasible(), case.costs(1)[0]), (Status.INFEASIBLE,)),
        (None if case.unbounded is None else case.unbounded(), (Status.UNBOUNDED,)),
        (None if case.limited is None else case.limited(), (Status.LIMIT, Status.FEASIBLE)),
    )
    for made, statuses in expected:
        if made is None:
            continue
        solver, costs = made
        solution = solver.with_on_failure("nan").solve(costs)
        assert solution.statuses[0] in statuses, f"{case.name}: {solution.statuses[0]} is not in {statuses}"
        assert np.isnan(solution.decisions).all(), f"{case.name}: a failed row must be NaN"
        try:
            solver.with_on_failure("raise").solve(costs)
        except SolveError as error:
            assert error.rows == (0,), case.name
        else:
            raise AssertionError(f"{case.name}: {statuses[0]} did not raise")


def check_bad_input(case: SolverCase) -> None:
    """NaN, infinite, misshapen and non-numeric costs are refused with one clear error."""
    solver, good = case.make_solver(), case.costs(1)
    nan, infinite = good.copy(), good.copy()
    nan.flat[0], infinite.flat[-1] = np.nan, np.inf
    misshapen = np.zeros((2, *[size + 1 for size in solver.shape])) if solver.shape else np.array("text")
    for bad in (nan, infinite, misshapen, np.full(solver.shape, "a"), good.astype(complex)):
        try:
            solver.solve(bad)
        except InvalidInputError as error:
            assert "costs" in str(error), f"{case.name}: the message must name `costs`: {error}"
        else:
            raise AssertionError(f"{case.name}: accepted bad costs {bad!r}")
    try:
        solver.solve(good, instances={"no such name": np.zeros(1)})
    except InvalidInputError as error:
        assert "no such name" in str(error), case.name
    else:
        raise AssertionError(f"{case.name}: accepted an unknown name in `instances`")


def check_pickling(case: SolverCase) -> None:
    """A solver survives pickling, before and after it has solved."""
    solver, costs = case.make_solver(), case.costs(2)
    fresh = pickle.loads(pickle.dumps(solver))
    expected = solver.solve(costs)
    used = pickle.loads(pickle.dumps(solver))
    for copy in (fresh, used):
        assert (copy.shape, copy.sense, copy.traits, copy.names) == (
            solver.shape,
            solver.sense,
            solver.traits,
            solver.names,
        ), case.name
        _assert_close(copy.solve(costs).objectives, expected.objectives, case, "objectives after pickling")


def check_model_unchanged(case: SolverCase) -> None:
    """Wrapping and solving leave the user's model as it was, and `costs` too."""
    costs = case.costs()
    given = costs.copy()
    if case.watch is None:
        case.make_solver().solve(costs)
    else:
        solver, state = case.watch()
        before = state()
        solver.solve(costs)
        solver.solve(costs, deterministic=False)
        assert state() == before, f"{case.name}: the user's model has changed"
    np.testing.assert_array_equal(costs, given, err_msg=f"{case.name}: `costs` was written to")


def check_agreement(case: SolverCase) -> None:
    """Two engines of one model find the same objectives."""
    if case.rival is None:
        return
    costs = case.costs(2 * _ROWS, seed=2)
    mine, other = case.make_solver().solve(costs), case.rival().solve(costs)
    _assert_close(mine.objectives, other.objectives, case, "objectives of the two engines")


def check_instances(case: SolverCase) -> None:
    """Each row is solved over its own region, and the model's own region is back afterwards."""
    if case.instance_case is None:
        return
    solver = case.make_solver()
    optima = case.instance_case.optima
    costs = case.costs(len(optima))
    found = solver.solve(costs, instances=case.instance_case.instances).objectives
    expected = np.array([optimum(row) for optimum, row in zip(optima, costs, strict=True)])
    _assert_close(found, expected, case, "objectives with instances")
    plain = solver.solve(costs).objectives
    _assert_close(plain, np.array([case.optimum(row) for row in costs]), case, "objectives after instances")


CHECKS: tuple[Callable[[SolverCase], None], ...] = (
    check_optimal,
    check_sense,
    check_shapes,
    check_rows_are_independent,
    check_ties,
    check_warm,
    check_scales,
    check_failures,
    check_bad_input,
    check_pickling,
    check_model_unchanged,
    check_agreement,
    check_instances,
)


def _assert_close(found: FloatArray, expected: FloatArray, case: SolverCase, what: str) -> None:
    np.testing.assert_allclose(
        found, expected, rtol=case.tolerance, atol=case.tolerance, err_msg=f"{case.name}: {what}"
    )


def _has_fixed_part(case: SolverCase, costs: FloatArray) -> bool:
    """Whether the optimum is not homogeneous in the costs: something besides them counts."""
    return not np.isclose(case.optimum(2 * costs), 2 * case.optimum(costs), rtol=1e-9)
