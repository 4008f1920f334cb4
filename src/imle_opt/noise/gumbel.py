"""Gumbel noise: exact for one-hot decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt.noise._draws import (
    check_temperature,
    log_in_place,
    standard_exponential,
)
from imle_opt.noise.base import AdditiveNoise

__all__ = ["Gumbel"]


_SMALLEST_EXPONENTIAL = 1e-12
"""Lower bound of an exponential draw whose logarithm is taken: keeps a rounded zero from becoming an outlier
(about 87 in float32), and cuts off a probability of 1e-12."""


@final
@dataclass(frozen=True)
class Gumbel(AdditiveNoise):
    """Gumbel noise, `-temperature log(-log U)`.

    On one-hot decisions its perturb-and-MAP law is exactly `softmax(theta / temperature)`. Decisions with k
    ones sum k draws, which is not Gumbel: see `SumOfGamma`.

    Args:
        temperature: scale; the mean is 0.5772 and the standard deviation 1.2825 temperatures.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.

    Source: Papandreou and Yuille, ICCV 2011.
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
        """Draw independent Gumbel(0, temperature) noise, as `Noise.draw` says."""
        drawn = standard_exponential(shape, generator, dtype, device).clamp_(min=_SMALLEST_EXPONENTIAL)
        return log_in_place(drawn).mul_(-self.temperature)

    def score(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `(1 - exp(-eps / temperature)) / temperature`, as `SmoothNoise.score` says."""
        return -torch.expm1(-drawn / self.temperature) / self.temperature
