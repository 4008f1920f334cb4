"""Gumbel-softmax, the Concrete distribution, and its straight-through form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt.families import MAPOracle, Reparameterized, require
from imle_opt.families._checks import check_no_instances
from imle_opt.layers._relaxed import relaxed_draw
from imle_opt.layers.layer import Draw, Layer

__all__ = ["GumbelSoftmax"]


@final
class GumbelSoftmax(Layer):
    """Relaxed samples: the softmax, at a temperature, of logits perturbed by Gumbel noise.

        zeta = theta + noise,   y = softmax(zeta / temperature)        one-hot choices, Gumbel noise
                                y = sigmoid(zeta / temperature)        zeros and ones, logistic noise

        hard=False   forward y,              backward the derivative of y
        hard=True    forward harden(zeta),   backward the derivative of y        (straight-through)

    `harden(zeta)` is an exact sample of the family. Relaxed samples lie inside the hull of the decisions; the
    gradient is unbiased for the relaxed loss, biased for that of the decisions, and its variance grows as the
    temperature falls.

    Args:
        family: `Categorical()` or `Bernoulli()`, or another whose samples are reparameterised.
        temperature: positive, without unit; 0.5 to 1 is usual.
        hard: whether the loss sees decisions.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: a family without reparameterised samples.
        InvalidInputError: an option out of its range.

    Cost: no solve.

    Source: Jang, Gu and Poole, ICLR 2017, arXiv 1611.01144; Maddison, Mnih and Teh, ICLR 2017, arXiv
    1611.00712.

    With `hard=True`, `GumbelRao` has the same mean and less variance, and `ReinMax` less bias.
    """

    def __init__(
        self,
        family: MAPOracle,
        temperature: float = 1.0,
        *,
        hard: bool = False,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(family, num_samples=num_samples, generator=generator)
        self._reparameterized()  # refuses here, not at the first call
        check_positive(temperature, "temperature")
        self.temperature = temperature
        self.hard = hard

    def _reparameterized(self) -> Reparameterized:
        return require(self.family, Reparameterized, "GumbelSoftmax")  # type: ignore[type-abstract]  # a protocol is asked for by design

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw relaxed samples, or hardened ones, as `Layer.draw` says."""
        check_no_instances(instances, self.family)
        family = self._reparameterized()
        noise = family.rsample(theta, self.num_samples, generator).detach() - theta

        def relaxation(point: Tensor) -> Tensor:
            return family.relax(point + noise, self.temperature)

        return relaxed_draw(theta, relaxation, family.harden(theta + noise) if self.hard else None)

    def extra_repr(self) -> str:
        """Show the family and the options."""
        return f"{super().extra_repr()}, temperature={self.temperature}, hard={self.hard}"
