"""One bit and two values of f: what estimators give there has a closed form."""

from __future__ import annotations

import math

import torch

P, SLOPE = 0.71, 1.7
F0, F1 = -0.4, -0.4 + SLOPE


def two_values(z):
    return F0 + SLOPE * z[..., 0]


def one_bit():
    return torch.tensor([math.log(P / (1 - P))], dtype=torch.float64)
