"""Additive noise that never makes a cost of a minimisation negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt.noise import AdditiveNoise

__all__ = ["Exponential"]


@final
@dataclass(frozen=True)
class Exponential(AdditiveNoise):
    """Exponential noise below zero: `theta - temperature E`, E ~ Exp(1).

    In costs of a minimisation it is `costs + temperature E`: what was not negative stays so, and Dijkstra
    stays exact, without clipping. Other than factors (`Multiplicative`), it does not shrink with the costs:
    costs have to stand out from it, so that a network cannot escape the loss by costs of zero.

    For a maximisation whose costs must not be negative it is of no use.

    Args:
        temperature: mean and standard deviation, in the units of theta.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.
    """

    temperature: float

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature", "; for no noise use NoNoise()")

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw independent noise, as `Noise.draw` says."""
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        drawn = torch.empty(tuple(shape), dtype=wide, device=device).exponential_(generator=generator)
        return drawn.mul_(-self.temperature)
