"""Augment-REINFORCE-swap (ARS): the values of f after swaps with one pivot class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one
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
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["ARS", "ars_gradient"]


def ars_gradient(values: Tensor, simplex: Tensor, pivot: int) -> Tensor:
    """Return `(1/S) sum_s (F_c - mean over classes of F) (1 - C pi_kj)` for the pivot j.

    Args:
        values: F, f after the swap of class c with the pivot, (C, S, *batch).
        simplex: pi, (S, *batch, K, C).
        pivot: j.

    Returns:
        (*batch, K, C).
    """
    # Differences first: a constant f has a gradient of exactly zero.
    changes = (values - values[pivot]).movedim(0, -1)
    centred = changes - changes.mean(-1, keepdim=True)
    return (centred[..., None, :] * (1 - len(values) * simplex[..., pivot : pivot + 1])).mean(0)


@final
@dataclass(frozen=True)
class ARS:
    """Choices after swaps of the noise with one pivot class j; unbiased for any pivot.

        pi_k ~ Dirichlet(1, ..., 1),   z_k = argmin_c (log pi_kc - theta_kc)
        F_c = f(z with pi_kc and pi_kj swapped, for all k at once)
        d theta_kc = (F_c - mean_m F_m) (1 - C pi_kj)

    Args:
        num_samples: S.
        pivot: j; None draws one for each call.

    Raises:
        InvalidInputError: an option out of its range.
        MissingCapabilityError: from the call, another family than `Categorical`.

    Cost: at most C S evaluations of f, a black box: equal choices are evaluated once, and those other than
    the sample without a graph.

    Source: Yin, Yue and Zhou, ICML 2019, arXiv 1905.01413.

    For many classes, where the C^2 / 2 evaluations of `ARSM` are too many.
    """

    num_samples: int = 1
    pivot: int | None = None

    def __post_init__(self) -> None:
        check_at_least_one(self.num_samples, "num_samples")
        if self.pivot is not None and self.pivot < 0:
            raise InvalidInputError(f"`pivot` must be a class, 0 or more, not {self.pivot!r}.")

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
        refuse_instances(instances, "ARS")
        categorical = require(family, Categorical, "ARS")
        if not needs_gradient(theta):
            return without_gradient(f, theta, categorical, self.num_samples, generator)
        batch, event = theta.shape[: -family.event_dim], tuple(theta.shape[-family.event_dim :])
        logits = theta.detach().reshape(*batch, math.prod(event[:-1]), event[-1])
        pivot = self._pivot(event[-1], generator, theta.device)
        shape = (self.num_samples, *logits.shape)
        noise = -Gumbel().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        classes = torch.arange(event[-1], device=theta.device)
        choices = swapped_choices(logits, noise, classes, torch.full_like(classes, pivot))
        values, swapped = values_of_choices(f, choices, pivot, event, theta.dtype)
        gradient = ars_gradient(swapped.to(theta.dtype), noise.softmax(-1), pivot)
        return Estimate(attached(values, theta, gradient.reshape(theta.shape), family.event_dim))

    def _pivot(self, classes: int, generator: torch.Generator | None, device: torch.device) -> int:
        if self.pivot is None:
            return int(torch.randint(classes, (), generator=generator, device=device))
        if self.pivot >= classes:
            raise InvalidInputError(f"`pivot` is {self.pivot}, and there are {classes} classes, 0 the first.")
        return self.pivot
