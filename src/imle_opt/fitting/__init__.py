"""From tables of features and labels to a predictor, a log and a report: what `imle-opt fit` does."""

from __future__ import annotations

from imle_opt.fitting.held_out import ModelSource
from imle_opt.fitting.predictor import CostPredictor
from imle_opt.fitting.run import FitRun, run_fit
from imle_opt.fitting.settings import FitSettings
from imle_opt.fitting.tables import FitTables

__all__ = ["CostPredictor", "FitRun", "FitSettings", "FitTables", "ModelSource", "run_fit"]
