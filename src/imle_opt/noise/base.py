"""What every noise does: it is drawn once, and perturbs theta as often as needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor

__all__ = ["AdditiveNoise", "Noise", "SmoothNoise"]


class Noise(ABC):
    """What perturbs theta before it is maximised: `draw` it once, `perturb` with it as often as needed."""

    @property
    def is_zero(self) -> bool:
        """Whether this is no noise at all, so that one solve stands for all samples."""
        return False

    @abstractmethod
    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw noise; the same generator state gives bit-equal noise.

        Args:
            shape: of the noise, (S, *batch, *event).
            generator: source of randomness, on `device`; None is torch's default generator of that device.
            dtype: of the theta to be perturbed. Half precision is too coarse for noise (it makes ties), so
                the noise is then drawn, and returned, in float32; theta perturbed by it is float32 too.
            device: where to draw.

        Returns:
            Noise of `shape`, without a graph.
        """

    @abstractmethod
    def perturb(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return theta perturbed by noise from `draw`.

        Args:
            theta: (*batch, *event), always maximised; shapes broadcast against `drawn`.
            drawn: (S, *batch, *event), from `draw`.
        """


class AdditiveNoise(Noise, ABC):
    """Noise that is added: `theta + drawn`."""

    @final
    def perturb(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `theta + drawn`."""
        return theta + drawn


@runtime_checkable
class SmoothNoise(Protocol):
    """Noise under which the perturbed theta has a smooth density: `Normal`, `Gumbel`, `Multiplicative`."""

    def score(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return the gradient by theta of the log density of the perturbed theta, at the one that was drawn.

        Its mean is 0, and `d/dtheta E g(perturb(theta, eps)) = E g(perturb(theta, eps)) score` for any g.

        Args:
            theta: (*batch, *event).
            drawn: (S, *batch, *event), from `draw`.

        Returns:
            (S, *batch, *event).
        """
        ...
