"""Regret: what it costs to decide by predicted costs, measured under the true ones.

    regret(c_hat; c) = obj(z(c_hat); c) - obj(z(c); c)       for a minimisation
                       obj(z(c); c) - obj(z(c_hat); c)       for a maximisation

with z(c) an optimal decision under the costs c, and obj the model's own objective: predicted costs, fixed
costs and offset. It is at least 0, and 0 exactly where the decision is optimal for the true costs.

Two aggregates go by the name of normalised regret, and both are reported by name:

    ratio of sums      sum_i regret_i / sum_i |obj(z(c_i); c_i)|        Elmachtoub and Grigas, 2022
    mean of ratios     mean_i (regret_i / |obj(z(c_i); c_i)|)

The first weighs instances by their size and is defined unless the optima are all zero; the second weighs them
equally, and leaves out the instances whose optimum is zero.

All solves here are deterministic. Rows are numbered from 0, in the row-major order of the batch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imle_opt_solvers._checks import check_costs
from imle_opt_solvers._decided import Decided
from imle_opt_solvers._ties import TieProblem, WorstTies, find_worst_ties
from imle_opt_solvers.errors import InvalidInputError, RegretError, SolveError
from imle_opt_solvers.instances import Instances, flatten_instances
from imle_opt_solvers.regret_report import RegretReport
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["RegretReport", "evaluate", "normalized_regret", "regret"]

_TOLERANCE = 1e-6
"""The feasibility tolerance of linear and mixed-integer engines: their objectives are no better known."""
_SAME_ENTRY = 1e-6


def evaluate(
    solver: Solver,
    predicted_costs: ArrayLike,
    true_costs: ArrayLike,
    *,
    instances: Instances | None = None,
    true_solution: Solution | None = None,
    predicted_solution: Solution | None = None,
    worst_case: bool = True,
    tolerance: float = _TOLERANCE,
) -> RegretReport:
    """Measure the regret of deciding by `predicted_costs`, per instance and aggregated.

    A regret within the tolerance below zero, or within rounding of zero, is reported as 0. The tolerance of a
    row is

        tolerance * (sum_i |c_i| max(|z(c_hat)_i|, |z(c)_i|) + max_i |c_i| + |fixed part|),

    the sum of the magnitudes that the objective is made of, and one unit of the dearest variable, because
    solvers keep their constraints to an absolute tolerance in the variables. Where the true optimum came with
    a proven gap, a regret down to `-gap |obj|` is no error either.

    Args:
        solver: the wrapped model. Its `on_failure` says what happens to rows without a proven optimum: with
            `"raise"` they raise, with `"incumbent"` they count and are named in `unproven_rows`, with
            `"nan"` they are left out and named in `unmeasured_rows`.
        predicted_costs: (*batch, *shape), in the model's own sense.
        true_costs: (*batch, *shape), in the model's own sense.
        instances: per-row data, as for `solver.solve`.
        true_solution: what `solver.solve(true_costs, instances=instances)` returned earlier; saves half of
            the solves where many predictions are held against the same true costs.
        predicted_solution: what `solver.solve(predicted_costs, instances=instances)` returned earlier.
        worst_case: also find the worst regret among the decisions that are optimal for the predicted costs,
            since which of them a solver returns is chance. NaN (and named in the report) in rows where it
            cannot be determined, above all where a solver for non-negative costs meets a predicted cost of 0.
        tolerance: relative; what counts as no regret, and how close two tied predicted objectives are.

    Returns:
        The report: arrays per instance, aggregates, notes on rows left out.

    Raises:
        InvalidInputError: costs of different batches, not finite, or of another shape; a bad tolerance.
        SolveError: a row without a proven optimum, where the solver's `on_failure` is `"raise"`.
        RegretError: a decision better than the optimum: a wrong sense, or a solver that is not optimal.

    Two solves per row, one less for each solution that is given; the worst case adds one, and one or two more
    in rows whose second-best decision is close.
    """
    if not 0 <= tolerance < 1:
        raise InvalidInputError(f"`tolerance` must lie in [0, 1), not {tolerance!r}: it is relative.")
    predicted = check_costs(predicted_costs, solver.shape, "predicted_costs")
    true = check_costs(true_costs, solver.shape, "true_costs")
    if predicted.shape != true.shape:
        raise InvalidInputError(
            f"`predicted_costs` and `true_costs` must have the same shape, one row per instance: they have "
            f"{predicted.shape} and {true.shape}."
        )
    decided = _known_or_solved(predicted_solution, solver, predicted, instances, "predicted")
    best = _known_or_solved(true_solution, solver, true, instances, "true")
    report = _compare(solver, predicted, true, decided, best, tolerance)
    own = [each for each, known in ((decided, predicted_solution), (best, true_solution)) if known is None]
    report = replace(report, solves=report.rows * len(own), seconds=sum(each.seconds for each in own))
    if not worst_case:
        return report
    ties = _find_ties(solver, predicted, true, decided, report, instances, tolerance)
    return replace(
        report,
        worst_case_regrets=report.regrets + ties.gains.reshape(report.regrets.shape),
        solves=report.solves + ties.solves,
        seconds=report.seconds + ties.seconds,
    )


def regret(
    solver: Solver,
    predicted_costs: ArrayLike,
    true_costs: ArrayLike,
    *,
    instances: Instances | None = None,
    true_solution: Solution | None = None,
) -> FloatArray:
    """Return the regret of every instance, (*batch,), in units of the objective.

    Arguments and errors are those of `evaluate`, which tells more. Two solves per row, one with
    `true_solution`.
    """
    return evaluate(
        solver,
        predicted_costs,
        true_costs,
        instances=instances,
        true_solution=true_solution,
        worst_case=False,
    ).regrets


def normalized_regret(
    solver: Solver,
    predicted_costs: ArrayLike,
    true_costs: ArrayLike,
    *,
    instances: Instances | None = None,
    true_solution: Solution | None = None,
) -> float:
    """Return `sum of regrets / sum of |optimal objectives|`, the ratio of sums; 0.03 is 3%.

    NaN where the optimal objectives sum to zero. Arguments and errors are those of `evaluate`, which tells
    more, the mean of ratios too. Two solves per row, one with `true_solution`.
    """
    return evaluate(
        solver,
        predicted_costs,
        true_costs,
        instances=instances,
        true_solution=true_solution,
        worst_case=False,
    ).normalized_regret


def _known_or_solved(
    known: Solution | None, solver: Solver, costs: FloatArray, instances: Instances | None, which: str
) -> Solution:
    if known is None:
        return _solve(solver, costs, instances, which)
    if known.decisions.shape != costs.shape:
        raise InvalidInputError(
            f"`{which}_solution` holds decisions of shape {known.decisions.shape}; `{which}_costs` has shape "
            f"{costs.shape}. Pass what `solver.solve({which}_costs)` returned."
        )
    return known


def _solve(solver: Solver, costs: FloatArray, instances: Instances | None, which: str) -> Solution:
    """Solve, and say in errors which of the two costs they are about."""
    try:
        return solver.solve(costs, instances=instances)
    except InvalidInputError as error:
        raise InvalidInputError(f"With the {which} costs: {error}") from error
    except SolveError as error:
        raise SolveError(f"With the {which} costs: {error}", error.rows, error.solution) from error


def _compare(
    solver: Solver,
    predicted: FloatArray,
    true: FloatArray,
    decided_solution: Solution,
    best_solution: Solution,
    tolerance: float,
) -> RegretReport:
    batch = best_solution.objectives.shape
    predicted_rows, true_rows = _flat(predicted, solver), _flat(true, solver)
    decided, best = Decided.of(predicted_rows, decided_solution), Decided.of(true_rows, best_solution)
    achieved, optimal = decided.objectives(true_rows), best_solution.objectives.ravel()
    magnitude = decided.magnitude(true_rows, best)
    tolerances = tolerance * magnitude + decided.uncertainty
    regrets = -solver.sense.sign * (achieved - optimal)
    _refuse_negative(regrets, tolerances + _proven_slack(best_solution), achieved, optimal, solver)
    rounding = true_rows.shape[1] * np.finfo(np.float64).eps * magnitude
    unproven = {*_unproven_rows(decided_solution, tolerance), *_unproven_rows(best_solution, tolerance)}
    return RegretReport(
        sense=solver.sense,
        engine=solver.traits.engine,
        proves_optimality=solver.traits.exact,
        regrets=np.where(regrets <= rounding, 0.0, regrets).reshape(batch),
        worst_case_regrets=None,
        achieved_objectives=achieved.reshape(batch),
        optimal_objectives=optimal.reshape(batch),
        tolerances=tolerances.reshape(batch),
        hamming_distances=_hamming(decided.decisions, best.decisions).reshape(batch),
        predicted_statuses=decided_solution.statuses,
        true_statuses=best_solution.statuses,
        unproven_rows=tuple(sorted(unproven)),
        solves=2 * len(regrets),
        seconds=decided_solution.seconds + best_solution.seconds,
    )


def _find_ties(
    solver: Solver,
    predicted: FloatArray,
    true: FloatArray,
    solution: Solution,
    report: RegretReport,
    instances: Instances | None,
    tolerance: float,
) -> WorstTies:
    optimal = _rows_of(Status.OPTIMAL, solution)
    rows = _flat(predicted, solver)
    return find_worst_ties(
        TieProblem(
            solver=solver,
            predicted=rows,
            true=_flat(true, solver),
            decided=Decided.of(rows, solution),
            searchable=optimal & ~np.isnan(report.regrets.ravel()),
            instances=None if instances is None else flatten_instances(instances, report.regrets.shape),
            tolerance=tolerance,
        )
    )


def _flat(costs: FloatArray, solver: Solver) -> FloatArray:
    width = int(np.prod(solver.shape, dtype=np.int64))
    return costs.reshape(-1, width)


def _proven_slack(solution: Solution) -> FloatArray:
    """Return how far from the optimum the solver itself says that it may be, (B,); inf where unproven."""
    feasible = _rows_of(Status.FEASIBLE, solution)
    gaps = solution.gaps.ravel()
    slack = np.where(np.isfinite(gaps), gaps, 0.0) * np.abs(solution.objectives.ravel())
    return np.where(feasible & ~np.isfinite(gaps), np.inf, slack)


def _unproven_rows(solution: Solution, tolerance: float) -> list[int]:
    feasible = _rows_of(Status.FEASIBLE, solution)
    return np.flatnonzero(feasible | (solution.gaps.ravel() > tolerance)).tolist()


def _rows_of(wanted: Status, solution: Solution) -> NDArray[np.bool_]:
    """Return which rows have a status, (B,)."""
    rows = len(solution.statuses)
    if not solution.failed_rows:  # many times faster than one by one
        return np.full(rows, wanted is Status.OPTIMAL)
    return np.fromiter((status is wanted for status in solution.statuses), dtype=np.bool_, count=rows)


def _hamming(decisions: FloatArray, others: FloatArray) -> FloatArray:
    """Return the number of entries that differ, (B,); NaN in rows without a decision."""
    scale = np.maximum(1.0, np.maximum(np.abs(decisions), np.abs(others)))
    counts = np.count_nonzero(np.abs(decisions - others) > _SAME_ENTRY * scale, axis=1)
    return np.where(np.isnan(scale).any(axis=1), np.nan, counts)


def _refuse_negative(
    regrets: FloatArray, slack: FloatArray, achieved: FloatArray, optimal: FloatArray, solver: Solver
) -> None:
    bad = np.flatnonzero(regrets < -slack)
    if not bad.size:
        return
    row = int(bad[np.argmin(regrets[bad])])
    raise RegretError(
        f"Regret cannot be negative, but is in {bad.size} of {regrets.size} rows (worst in row {row}): the "
        f"decision taken from the predicted costs has the true objective {achieved[row]:.9g}, better by "
        f"{-regrets[row]:.3g} than the optimum {optimal[row]:.9g} of a {solver.sense}imisation (tolerance "
        f"{slack[row]:.2g}). Likely causes: the solver ({solver.traits.engine}) does not {solver.sense}imise "
        f"as it says (a wrong `sense`); its answers are not optimal (a gap, a heuristic); a decision breaks "
        f"the constraints; or `true_solution` belongs to other costs."
    )
