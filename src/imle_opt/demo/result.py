"""What the demo found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from imle_opt.demo.methods import Outcome
from imle_opt.demo.task import Task

__all__ = ["COLUMNS", "TARGET", "DemoResult", "cells", "verdict"]

TARGET = 0.03
"""Normalised regret (ratio of sums) on the test maps that learning from paths alone must reach."""

COLUMNS = (
    "method",
    "learns from",
    "ratio of sums",
    "mean of ratios",
    "optimal paths",
    "solver seconds",
    "network seconds",
)
"""Titles of `cells`; third and fourth are the normalised regret."""


@final
@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found.

    Args:
        task: the maps.
        outcomes: one per method, and equal costs last.
        seed: of everything random.
        epochs: passes over the training maps.
        seconds: wall clock of the whole.
    """

    task: Task
    outcomes: tuple[Outcome, ...]
    seed: int
    epochs: int
    seconds: float

    def __getitem__(self, key: str) -> Outcome:
        """Return the outcome of a method: "paths", "costs", "regression", "perceptron" or "equal"."""
        return next(outcome for outcome in self.outcomes if outcome.key == key)

    @property
    def target_met(self) -> bool:
        """Whether learning from paths alone reached the target."""
        return self["paths"].report.normalized_regret <= TARGET


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Return one row of the table, as text."""
    report = outcome.report
    return (
        outcome.name,
        outcome.sees,
        _percent(report.normalized_regret),
        _percent(report.normalized_regret_mean_of_ratios),
        f"{100 * report.optimal_share:.0f}%",
        f"{outcome.solver_seconds:.1f}" if outcome.curve else "-",
        f"{outcome.network_seconds:.1f}" if outcome.curve else "-",
    )


def verdict(result: DemoResult) -> str:
    """Return what the figures say, in a few sentences."""
    paths, equal, trap = result["paths"], result["equal"], result["perceptron"]
    reached, baseline = paths.report.normalized_regret, equal.report.normalized_regret
    met = "met" if result.target_met else "MISSED"
    true_mean = result.task.test.maps.costs.mean()
    return (
        f"Learning from optimal paths alone reached {_percent(reached)} normalised regret (ratio of sums) on "
        f"{paths.report.rows} test maps, against {_percent(baseline)} for equal costs; the target of at most "
        f"{_percent(TARGET)} is {met}. The same loss without noise ended at "
        f"{_percent(trap.report.normalized_regret)}: costs of zero satisfy it, and its mean predicted cost "
        f"is {trap.predicted.mean():.2g} (true mean: {true_mean:.2g})."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
