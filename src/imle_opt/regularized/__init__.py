"""Regularised maximisation over the convex hull of the decisions, by a MAP oracle alone."""

from __future__ import annotations

from imle_opt.regularized.combination import ConvexCombination
from imle_opt.regularized.regularizers import (
    BinaryEntropy,
    HalfSquaredNorm,
    NegativeEntropy,
    Regularizer,
    check_domain,
)
from imle_opt.regularized.solve import regularized_maximum

__all__ = [
    "BinaryEntropy",
    "ConvexCombination",
    "HalfSquaredNorm",
    "NegativeEntropy",
    "Regularizer",
    "check_domain",
    "regularized_maximum",
]
