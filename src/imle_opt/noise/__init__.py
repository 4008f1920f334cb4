"""Noise for perturb-and-MAP: drawn once, shared by the forward and the backward solve.

Noise acts on `theta`, never on the costs of a minimisation: a skewed noise on costs samples from the wrong
distribution. A noise of your own is a frozen dataclass that derives from `AdditiveNoise` or `Noise`; give its
scale the name `temperature` and `calibrate_temperature` can tune it.
"""

from __future__ import annotations

from imle_opt.noise.base import AdditiveNoise, Noise, SmoothNoise
from imle_opt.noise.exponential import Exponential
from imle_opt.noise.gumbel import Gumbel
from imle_opt.noise.logistic import Logistic
from imle_opt.noise.multiplicative import Multiplicative
from imle_opt.noise.no_noise import NoNoise
from imle_opt.noise.normal import Normal
from imle_opt.noise.sum_of_gamma import SumOfGamma

__all__ = [
    "AdditiveNoise",
    "Exponential",
    "Gumbel",
    "Logistic",
    "Multiplicative",
    "NoNoise",
    "Noise",
    "Normal",
    "SmoothNoise",
    "SumOfGamma",
]
