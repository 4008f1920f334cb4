"""Gumbel-Rao: straight-through Gumbel-softmax, averaged over the noise that gives the same decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one, check_positive
from imle_opt.families import MAPOracle, Reparameterized, require
from imle_opt.families._checks import check_no_instances
from imle_opt.layers._relaxed import relaxed_draw
from imle_opt.layers.layer import Draw, Layer

__all__ = ["GumbelRao"]


@final
class GumbelRao(Layer):
    """Exact samples, with the straight-through Gumbel-softmax gradient averaged over what they leave open.

        z ~ p(z; theta),   X_1..X_K ~ theta + noise given that they harden to z
        forward    z
        backward   (1/K) sum_k of the derivative of relax(X_k / temperature) by X_k

    The mean is that of `GumbelSoftmax(hard=True)`, the variance is lower (Rao-Blackwell), and the loss is not
    evaluated more often. Nothing is differentiated through the law of X given z: that would be another
    estimator.

    Args:
        family: `Categorical()` or `Bernoulli()`, or another whose samples are reparameterised.
        temperature: positive, without unit; lower ones than for `GumbelSoftmax` are affordable.
        num_conditional: K; 10 to 100 is usual.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: a family without reparameterised samples.
        InvalidInputError: an option out of its range.

    Cost: no solve; memory of K times the samples.

    Source: Paulus, Maddison and Krause, ICLR 2021, arXiv 2010.04838.
    """

    def __init__(
        self,
        family: MAPOracle,
        temperature: float = 1.0,
        *,
        num_conditional: int = 10,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(family, num_samples=num_samples, generator=generator)
        self._reparameterized()  # refuses here, not at the first call
        check_positive(temperature, "temperature")
        check_at_least_one(num_conditional, "num_conditional")
        self.temperature = temperature
        self.num_conditional = num_conditional

    def _reparameterized(self) -> Reparameterized:
        return require(self.family, Reparameterized, "GumbelRao")  # type: ignore[type-abstract]  # a protocol is asked for by design

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw exact samples, as `Layer.draw` says."""
        check_no_instances(instances, self.family)
        family = self._reparameterized()
        samples = family.sample(theta, self.num_samples, generator)
        repeated = samples.expand(self.num_conditional, *samples.shape)
        noise = family.rsample_given(theta, repeated, generator).detach() - theta

        def relaxation(point: Tensor) -> Tensor:
            return family.relax(point + noise, self.temperature).mean(0)

        return relaxed_draw(theta, relaxation, samples)

    def extra_repr(self) -> str:
        """Show the family and the options."""
        options = f"temperature={self.temperature}, num_conditional={self.num_conditional}"
        return f"{super().extra_repr()}, {options}"
