"""SoftSub: relaxed k-subsets by k softmaxes, each without what was taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt.families import KSubset, MAPOracle, require
from imle_opt.families._checks import check_no_instances
from imle_opt.layers._relaxed import relaxed_draw
from imle_opt.layers.layer import Draw, Layer
from imle_opt.noise import Gumbel

__all__ = ["SoftSub"]


@final
class SoftSub(Layer):
    """Relaxed k-subsets: k rounds of a softmax at a temperature, each with what was taken before discounted.

        x^0 = theta + Gumbel noise
        for j = 1..k:   a^j = softmax(x^{j-1} / temperature),   x^j = x^{j-1} + log(1 - a^j)
        y = sum over j of a^j

        hard=False   forward y;   hard=True   forward the k largest of x^0;   backward the derivative of y

    The entries of y sum to k, but one of them may exceed 1. The hardened samples follow the Plackett-Luce law
    (Gumbel top-k), not the exponential family of `KSubset`.

    Args:
        family: `KSubset(k)`.
        temperature: positive, without unit.
        hard: whether the loss sees decisions.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: another family.
        InvalidInputError: an option out of its range.

    Cost: no solve; k softmaxes.

    Source: Xie and Ermon, IJCAI 2019, arXiv 1901.10517.

    `StochasticSoftmaxTrick` on the same family stays inside the hull of the decisions and is less biased.
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
        self._subsets()  # refuses here, not at the first call
        check_positive(temperature, "temperature")
        self.temperature = temperature
        self.hard = hard

    def _subsets(self) -> KSubset:
        return require(self.family, KSubset, "SoftSub")

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw relaxed samples, or hardened ones, as `Layer.draw` says."""
        check_no_instances(instances, self.family)
        shape = (self.num_samples, *theta.shape)
        noise = Gumbel().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)

        def relaxation(point: Tensor) -> Tensor:
            return soft_subset(point + noise, self._subsets().k, self.temperature)

        return relaxed_draw(theta, relaxation, self._subsets().map(theta + noise) if self.hard else None)

    def extra_repr(self) -> str:
        """Show the family and the options."""
        return f"{super().extra_repr()}, temperature={self.temperature}, hard={self.hard}"


def soft_subset(scores: Tensor, k: int, temperature: float) -> Tensor:
    """Return the sum of k softmaxes, each without what was taken before.

    Args:
        scores: (*batch, n), perturbed.
        k: how many to take.
        temperature: positive.

    Returns:
        (*batch, n), entries that sum to k, differentiable.
    """
    smallest = torch.finfo(scores.dtype).tiny
    taken = torch.softmax(scores / temperature, -1)
    total = taken
    for _ in range(k - 1):
        scores = scores + (1 - taken).clamp(min=smallest).log()
        taken = torch.softmax(scores / temperature, -1)
        total = total + taken
    return total
