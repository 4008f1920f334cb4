"""The network of the experiment on maps: the first layers of a ResNet18, then one cost per cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions 3x3 around which the input goes, too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return channels as large as before, none of them negative."""
        return (x + self.change(x)).relu()


class CostNetwork(nn.Module):
    """From pictures of bytes (maps, 3, height, width) to costs (maps, size, size), none of them negative.

    Args:
        size: rows and columns of a map.
        images: whose mean and deviation per channel are normalised.
    """

    def __init__(self, size: int, images: Tensor) -> None:
        super().__init__()
        pixels = images.transpose(0, 1).flatten(1).double()
        self.register_buffer("mean", pixels.mean(1)[:, None, None].float())
        self.register_buffer("deviation", pixels.std(1)[:, None, None].float())
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            Residual(64),
            Residual(64),
            nn.AdaptiveMaxPool2d(size),
        )
        for layer in self.layers.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the cost of each cell."""
        normal = (images.float() - self.mean) / self.deviation
        costs: Tensor = self.layers(normal.contiguous(memory_format=torch.channels_last)).mean(1)
        return costs
