"""L2X: relaxed feature selection by the largest of k Gumbel-softmaxes."""

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

__all__ = ["L2X"]


@final
class L2X(Layer):
    """Relaxed selections of at most k: in each entry the largest of k independent Gumbel-softmax samples.

        y_i = max over r = 1..k of softmax((theta + G^r) / temperature)_i

    The k samples may choose the same entry, so that the entries of y sum to less than k: it is not a relaxed
    k-subset. In `eval()` it returns the k largest entries of theta.

    Args:
        family: `KSubset(k)`.
        temperature: positive, without unit; 0.1 to 0.5 in the paper.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: another family.
        InvalidInputError: an option out of its range.

    Cost: no solve; k softmaxes.

    Source: Chen, Song, Wainwright and Jordan, ICML 2018, arXiv 1802.07814.

    `SoftSub` and `StochasticSoftmaxTrick` select k.
    """

    def __init__(
        self,
        family: MAPOracle,
        temperature: float = 0.5,
        *,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(family, num_samples=num_samples, generator=generator)
        self._subsets()  # refuses here, not at the first call
        check_positive(temperature, "temperature")
        self.temperature = temperature

    def _subsets(self) -> KSubset:
        return require(self.family, KSubset, "L2X")

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw relaxed samples, as `Layer.draw` says."""
        check_no_instances(instances, self.family)
        shape = (self._subsets().k, self.num_samples, *theta.shape)
        noise = Gumbel().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)

        def relaxation(point: Tensor) -> Tensor:
            return torch.softmax((point + noise) / self.temperature, -1).amax(0)

        return relaxed_draw(theta, relaxation)

    def extra_repr(self) -> str:
        """Show the family and the options."""
        return f"{super().extra_repr()}, temperature={self.temperature}"
