"""Augment-REINFORCE-swap-merge (ARSM): the average of ARS over all pivots."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one
from imle_opt._full_precision import full_precision
from imle_opt.estimators.estimator import (
    Estimate,
    Values,
    attached,
    needs_gradient,
    refuse_instances,
    without_gradient,
)
from imle_opt.estimators.swaps import swapped_choices, values_of_choices
from imle_opt.families import Categorical, MAPOracle, require
from imle_opt.noise import Gumbel

__all__ = ["ARSM", "all_pairs", "arsm_gradient"]


def all_pairs(classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the pairs whose swap ARSM evaluates: (0, 0), which is none, and then all i < j."""
    i, j = torch.triu_indices(classes, classes, 1, device=device)
    none = torch.zeros(1, dtype=torch.long, device=device)
    return torch.cat([none, i]), torch.cat([none, j])


def arsm_gradient(values: Tensor, simplex: Tensor) -> Tensor:
    """Return `sum_j (F_cj - mean_m F_mj) (1/C - pi_kj)`, averaged over samples: (*batch, K, C).

    Args:
        values: F, f after the swaps of `all_pairs`, (1 + C (C - 1) / 2, S, *batch).
        simplex: pi, (S, *batch, K, C).
    """
    classes = simplex.shape[-1]
    i, j = (index[1:] for index in all_pairs(classes, values.device))
    # Differences first: a constant f has a gradient of exactly zero.
    changes = (values[1:] - values[0]).movedim(0, -1)
    swapped = changes.new_zeros(*changes.shape[:-1], classes, classes)
    swapped[..., i, j] = changes
    swapped[..., j, i] = changes
    centred = swapped - swapped.mean(-2, keepdim=True)
    with full_precision(values):
        return ((1 / classes - simplex) @ centred.mT).mean(0)


@final
@dataclass(frozen=True)
class ARSM:
    """Choices after every swap of two entries of the noise; unbiased, with a low variance.

        pi_k ~ Dirichlet(1, ..., 1),   z_k = argmin_c (log pi_kc - theta_kc)
        F_ij = f(z with pi_ki and pi_kj swapped, for all k at once),   F_jj = f(z)
        d theta_kc = sum_j (F_cj - (1/C) sum_m F_mj) (1/C - pi_kj)

    With two classes it is `ARM`. Where all swaps leave the choice as it is, the gradient is exactly zero; its
    entries sum to zero over the classes of each variable.

    Args:
        num_samples: S.

    Raises:
        InvalidInputError: `num_samples` below 1.
        MissingCapabilityError: from the call, another family than `Categorical`.

    Cost: at most `1 + C (C - 1) / 2` evaluations of f per sample, a black box; equal joint choices are
    evaluated once (never more than C for one variable), and those other than the sample without a graph.
    O(K C^2) memory per sample and row.

    Source: Yin, Yue and Zhou, ICML 2019, arXiv 1905.01413.

    For a black box f of few classes. At equal numbers of evaluations `Reinforce` with leave-one-out is often
    as good: measure with `diagnostics.gradient_stats`. For many classes `Reinforce`.
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
        refuse_instances(instances, "ARSM")
        categorical = require(family, Categorical, "ARSM")
        if not needs_gradient(theta):
            return without_gradient(f, theta, categorical, self.num_samples, generator)
        batch, event = theta.shape[: -family.event_dim], tuple(theta.shape[-family.event_dim :])
        logits = theta.detach().reshape(*batch, math.prod(event[:-1]), event[-1])
        shape = (self.num_samples, *logits.shape)
        noise = -Gumbel().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        choices = swapped_choices(logits, noise, *all_pairs(event[-1], theta.device))
        values, swapped = values_of_choices(f, choices, 0, event, theta.dtype)
        gradient = arsm_gradient(swapped.to(theta.dtype), noise.softmax(-1))
        return Estimate(attached(values, theta, gradient.reshape(theta.shape), family.event_dim))
