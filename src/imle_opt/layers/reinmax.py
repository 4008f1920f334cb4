"""ReinMax: the straight-through estimator of second order, for one-hot choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt.families import Categorical, MAPOracle, require
from imle_opt.families._checks import check_no_instances
from imle_opt.layers._relaxed import relaxed_draw
from imle_opt.layers.layer import Draw, Layer

__all__ = ["ReinMax"]


@final
class ReinMax(Layer):
    """Exact one-hot samples, with a straight-through gradient that is right to second order.

        D ~ p0 = softmax(theta),   p1 = (D + softmax(theta / temperature)) / 2
        forward    D
        backward   the derivative of 2 softmax(theta + [log p1 - theta]) - softmax(theta) / 2,
                   what is in brackets as a constant

    At temperature 1 it is Heun's rule: unbiased where the loss is quadratic in the decision of each variable;
    plain straight-through is unbiased where it is linear.

    Args:
        family: `Categorical()`.
        temperature: positive, without unit; above 1 it smooths p1.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: another family.
        InvalidInputError: an option out of its range.

    Cost: no solve.

    Source: Liu, Dong, Liu, Yu and Gao, NeurIPS 2023, arXiv 2304.08612.

    For a loss that must see one-hot decisions and has slopes there. Losses far from quadratic
    remain biased; unbiased estimators need values only, see `imle_opt.estimators`.
    """

    def __init__(
        self,
        family: MAPOracle,
        temperature: float = 1.0,
        *,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(family, num_samples=num_samples, generator=generator)
        self._categorical()  # refuses here, not at the first call
        check_positive(temperature, "temperature")
        self.temperature = temperature

    def _categorical(self) -> Categorical:
        return require(self.family, Categorical, "ReinMax")

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw exact samples, as `Layer.draw` says."""
        check_no_instances(instances, self.family)
        samples = self._categorical().sample(theta, self.num_samples, generator)
        between = (samples + torch.softmax(theta / self.temperature, -1)) / 2
        shift = between.log() - theta

        def relaxation(point: Tensor) -> Tensor:
            return 2 * torch.softmax(point + shift, -1) - torch.softmax(point, -1) / 2

        return relaxed_draw(theta, relaxation, samples)

    def extra_repr(self) -> str:
        """Show the family and the options."""
        return f"{super().extra_repr()}, temperature={self.temperature}"
