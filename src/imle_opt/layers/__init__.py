"""Layers: predicted costs in, decisions out, with a gradient; one file per method."""

from __future__ import annotations

from imle_opt.layers.black_box import BlackBox
from imle_opt.layers.gumbel_rao import GumbelRao
from imle_opt.layers.gumbel_softmax import GumbelSoftmax
from imle_opt.layers.identity import Identity
from imle_opt.layers.imle import IMLE
from imle_opt.layers.l2x import L2X
from imle_opt.layers.layer import Draw, Layer
from imle_opt.layers.perturbed import Perturbed
from imle_opt.layers.regularized_frank_wolfe import RegularizedFrankWolfe
from imle_opt.layers.reinmax import ReinMax
from imle_opt.layers.softsub import SoftSub
from imle_opt.layers.sparse_map import SparseMAP
from imle_opt.layers.stochastic_softmax import StochasticSoftmaxTrick
from imle_opt.layers.straight_through import StraightThrough

__all__ = [
    "IMLE",
    "L2X",
    "BlackBox",
    "Draw",
    "GumbelRao",
    "GumbelSoftmax",
    "Identity",
    "Layer",
    "Perturbed",
    "RegularizedFrankWolfe",
    "ReinMax",
    "SoftSub",
    "SparseMAP",
    "StochasticSoftmaxTrick",
    "StraightThrough",
]
