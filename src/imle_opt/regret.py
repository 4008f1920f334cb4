"""Regret under a short name: `from imle_opt.regret import evaluate`, see `imle_opt_solvers.regret`."""

from __future__ import annotations

from imle_opt_solvers.regret import RegretReport, evaluate, normalized_regret, regret

__all__ = ["RegretReport", "evaluate", "normalized_regret", "regret"]
