"""Losses: predicted costs and a label in, one value per row out; and two losses on decisions."""

from __future__ import annotations

from imle_opt.losses.cave import CaVE
from imle_opt.losses.cmap import CMAP
from imle_opt.losses.directional_gradient import DirectionalGradient
from imle_opt.losses.explicit_mle import ExplicitMLE, SolvedTarget
from imle_opt.losses.fenchel_young import FenchelYoung
from imle_opt.losses.hamming import HammingLoss
from imle_opt.losses.listwise_ranking import ListwiseRanking
from imle_opt.losses.nce import NCE
from imle_opt.losses.pairwise_ranking import PairwiseRanking
from imle_opt.losses.pointwise_ranking import PointwiseRanking
from imle_opt.losses.regret import RegretLoss
from imle_opt.losses.spo_plus import SPOPlus
from imle_opt.losses.structured_hinge import StructuredHinge

__all__ = [
    "CMAP",
    "NCE",
    "CaVE",
    "DirectionalGradient",
    "ExplicitMLE",
    "FenchelYoung",
    "HammingLoss",
    "ListwiseRanking",
    "PairwiseRanking",
    "PointwiseRanking",
    "RegretLoss",
    "SPOPlus",
    "SolvedTarget",
    "StructuredHinge",
]
