"""No noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt.noise.base import AdditiveNoise

__all__ = ["NoNoise"]


@final
@dataclass(frozen=True)
class NoNoise(AdditiveNoise):
    """No noise: nothing is drawn, and theta stays as it is."""

    @property
    def is_zero(self) -> bool:
        """Always true."""
        return True

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Return zeros, in `dtype`, and leave the generator alone."""
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
