"""Perturbed logits given the decision that they harden to: what REBAR, RELAX and Gumbel-Rao share.

Both laws are written so that no probability is ever rounded to 0 or 1: they hold in float32 at any logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["gumbel_given", "logistic_given"]


def logistic_given(theta: Tensor, z: Tensor, noise: Tensor) -> Tensor:
    """Return `zeta = theta + logistic noise` given `1[zeta > 0] = z`.

        z = 1:   zeta =  softplus( L + softplus( theta))
        z = 0:   zeta = -softplus(-L + softplus(-theta))

    This is `theta + logit(v')` for v' uniform where the decision is z, with L = logit(v) and v uniform.

    Args:
        theta: (*batch, *event).
        z: (*samples, *batch, *event), zeros and ones.
        noise: L, independent standard logistic noise in the shape of z.

    Returns:
        The shape of z, differentiable in theta.

    Source: Tucker et al., NeurIPS 2017, arXiv 1703.07370, appendix C.
    """
    above = _softplus(noise + _softplus(theta))
    below = -_softplus(-noise + _softplus(-theta))
    return torch.where(z > 0, above, below)


def gumbel_given(log_probabilities: Tensor, z: Tensor, noise: Tensor) -> Tensor:
    """Return `zeta = log p + Gumbel noise` given that its largest entry is where z is 1.

        winner b:   zeta_b = G_b
        others:     zeta_i = -log(exp(-G_i) / p_i + exp(-G_b)) = G_b + logsigmoid(log p_i + G_i - G_b)

    The winner has no gradient, and the others contain the winner's noise: with each entry's own in its place
    REBAR and RELAX are biased.

    Args:
        log_probabilities: normalised over the last dimension, (*batch, *event).
        z: (*samples, *batch, *event), one-hot.
        noise: G, independent standard Gumbel noise in the shape of z.

    Returns:
        The shape of z, differentiable in the log probabilities.

    Source: Tucker et al., NeurIPS 2017, arXiv 1703.07370, appendix C; Maddison, Tarlow and Minka, NeurIPS
    2014, arXiv 1411.0030.
    """
    winner = (z * noise).sum(-1, keepdim=True)
    return torch.where(z > 0, winner, winner + logsigmoid(log_probabilities + noise - winner))


def _softplus(x: Tensor) -> Tensor:
    # torch's softplus becomes the identity at 20, which is not exact in float64.
    return -logsigmoid(-x)
