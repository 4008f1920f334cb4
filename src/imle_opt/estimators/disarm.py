"""DisARM (also U2G): ARM with the noise integrated out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one
from imle_opt._perturbed import over_event
from imle_opt.estimators.arm import antithetic_pairs
from imle_opt.estimators.estimator import (
    Estimate,
    Values,
    attached,
    evaluate,
    needs_gradient,
    refuse_instances,
    without_gradient,
)
from imle_opt.families import Bernoulli, MAPOracle, require
from imle_opt.noise import Logistic

__all__ = ["DisARM", "disarm_gradient"]


def disarm_gradient(values: Tensor, pairs: Tensor, theta: Tensor, event_dim: int) -> Tensor:
    """Return `(1/2S) sum_s (f(b1_s) - f(b2_s)) (-1)^b2_s 1[b1_s != b2_s] sigmoid(|theta|)`.

    Args:
        values: f at the pairs, (2 S, *batch).
        pairs: from `antithetic_pairs`, (2 S, *batch, *event).
        theta: (*batch, *event).
        event_dim: how many of the last dimensions belong to one decision.

    Returns:
        (*batch, *event).
    """
    first, second = torch.tensor_split(pairs, 2)
    one, other = torch.tensor_split(values, 2)
    # (-1)^b2 1[b1 != b2] = b1 - b2 for zeros and ones.
    weighted = over_event(one - other, event_dim) * (first - second)
    return weighted.mean(0) * torch.sigmoid(theta.abs()) / 2


@final
@dataclass(frozen=True)
class DisARM:
    """Antithetic pairs of zeros and ones, weighted where they differ; unbiased.

        b1, b2 as in `ARM`
        d theta = (1/2) (f(b1) - f(b2)) (-1)^b2 1[b1 != b2] sigmoid(|theta|),    averaged over S pairs

    It is the expectation of ARM's gradient given the two samples, so that its variance is never above ARM's.

    Args:
        num_samples: S, pairs.

    Raises:
        InvalidInputError: `num_samples` below 1.
        MissingCapabilityError: from the call, another family than `Bernoulli`.

    Cost: 2 S evaluations of f, a black box.

    Source: Dong, Mnih and Tucker, NeurIPS 2020, arXiv 2006.10680; Yin, Ho, Yan, Qian and Zhou,
    2020, "Probabilistic best subset selection by gradient-based optimization", arXiv 2006.06448 (U2G).

    The first choice for zeros and ones and a black box f. Where f can be differentiated, `Rebar` may have a
    lower variance, at three evaluations.
    """

    num_samples: int = 1

    def __post_init__(self) -> None:
        check_at_least_one(self.num_samples, "num_samples")

    def __call__(
        self,
        f: Values,
        theta: Tensor,
        family: MAPOracle,
        *,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> Estimate:
        """Return the estimate, as `Estimator` says."""
        refuse_instances(instances, "DisARM")
        bernoulli = require(family, Bernoulli, "DisARM")
        if not needs_gradient(theta):
            return without_gradient(f, theta, bernoulli, self.num_samples, generator)
        shape = (self.num_samples, *theta.shape)
        noise = Logistic().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        pairs = antithetic_pairs(theta.detach(), noise)
        values = evaluate(f, pairs, family.event_dim)
        seen = values.detach().to(theta.dtype)
        gradient = disarm_gradient(seen, pairs, theta.detach(), family.event_dim)
        return Estimate(attached(values, theta, gradient, family.event_dim))
