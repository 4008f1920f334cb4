"""Checks at the public edge of the families that compute on tensors."""

from __future__ import annotations

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

__all__ = ["check_no_instances", "check_support_size"]

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
