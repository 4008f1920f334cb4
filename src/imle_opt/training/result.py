"""What a training run did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, final

__all__ = ["EpochRecord", "FitResult"]

EpochRecord: TypeAlias = dict[str, float]
"""What is known after an epoch; see `FitResult.history`."""


@final
@dataclass(frozen=True)
class FitResult:
    """What a training run did.

    Args:
        history: one dictionary per epoch: `epoch` (from 1), `loss` (mean over the rows), `seconds` (wall
            clock of its training steps), with a `clock` also `solver_seconds`, with a `profile` what
            `StepProfile.lap` returns, with a validation also `validation`.
        best_epoch: the epoch whose weights the model now has; without a validation, the last one.
        best_validation: the validation's value there; None without a validation.
        stopped_early: whether `patience` ended the run.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    best_validation: float | None
    stopped_early: bool

    @property
    def seconds(self) -> float:
        """Wall clock of all training steps; validation and callbacks are not counted."""
        return math.fsum(record["seconds"] for record in self.history)

    @property
    def solver_seconds(self) -> float:
        """Seconds of the training steps that were spent in the solver; NaN without `clock` and `profile`."""
        return math.fsum(record.get("solver_seconds", math.nan) for record in self.history)

    @property
    def network_seconds(self) -> float:
        """The rest of the training steps: network, loss, data; NaN without `clock` and `profile`."""
        return self.seconds - self.solver_seconds
