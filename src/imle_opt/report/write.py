"""The report as a file."""

from __future__ import annotations

from pathlib import Path

from imle_opt.evaluation.judgement import Judgement
from imle_opt.evaluation.result import Evaluation
from imle_opt.report.page import render_report
from imle_opt.report.script import plotly_script
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["check_report", "write_report"]


def check_report(path: Path) -> None:
    """Refuse, before the work, a report that could not be written after it.

    Raises:
        InvalidInputError: there is no such folder, or it is one.
        MissingDependencyError: plotly, an extra, is not installed.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInputError(f"--html {path} must name a file in a folder that exists.")
    plotly_script()


def write_report(path: Path, evaluation: Evaluation, judgement: Judgement) -> None:
    """Write the report.

    Raises:
        InvalidInputError: the file cannot be written.
        MissingDependencyError: plotly, an extra, is not installed.
    """
    page = render_report(evaluation, judgement)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"--html {path}: cannot be written: {error.strerror}.") from error
