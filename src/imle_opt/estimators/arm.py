"""Augment-REINFORCE-merge (ARM): antithetic pairs of zeros and ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one
from imle_opt._perturbed import over_event
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

__all__ = ["ARM", "antithetic_pairs", "arm_gradient"]


def antithetic_pairs(theta: Tensor, noise: Tensor) -> Tensor:
    """Return `1[u > 1 - sigmoid(theta)]`, then `1[u < sigmoid(theta)]`: (2 S, *batch, *event).

    Both are exact samples; noise that makes one of them a one makes the other a zero where theta is 0.

    Args:
        theta: (*batch, *event).
        noise: logit(u), standard logistic, (S, *batch, *event).
    """
    return torch.cat([noise > -theta, noise < theta]).to(theta.dtype)


def arm_gradient(values: Tensor, noise: Tensor, event_dim: int) -> Tensor:
    """Return `(1/S) sum_s (f(b1_s) - f(b2_s)) (u_s - 1/2)`, (*batch, *event).

    Args:
        values: f at `antithetic_pairs(theta, noise)`, (2 S, *batch).
        noise: logit(u), (S, *batch, *event).
        event_dim: how many of the last dimensions belong to one decision.
    """
    first, second = torch.tensor_split(values, 2)
    # u - 1/2 = tanh(logit(u) / 2) / 2.
    return (over_event(first - second, event_dim) * torch.tanh(noise / 2)).mean(0) / 2


@final
@dataclass(frozen=True)
class ARM:
    """Antithetic pairs of zeros and ones, weighted by the noise that made them; unbiased.

        u ~ U(0, 1)^K,    b1 = 1[u > 1 - sigmoid(theta)],    b2 = 1[u < sigmoid(theta)]
        d theta = (f(b1) - f(b2)) (u - 1/2),    averaged over S pairs

    Args:
        num_samples: S, pairs.

    Raises:
        InvalidInputError: `num_samples` below 1.
        MissingCapabilityError: from the call, another family than `Bernoulli`.

    Cost: 2 S evaluations of f, a black box.

    Source: Yin and Zhou, ICLR 2019, arXiv 1807.11143.

    `DisARM` has a lower variance at the same cost, always: this one is for comparison.
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
        refuse_instances(instances, "ARM")
        bernoulli = require(family, Bernoulli, "ARM")
        if not needs_gradient(theta):
            return without_gradient(f, theta, bernoulli, self.num_samples, generator)
        shape = (self.num_samples, *theta.shape)
        noise = Logistic().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        values = evaluate(f, antithetic_pairs(theta.detach(), noise), family.event_dim)
        gradient = arm_gradient(values.detach().to(theta.dtype), noise, family.event_dim)
        return Estimate(attached(values, theta, gradient, family.event_dim))
