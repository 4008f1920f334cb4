"""Small networks, one per run of an experiment, whose runs are trained side by side."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["Networks"]


class Networks(nn.Module):
    """A network per run: (..., runs, rows, inputs) to (..., runs, rows, outputs); no run sees another.

    Args:
        sizes: of the layers, inputs first.
        runs: how many networks.
        source: of the start, uniform within one over the root of a layer's inputs.
        activation: between layers.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        runs: int,
        source: torch.Generator,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            for into, shape in ((self.weights, (runs, inputs, outputs)), (self.biases, (runs, 1, outputs))):
                drawn = 2 * torch.rand(*shape, generator=source) - 1
                into.append(nn.Parameter(drawn / inputs**0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Return what each run's network makes of its rows."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = (self.activation(x) if i else x) @ weight + bias
        return x
