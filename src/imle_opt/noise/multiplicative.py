"""Log-normal factors, which keep the sign of every cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt.noise._draws import (
    check_temperature,
    standard_normal,
)
from imle_opt.noise.base import Noise

__all__ = ["Multiplicative"]


@final
@dataclass(frozen=True)
class Multiplicative(Noise):
    """Log-normal factors with mean 1: `theta exp(temperature Z - temperature^2 / 2)`, Z standard normal.

    Keeps the sign of every entry, so that costs which must not be negative (Dijkstra's) stay legal. An entry
    of theta that is 0 is not perturbed.

    Args:
        temperature: standard deviation of the logarithm of a factor; without unit.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.

    Source: Dalle et al., 2022, arXiv 2207.13513, Section 4.
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
        """Draw the factors, as `Noise.draw` says."""
        normal = standard_normal(shape, generator, dtype, device)
        return normal.mul_(self.temperature).sub_(self.temperature**2 / 2).exp_()

    def perturb(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `theta * drawn`."""
        return theta * drawn

    def score(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `Z / (temperature theta)`, as `SmoothNoise.score` says; 0 where theta is 0 and stays so."""
        standard = (drawn.log() + self.temperature**2 / 2) / self.temperature
        still = theta == 0
        return torch.where(still, 0, standard / (self.temperature * torch.where(still, 1, theta)))
