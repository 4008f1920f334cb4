"""Checks at the public edge of the families that compute on tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

LARGEST_SUPPORT = 2**24
"""Most entries (decisions times their size) that `support` will list."""


def check_theta(theta: Tensor, event_dim: int) -> None:
    """Refuse a theta that is not floating point, lacks dimensions, or holds NaN or infinite entries."""
    if not theta.is_floating_point():
        raise InvalidInputError(
            f"`theta` must be floating point, not {theta.dtype}: convert with `.to(torch.float32)`."
        )
    if theta.ndim < event_dim:
        raise InvalidInputError(
            f"`theta` must have shape (*batch, *event) with {event_dim} event dimension(s), not "
            f"{tuple(theta.shape)}."
        )
    finite = torch.isfinite(theta)
    if not finite.all():
        bad = (~finite).nonzero()
        raise InvalidInputError(
            f"`theta` must be finite: {len(bad)} of {theta.numel()} entries are NaN or infinite (first at "
            f"{tuple(bad[0].tolist())}). Check the predictor's output and the data it was fed."
        )


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not positive and finite."""
    if not 0 < temperature < math.inf:
        raise InvalidInputError(f"`temperature` must be positive and finite, not {temperature!r}.")


def check_num_samples(num_samples: int) -> None:
    """Refuse fewer than one sample."""
    if num_samples < 1:
        raise InvalidInputError(f"`num_samples` must be at least 1, not {num_samples!r}.")


def check_no_instances(instances: Instances | None, family: object) -> None:
    """Refuse per-row data, for a family whose rows all have the same region."""
    if instances:
        raise InvalidInputError(
            f"{family!r} takes no `instances` (got {', '.join(map(repr, instances))}): every row has the "
            "same feasible region."
        )


def check_support_size(count: int, event_size: int, family: object) -> None:
    """Refuse to enumerate more than memory bears."""
    if count * event_size > LARGEST_SUPPORT:
        raise InvalidInputError(
            f"{family!r} has {count:.3g} decisions of size {event_size}, too many to list (at most "
            f"{LARGEST_SUPPORT} entries in all). Use samples or marginals instead."
        )


def at_least_float32(theta: Tensor) -> Tensor:
    """Return theta in a precision fit for sums of exponentials."""
    return theta if theta.dtype == torch.float64 else theta.float()
