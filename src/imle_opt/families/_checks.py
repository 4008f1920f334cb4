"""Checks at the public edge of the families that compute on tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from imle_opt._checks import check_at_least_one, check_tensor
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

__all__ = [
    "check_decisions",
    "check_event_dim",
    "check_event_shape",
    "check_no_instances",
    "check_support_size",
]

_LARGEST_SUPPORT = 2**24
"""Most entries (decisions times their size) that `support` lists."""


def check_no_instances(instances: Instances | None, family: object) -> None:
    """Refuse per-row data, for a family whose rows all have the same region."""
    if instances:
        raise InvalidInputError(
            f"{family!r} takes no `instances` (got {', '.join(map(repr, instances))}): every row has the "
            "same feasible region."
        )


def check_support_size(count: int, event_size: int, family: object) -> None:
    """Refuse to enumerate more than memory bears."""
    if count * event_size > _LARGEST_SUPPORT:
        raise InvalidInputError(
            f"{family!r} has {count} decisions of size {event_size}, too many to list (at most "
            f"{_LARGEST_SUPPORT} entries in all). Use samples or marginals instead."
        )


def check_event_dim(event_dim: int) -> None:
    """Refuse a family whose decisions have no dimension."""
    check_at_least_one(event_dim, "event_dim")


def check_event_shape(event_shape: Sequence[int], event_dim: int, family: object) -> None:
    """Refuse a shape of another rank than the family's decisions."""
    if len(event_shape) != event_dim:
        raise InvalidInputError(
            f"`event_shape` must have {event_dim} dimension(s) for {family!r}, not {tuple(event_shape)}."
        )


def check_decisions(z: Tensor, theta: Tensor) -> None:
    """Refuse decisions that are not (*samples, *batch, *event) for a theta (*batch, *event)."""
    check_tensor(z, "z")
    if z.ndim < theta.ndim or z.shape[z.ndim - theta.ndim :] != theta.shape:
        raise InvalidInputError(
            f"`z` must have the shape of `theta`, {tuple(theta.shape)}, with any number of sample dimensions "
            f"before it, not {tuple(z.shape)}."
        )
