"""Losses: predicted costs or decisions, and labels, to one value per row; one file per method."""

from __future__ import annotations

from imle_opt.losses.explicit_mle import ExplicitMLE
from imle_opt.losses.hamming import HammingLoss
from imle_opt.losses.regret import RegretLoss

__all__ = ["ExplicitMLE", "HammingLoss", "RegretLoss"]
