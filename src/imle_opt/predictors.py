"""Networks from a table of features to costs, with the scaling that they need."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn

from imle_opt_solvers.solution import FloatArray

__all__ = ["PREDICTORS", "Kind", "Standardize", "cost_network"]

Kind: TypeAlias = Literal["linear", "mlp"]
PREDICTORS: tuple[Kind, ...] = ("linear", "mlp")


@final
class Standardize(nn.Module):
    """Features to mean 0 and variance 1, as they were in the training rows; constant ones to 0.

    Args:
        width: number of features.

    Attributes:
        mean: (features,) a buffer.
        inverse_scale: (features,) one over the standard deviation, 0 for constant ones; a buffer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.inverse_scale: Tensor
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("inverse_scale", torch.ones(width, dtype=torch.float64))

    def learn(self, features: FloatArray) -> None:
        """Take mean and deviation from training rows, (rows, features)."""
        varies = features.max(axis=0) > features.min(axis=0)  # a deviation is not exactly 0 after rounding
        scale = np.where(varies, features.std(axis=0), 1.0)
        self.mean.copy_(torch.from_numpy(features.mean(axis=0)))
        self.inverse_scale.copy_(torch.from_numpy(np.where(varies & (scale > 0), 1 / scale, 0.0)))

    def forward(self, features: Tensor) -> Tensor:
        """Return (features - mean) / deviation."""
        return (features - self.mean) * self.inverse_scale


def cost_network(
    kind: Kind, width: int, shape: tuple[int, ...], *, hidden: int, nonnegative: bool
) -> nn.Sequential:
    """Return a network in double precision, from features (rows, width) to costs (rows, *shape).

    Its first module is a `Standardize`, which has yet to learn. Its last layer begins at zero, so that all
    rows begin with the same costs; see `start_at`.

    Args:
        kind: `"linear"`, or `"mlp"` with one hidden layer.
        width: number of features.
        shape: of the costs of a row.
        hidden: width of the hidden layer.
        nonnegative: put a softplus behind.
    """
    outputs = math.prod(shape)
    last = nn.Linear(width if kind == "linear" else hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    before = [] if kind == "linear" else [nn.Linear(width, hidden), nn.ReLU()]
    after = [nn.Softplus()] if nonnegative else []
    return nn.Sequential(Standardize(width), *before, last, *after, nn.Unflatten(1, shape)).double()


def start_at(network: nn.Sequential, costs: FloatArray) -> None:
    """Let a new `cost_network` predict the given costs, (*shape), for every row."""
    last = next(module for module in reversed(network) if isinstance(module, nn.Linear))
    values = torch.from_numpy(costs.ravel())
    if any(isinstance(module, nn.Softplus) for module in network):
        values = values.clamp(min=1e-3)
        values = values + torch.log(-torch.expm1(-values))  # the inverse of softplus
    with torch.no_grad():
        last.bias.copy_(values)
