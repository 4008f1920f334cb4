"""Normal noise."""

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
from imle_opt.noise.base import AdditiveNoise

__all__ = ["Normal"]


@final
@dataclass(frozen=True)
class Normal(AdditiveNoise):
    """Normal noise with mean 0.

    Args:
        temperature: its standard deviation, in the units of theta.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.

    Source: Berthet et al., NeurIPS 2020, arXiv 2002.08676.
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
        """Draw independent normal noise, as `Noise.draw` says."""
        return standard_normal(shape, generator, dtype, device).mul_(self.temperature)

    def score(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `eps / temperature^2`, as `SmoothNoise.score` says."""
        return drawn / self.temperature**2
