"""Logistic noise: exact for independent zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt.noise._draws import check_temperature, standard_logistic
from imle_opt.noise.base import AdditiveNoise

__all__ = ["Logistic"]


@final
@dataclass(frozen=True)
class Logistic(AdditiveNoise):
    """Logistic noise, `temperature (log U - log(1 - U))`: the difference of two Gumbel draws.

    On independent zeros and ones (`Bernoulli`) its perturb-and-MAP law is exactly
    `sigmoid(theta / temperature)`.

    Args:
        temperature: scale; the mean is 0 and the standard deviation 1.8138 temperatures.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.
    """

    temperature: float = 1.0

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
        """Draw independent Logistic(0, temperature) noise, as `Noise.draw` says."""
        return standard_logistic(shape, generator, dtype, device).mul_(self.temperature)

    def score(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `tanh(eps / (2 temperature)) / temperature`, as `SmoothNoise.score` says."""
        return torch.tanh(drawn / (2 * self.temperature)) / self.temperature
