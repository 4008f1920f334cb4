"""What a solve returns: a status, a decision and an objective per row, and the limits that it ran under."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral, Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError

__all__ = [
    "FloatArray",
    "Limits",
    "OnFailure",
    "Sense",
    "Solution",
    "Status",
    "dot",
]

FloatArray = NDArray[np.float64]
OnFailure = Literal["raise", "incumbent", "nan"]

_LONGEST_PRODUCT = 10_000
"""Entries of a row: BLAS adds longer ones up on several threads, in an order that depends on how many."""


class Sense(StrEnum):
    """The direction of a model's own objective."""

    MIN = "min"
    MAX = "max"

    @property
    def sign(self) -> float:
        """`theta = sign * costs`: +1 for a maximisation, -1 for a minimisation."""
        return 1.0 if self is Sense.MAX else -1.0


class Status(StrEnum):
    """How the solve of one row ended."""

    OPTIMAL = "optimal"
    """Proven optimal, to within the relative gap that was asked for (0 by default)."""
    FEASIBLE = "feasible"
    """A limit was hit; the decision is the best one found, without proof."""
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    LIMIT = "limit"
    """A limit was hit before any feasible decision was found."""
    ERROR = "error"
    """The solver gave up for a reason of its own (numerical trouble, an unknown status)."""

    @property
    def has_decision(self) -> bool:
        """Whether a feasible decision comes with this status."""
        return self in (Status.OPTIMAL, Status.FEASIBLE)


def _is(kind: type, value: object) -> bool:
    return isinstance(value, kind)


@dataclass(frozen=True)
class Limits:
    """When a solver may stop, for each row on its own.

    Args:
        seconds: wall clock for one row; None means no limit.
        relative_gap: a row counts as optimal once its proven relative gap is at most this; 0 means proven
            optimal.
        threads: threads that one solve may use. Leave it at 1 where rows are solved in parallel.

    Raises:
        InvalidInputError: a limit is out of its range.
    """

    seconds: float | None = None
    relative_gap: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.seconds is not None and not (_is(Real, self.seconds) and self.seconds > 0):
            raise InvalidInputError(f"`seconds` must be positive or None, not {self.seconds!r}.")
        if not (_is(Real, self.relative_gap) and 0 <= self.relative_gap < 1):
            raise InvalidInputError(f"`relative_gap` must lie in [0, 1), not {self.relative_gap!r}.")
        if not (_is(Integral, self.threads) and self.threads >= 1):
            raise InvalidInputError(f"`threads` must be a whole number, at least 1, not {self.threads!r}.")


@dataclass(frozen=True)
class Solution:
    """The answer to one batch of costs.

    Args:
        decisions: (*batch, *shape) float64; NaN in rows without a decision.
        objectives: (*batch,) in the model's own sense, over the predicted costs and any fixed part; NaN in
            rows without a decision.
        statuses: one per row, in the row-major order of the batch.
        gaps: (*batch,) proven relative gap; 0 where proven optimal, NaN where unknown.
        seconds: wall clock for the whole batch.
    """

    decisions: FloatArray
    objectives: FloatArray
    statuses: tuple[Status, ...]
    gaps: FloatArray
    seconds: float

    @property
    def failed_rows(self) -> tuple[int, ...]:
        """Rows that are not `OPTIMAL`, as flat indices into the batch."""
        if self.statuses.count(Status.OPTIMAL) == len(self.statuses):
            return ()
        return tuple(row for row, status in enumerate(self.statuses) if status is not Status.OPTIMAL)

    @classmethod
    def optimal(cls, costs: FloatArray, decisions: FloatArray) -> Solution:
        """Return a flat batch whose rows are all proven optimal, both (B, *shape), without a fixed part."""
        rows = len(costs)
        objectives = dot(costs.reshape(rows, -1), decisions.reshape(rows, -1))
        return cls(decisions.reshape(costs.shape), objectives, (Status.OPTIMAL,) * rows, np.zeros(rows), 0.0)


def dot(costs: FloatArray, decisions: FloatArray) -> FloatArray:
    """Return `<costs, decisions>` of each row, (B, m) to (B,), whatever the number of threads."""
    if costs.shape[1] > _LONGEST_PRODUCT:
        return np.asarray(np.einsum("bm,bm->b", costs, decisions))
    with np.errstate(over="ignore", invalid="ignore"):  # as einsum; callers look at what is not finite
        return np.asarray(np.vecdot(costs, decisions))
