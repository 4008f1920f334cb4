"""The report of a fit: what its decisions are worth on rows that no training saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from imle_opt.fitting.labels import take
from imle_opt.fitting.train import Problem
from imle_opt.fitting.watch import difference
from imle_opt_solvers.regret import RegretReport, evaluate
from imle_opt_solvers.solution import FloatArray, Solution

__all__ = ["CONSTANT", "HeldOut", "Overlap", "evaluate_held_out"]

CONSTANT = "constant"
"""Name of the reference: the same costs in every row, see `Problem.constant_costs`."""


@final
@dataclass(frozen=True)
class Overlap:
    """How decisions compare with known ones, which counts decisions that differ and are as good.

    Args:
        exact_match_share: share of the rows with the very decision.
        difference: `sum |z - y| / sum (|z| + |y|)`.
    """

    exact_match_share: float
    difference: float

    def summary(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {"exact_match_share": self.exact_match_share, "difference": self.difference}


@final
@dataclass(frozen=True, eq=False)
class HeldOut:
    """The figures of each method on the rows held out, and its predictions there.

    Args:
        figures: by method: regret where true costs are known, else overlap with the known solutions.
        predicted: by method: costs (rows, *shape).
    """

    figures: Mapping[str, RegretReport | Overlap]
    predicted: Mapping[str, FloatArray]

    def table(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Return a header and a line per method, for people to read."""
        if any(isinstance(figure, Overlap) for figure in self.figures.values()):
            header: tuple[str, ...] = ("held-out rows", "difference from the solutions", "exact matches")
        else:
            header = (
                "held-out rows",
                "regret (ratio of sums)",
                "regret (mean of ratios)",
                "optimal decisions",
            )
        return header, [[name, *_cells(figure)] for name, figure in self.figures.items()]


def evaluate_held_out(problem: Problem, predicted: Mapping[str, FloatArray]) -> HeldOut:
    """Hold the decisions by each method's costs, and by constant ones, against the labels.

    Args:
        problem: labels and solver.
        predicted: by method: costs of the rows held out.

    Cost: one solve per row and method, one to three more for ties.
    """
    rows = problem.rows.test
    constant = np.broadcast_to(problem.constant_costs, (len(rows), *problem.spec.shape))
    everything = {**predicted, CONSTANT: constant}
    truth, labels = take(problem.truth, rows), problem.tables.labels[rows]
    figures: dict[str, RegretReport | Overlap] = {
        name: _figure(problem, costs, labels, truth) for name, costs in everything.items()
    }
    return HeldOut(figures, everything)


def _figure(
    problem: Problem, costs: FloatArray, labels: FloatArray, truth: Solution
) -> RegretReport | Overlap:
    if problem.tables.supervision == "costs":
        return evaluate(problem.solver, costs, labels, true_solution=truth)
    decisions = problem.solver.solve(costs).decisions
    same = np.isclose(decisions, labels, atol=1e-6).reshape(len(labels), -1).all(axis=1)
    return Overlap(float(same.mean()), difference(decisions, labels))


def _cells(figure: RegretReport | Overlap) -> list[str]:
    if isinstance(figure, Overlap):
        shares = [figure.difference, figure.exact_match_share]
    else:
        shares = [
            figure.normalized_regret,
            figure.normalized_regret_mean_of_ratios,
            figure.optimal_share,
        ]
    return ["undefined" if np.isnan(share) else f"{100 * share:.3g}%" for share in shares]
