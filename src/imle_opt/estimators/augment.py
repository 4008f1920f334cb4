"""Augment-REINFORCE (AR): one sample, weighted by the noise that made it."""

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
from imle_opt.families import Bernoulli, Categorical, MAPOracle, require
from imle_opt.noise import Gumbel, Logistic

__all__ = ["AR", "ar_binary", "ar_categorical"]


def ar_binary(theta: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples `1[u < sigmoid(theta)]` and their weights `1 - 2 u`: (S, *batch, *event) each.

    Args:
        theta: (*batch, *event).
        noise: logit(u), standard logistic, (S, *batch, *event).
    """
    return (noise < theta).to(theta.dtype), -torch.tanh(noise / 2)


def ar_categorical(theta: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return one-hot samples at `argmin(log pi - theta)` and their weights `1 - C pi`.

    Args:
        theta: (*batch, *event), C classes last.
        noise: `-log E` with E standard exponential, so that `pi = softmax(-noise)` is uniform on the simplex;
            (S, *batch, *event).

    Returns:
        (S, *batch, *event) each.
    """
    samples = Categorical().harden(theta + noise)
    return samples, 1 - theta.shape[-1] * torch.softmax(-noise, -1)


@final
@dataclass(frozen=True)
class AR:
    """One sample, weighted by the noise that made it; unbiased.

        zeros and ones:   u ~ U(0, 1)^K,   d theta = f(1[u < sigmoid(theta)]) (1 - 2 u)
        classes:          pi_k ~ Dirichlet(1, ..., 1),   z_k = argmin_c (log pi_kc - theta_kc)
                          d theta_kc = f(z) (1 - C pi_kc)

    Args:
        num_samples: S.

    Raises:
        InvalidInputError: `num_samples` below 1.
        MissingCapabilityError: from the call, a family other than `Bernoulli` and `Categorical`.

    Cost: S evaluations of f, a black box.

    Source: Yin and Zhou, ICLR 2019, arXiv 1807.11143; Yin, Yue and Zhou, ICML 2019, arXiv 1905.01413.

    Its variance is above that of REINFORCE: it is the step towards `ARM` and `ARSM`, and for comparison.
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
        refuse_instances(instances, "AR")
        factors = family if isinstance(family, Bernoulli) else require(family, Categorical, "AR")
        if not needs_gradient(theta):
            return without_gradient(f, theta, factors, self.num_samples, generator)
        shape = (self.num_samples, *theta.shape)
        source, rule = (
            (Logistic(), ar_binary) if isinstance(factors, Bernoulli) else (Gumbel(), ar_categorical)
        )
        noise = source.draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        samples, weights = rule(theta.detach(), noise)
        values = evaluate(f, samples, family.event_dim)
        gradient = (over_event(values.detach().to(theta.dtype), family.event_dim) * weights).mean(0)
        return Estimate(attached(values, theta, gradient, family.event_dim))
