"""The task of the demo: shortest paths on maps of handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from imle_opt.data import DigitMaps, DigitMapSplits, digit_maps
from imle_opt_solvers.grid import grid_path
from imle_opt_solvers.shortest_path import ShortestPath
from imle_opt_solvers.solution import FloatArray, Solution

__all__ = ["SIZE", "Labelled", "Task", "cost_network", "make_task"]

SIZE = 6
"""Rows and columns of a map, in digits."""


@final
@dataclass(frozen=True, eq=False)
class Labelled:
    """A set of maps with their shortest paths.

    Args:
        maps: images and true costs.
        features: (maps, 1, 48, 48) what the network sees: the images, with mean 0 and variance 1 over the
            training maps.
        solution: the shortest paths under the true costs.
    """

    maps: DigitMaps
    features: Tensor
    solution: Solution

    @property
    def paths(self) -> FloatArray:
        """(maps, 6, 6), 1 on the shortest path."""
        return self.solution.decisions


@final
@dataclass(frozen=True, eq=False)
class Task:
    """Maps to train on, to watch and to test, whose digits are disjoint, and the solver of their paths."""

    solver: ShortestPath
    train: Labelled
    validation: Labelled
    test: Labelled


def make_task(train_maps: int, test_maps: int, seed: int) -> Task:
    """Lay out the maps, a fifth of the number of training maps for the learning curves, and solve them.

    Args:
        train_maps: maps to train on.
        test_maps: maps to test on.
        seed: of the maps.
    """
    splits = digit_maps(train_maps, max(train_maps // 5, 1), test_maps, size=SIZE, seed=seed)
    solver = grid_path((SIZE, SIZE), neighbours=8, costs_on="vertices")
    return Task(
        solver, *(_labelled(maps, splits, solver) for maps in (splits.train, splits.validation, splits.test))
    )


def _labelled(maps: DigitMaps, splits: DigitMapSplits, solver: ShortestPath) -> Labelled:
    mean, deviation = splits.train.images.mean(), splits.train.images.std()
    features = torch.from_numpy((maps.images - mean) / deviation)
    return Labelled(maps, features, solver.solve(maps.costs))


def cost_network() -> nn.Module:
    """Return a small convolutional network from a map's image to the costs of its cells, (6, 6), above 0.

    Its last layer begins at zero, so all costs begin equal. Where first steps are taken from random costs
    they can push every softplus so far below zero that its gradient is lost, under any loss.
    """
    last = nn.Conv2d(32, 1, kernel_size=1)
    hidden = nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=2, stride=2),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(64, 128, kernel_size=2, stride=2),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Conv2d(128, 32, kernel_size=1),
        nn.ReLU(),
    )
    for layer in hidden:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.zeros_(last.weight)
    return nn.Sequential(hidden, last, nn.Softplus(), nn.Flatten(1, 2))
