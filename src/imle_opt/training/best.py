"""The best weights so far, given back to the model however training ends."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, final

from torch import nn

__all__ = ["Best"]


@final
class Best:
    """The epoch with the lowest validation so far, its value and its weights.

    Attributes:
        epoch: from 1; 0 where there is none yet.
        value: of the validation.
        weights: the model's `state_dict` there.
    """

    def __init__(self) -> None:
        self.epoch, self.value = 0, math.inf
        self.weights: dict[str, Any] | None = None

    def offer(self, model: nn.Module, epoch: int, value: float) -> None:
        """Keep the model's weights if the value is lower than all before."""
        if value < self.value:
            self.epoch, self.value = epoch, value
            self.weights = copy.deepcopy(model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        return {"epoch": self.epoch, "value": self.value, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.epoch, self.value, self.weights = state["epoch"], state["value"], state["weights"]

    @contextmanager
    def restored_to(self, model: nn.Module) -> Generator[None]:
        """Leave the model in `eval()`, with the best weights, also after an exception."""
        try:
            yield
        finally:
            if self.weights is not None:
                model.load_state_dict(self.weights)
            model.eval()
