"""The report of a fit: what its decisions are worth on rows that no training saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from imle_opt.evaluation.figures import figures
from imle_opt.evaluation.inputs import MethodFiles
from imle_opt.evaluation.json_report import as_json
from imle_opt.evaluation.judgement import Judgement, Sampling, judge
from imle_opt.evaluation.result import Evaluation
from imle_opt.evaluation.run import EvaluationRequest, evaluate_files
from imle_opt.fitting.train import Problem
from imle_opt.fitting.watch import difference
from imle_opt.report import write_report
from imle_opt.table_writer import write_table
from imle_opt_solvers.errors import MissingDependencyError
from imle_opt_solvers.solution import FloatArray, Limits
from imle_opt_solvers.solver import Solver

__all__ = ["ModelSource", "Overlap", "Report", "report_held_out"]

_TOLERANCE = 1e-6
"""What `imle-opt regret` takes where nothing is said."""


@final
@dataclass(frozen=True, eq=False)
class ModelSource:
    """Where the model of a fit comes from.

    Args:
        name: how it is called.
        make_solver: makes it.
        limits: those that it is made with.
        files: that it was read from.
    """

    name: str
    make_solver: Callable[[], Solver]
    limits: Limits
    files: tuple[Path, ...]


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


@final
@dataclass(frozen=True, eq=False)
class Judged:
    """Regrets, and how sure they are.

    Args:
        evaluation: of all methods.
        judgement: intervals and comparisons.
    """

    evaluation: Evaluation
    judgement: Judgement


@final
@dataclass(frozen=True, eq=False)
class Report:
    """The figures of the methods on the rows held out.

    Args:
        found: regrets where true costs are known; else by method the overlap with the known decisions.
    """

    found: Judged | Mapping[str, Overlap]

    def table(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Return a header and a line per method, for people to read."""
        if not isinstance(self.found, Judged):
            header = ("held-out rows", "difference from the solutions", "exact matches")
            return header, [
                [name, *_percents(each.difference, each.exact_match_share)]
                for name, each in self.found.items()
            ]
        lines: list[list[str]] = []
        for method in self.found.evaluation.methods:
            each = figures(method, self.found.evaluation)
            shares = (
                each.normalized_regret_ratio_of_sums,
                each.normalized_regret_mean_of_ratios,
                each.optimal_share,
            )
            lines.append([method.name, *_percents(*shares)])
        return (
            "held-out rows",
            "regret (ratio of sums)",
            "regret (mean of ratios)",
            "optimal decisions",
        ), lines

    def write_page(self, path: Path) -> str | None:
        """Write the report to read in a browser, where there are regrets.

        Returns:
            Why there is none, for people to read, where plotly, an extra, is not installed; else None.
        """
        if not isinstance(self.found, Judged):
            return None
        try:
            write_report(path, self.found.evaluation, self.found.judgement)
        except MissingDependencyError as error:
            return f"{path.name} was not written: {error}"
        return None

    def as_json(self) -> dict[str, Any]:
        """Return everything, ready for `json.dumps`."""
        if isinstance(self.found, Judged):
            return {"evaluation": as_json(self.found.evaluation, self.found.judgement)}
        return {
            "overlap": [
                {"name": name, "difference": each.difference, "exact_match_share": each.exact_match_share}
                for name, each in self.found.items()
            ]
        }


def report_held_out(
    problem: Problem, predicted: Mapping[str, FloatArray], folder: Path, source: ModelSource
) -> Report:
    """Write the tables of the rows held out, and hold each method's decisions against the labels.

    Args:
        problem: labels and solver.
        predicted: by method: costs of the rows held out.
        folder: for the tables.
        source: of the model.

    Cost: two solves per row and method, and one or two more for ties; one from solutions.
    """
    tables, rows, names = problem.tables, problem.rows.test, problem.spec.cost_names
    folder.mkdir(exist_ok=True)
    labels = folder / f"{tables.supervision}.csv"
    write_table(folder / "features.csv", tables.features[rows], tables.feature_names)
    write_table(labels, tables.labels[rows], names)
    for method, costs in predicted.items():
        write_table(folder / f"{method}.csv", costs, names)
    if tables.supervision == "solutions":
        constant = np.broadcast_to(problem.constant_costs, (len(rows), *problem.spec.shape))
        every = {**predicted, "constant": constant}
        return Report({name: _overlap(problem, costs) for name, costs in every.items()})
    request = EvaluationRequest(
        model=source.name,
        solver=problem.solver,
        make_solver=source.make_solver,
        limits=source.limits,
        model_files=source.files,
        true=labels,
        methods=[MethodFiles(method, (folder / f"{method}.csv",)) for method in predicted],
        baseline=None if len(predicted) == 1 else list(predicted)[-1],
        worst_case=True,
        tolerance=_TOLERANCE,
        workers=1,
        resume=None,
    )
    evaluation = evaluate_files(request, lambda total: lambda rows: None)
    return Report(Judged(evaluation, judge(evaluation, Sampling())))


def _overlap(problem: Problem, costs: FloatArray) -> Overlap:
    known = problem.tables.labels[problem.rows.test]
    decisions = problem.solver.solve(costs).decisions
    same = np.isclose(decisions, known, atol=1e-6).reshape(len(known), -1).all(axis=1)
    return Overlap(float(same.mean()), difference(decisions, known))


def _percents(*shares: float) -> list[str]:
    return ["undefined" if np.isnan(share) else f"{100 * share:.3g}%" for share in shares]
