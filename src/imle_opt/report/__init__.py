"""The HTML report of an evaluation: one file that loads nothing from anywhere."""

from __future__ import annotations

from imle_opt.report.page import render_report
from imle_opt.report.write import check_report, write_report

__all__ = ["check_report", "render_report", "write_report"]
