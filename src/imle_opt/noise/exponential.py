"""Exponential noise below zero: costs of a minimisation that are not negative stay so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt.noise._draws import (
    check_temperature,
    standard_exponential,
)
from imle_opt.noise.base import AdditiveNoise

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
        check_temperature(self.temperature)

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw independent noise, as `Noise.draw` says."""
        return standard_exponential(shape, generator, dtype, device).mul_(-self.temperature)
