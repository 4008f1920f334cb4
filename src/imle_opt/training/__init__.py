"""A small training loop, and nothing bigger: whoever has a loop of their own needs none of this."""

from __future__ import annotations

from imle_opt.training.checkpoint import Checkpoint
from imle_opt.training.loop import fit
from imle_opt.training.result import EpochRecord, FitResult
from imle_opt.training.validation import ValidationRegret, predict_costs

__all__ = ["Checkpoint", "EpochRecord", "FitResult", "ValidationRegret", "fit", "predict_costs"]
