"""What a reader of the figures must know: gaps, rows left out, undefined ratios, missing proofs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.figures import normalized_regret, undefined_ratio_rows
from imle_opt.evaluation.result import STATUSES, Evaluation, MethodResult
from imle_opt_solvers import Status
from imle_opt_solvers.solution import FloatArray

__all__ = ["notes"]

_MOST_SHOWN = 5
_OPTIMAL = STATUSES.index(Status.OPTIMAL)
_FEASIBLE = STATUSES.index(Status.FEASIBLE)


def notes(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the notes of an evaluation, those on the oracle first; the same in every output."""
    found = [*_oracle_notes(evaluation)]
    for method in evaluation.methods:
        found += _method_notes(method, evaluation)
    model = evaluation.model
    if not model.proves_optimality:
        found.append(f"the solver ({model.engine}) does not prove its optima")
    return tuple(found)


def _oracle_notes(evaluation: Evaluation) -> list[str]:
    codes, gaps = evaluation.true_statuses, evaluation.true_gaps
    found: list[str] = []
    missing = np.isnan(evaluation.optimal_objectives)
    inexact = _inexact(codes, gaps, evaluation.model.tolerance) & ~missing
    if inexact.any():
        largest = evaluation.largest_oracle_gap
        shown = "an unknown gap" if np.isinf(largest) else f"a gap of up to {100 * largest:.3g}%"
        found.append(
            f"the oracle is not optimal in {_rows(inexact)}: it is solved to {shown}, and regret is measured "
            f"against the best decision known"
        )
    if missing.any():
        found.append(f"no decision under the true costs in {_rows(missing)}: left out of every figure")
    return found


def _method_notes(method: MethodResult, evaluation: Evaluation) -> list[str]:
    found: list[str] = []
    about = f"{method.name}: "
    undecided = np.isnan(method.achieved_objectives)
    inexact = _inexact(method.statuses, method.gaps, evaluation.model.tolerance) & ~undecided
    if inexact.any():
        found.append(f"{about}decisions without proof of optimality in {_rows(inexact)}")
    if undecided.any():
        found.append(f"{about}no decision in {_rows(undecided)}: left out of its figures")
    undefined = undefined_ratio_rows(method, evaluation)
    if undefined:
        found.append(f"{about}the mean of ratios leaves out {_count(undefined)} whose optimum is zero")
    if method.measured.any() and np.isnan(normalized_regret(method, evaluation)):
        found.append(f"{about}the optima sum to zero: the ratio of sums is undefined")
    worst = method.worst_case_regrets
    undetermined = np.zeros(0, dtype=np.bool_) if worst is None else np.isnan(worst) & method.measured
    if undetermined.any():
        found.append(f"{about}the worst case under ties could not be determined in {_rows(undetermined)}")
    return found


def _inexact(codes: NDArray[np.uint8], gaps: FloatArray, tolerance: float) -> NDArray[np.bool_]:
    """Return where there is a decision that is not proven optimal, or only to a gap."""
    return np.asarray((codes == _FEASIBLE) | ((codes == _OPTIMAL) & (gaps > tolerance)))


def _rows(flags: NDArray[np.bool_]) -> str:
    """Return how many rows there are, and the first of them; rows of several seeds count once each."""
    places = np.argwhere(flags)
    rows = places[:_MOST_SHOWN, -1].tolist()
    more = ", ..." if len(places) > len(rows) else ""
    return f"{_count(len(places))} (row {', '.join(map(str, rows))}{more})"


def _count(rows: int) -> str:
    return f"{rows} {'row' if rows == 1 else 'rows'}"
