"""Stochastic softmax tricks: marginals at perturbed logits, as relaxed structured samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt._perturbed import NoiseSource
from imle_opt.families import MAPOracle, Marginals, require
from imle_opt.families._checks import check_no_instances
from imle_opt.layers._relaxed import relaxed_draw
from imle_opt.layers.layer import Draw, Layer
from imle_opt.noise import Gumbel, Noise

__all__ = ["StochasticSoftmaxTrick"]


@final
class StochasticSoftmaxTrick(Layer):
    """Relaxed samples of any family with marginals: the mean of the family at perturbed logits.

        U = perturb(theta, eps),   y = E z under p(z) ~ exp(<z, U> / temperature)

        hard=False   forward y;   hard=True   forward MAP(U);   backward the derivative of y

    y is the maximiser of `<U, x> - temperature * (negative entropy)` over the hull of the decisions, and
    tends to MAP(U) as the temperature falls. On one-hot choices it is Gumbel-softmax; on k-subsets the
    marginals come from elementary symmetric polynomials, on spanning trees from the matrix-tree theorem.

    Args:
        family: `KSubset(k)`, `SpanningTree(n)`, `Categorical()`, `Bernoulli()`, or another with marginals.
        temperature: positive, without unit.
        noise: how theta is perturbed; `Gumbel(1.0)` by default.
        hard: whether the loss sees decisions.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: a family without marginals.
        InvalidInputError: an option out of its range.

    Cost: marginals of S rows per row, and their derivative; no solve, but S MAPs per row with `hard=True`.

    Source: Paulus, Choi, Tarlow, Krause and Maddison, NeurIPS 2020, arXiv 2006.08063.

    Families that have optima only: `Perturbed`, `SparseMAP`, `IMLE`.
    """

    def __init__(
        self,
        family: MAPOracle,
        temperature: float = 1.0,
        *,
        noise: Noise | None = None,
        hard: bool = False,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(family, num_samples=num_samples, generator=generator)
        self._marginals()  # refuses here, not at the first call
        check_positive(temperature, "temperature")
        self.temperature = temperature
        self.noise = NoiseSource(Gumbel(1.0) if noise is None else noise)
        self.hard = hard

    def _marginals(self) -> Marginals:
        return require(self.family, Marginals, "StochasticSoftmaxTrick")  # type: ignore[type-abstract]  # a protocol is asked for by design

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw relaxed samples, or hardened ones, as `Layer.draw` says."""
        check_no_instances(instances, self.family)
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)

        def relaxation(point: Tensor) -> Tensor:
            shifted = perturbed.noise.perturb(point, perturbed.drawn)
            return self._marginals().marginals(shifted, self.temperature)

        return relaxed_draw(theta, relaxation, perturbed.decide(theta) if self.hard else None)

    def extra_repr(self) -> str:
        """Show the family and the options."""
        return f"{super().extra_repr()}, temperature={self.temperature}, hard={self.hard}"
