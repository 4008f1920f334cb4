"""The ways of learning that the experiment on maps compares, with the options of their papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from experiment import Call, call
from torch import Tensor, nn

from imle_opt import BlackBox, ExplicitMLE, FenchelYoung, HammingLoss, Normal, SPOPlus, SumOfGamma
from imle_opt.families import MAPOracle
from imle_opt_solvers.instances import Instances

SIZE = 12
Rule: TypeAlias = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


class Method(NamedTuple):
    """One way of learning.

    Args:
        sees: what it learns from, for people.
        made: the layer or loss; its first argument is the family of paths.
        rule: (layer or loss, predicted costs, true costs, paths) -> loss of each map.
    """

    sees: str
    made: Call
    rule: Rule


class SquaredError(nn.Module):
    """The mean squared error of the costs; paths play no part."""

    def __init__(self, family: MAPOracle) -> None:
        super().__init__()

    def forward(self, predicted: Tensor, costs: Tensor) -> Tensor:
        """Return the loss of each map."""
        return (predicted - costs).square().mean((1, 2))


def hamming(layer: BlackBox, predicted: Tensor, costs: Tensor, paths: Tensor) -> Tensor:
    """Return how many cells the paths of a layer do not share with the shortest ones."""
    distances: Tensor = HammingLoss(layer.family)(layer(predicted), paths).mean(0)
    return distances


METHODS: dict[str, Method] = {
    "mu-mu": Method(
        "costs",
        call(ExplicitMLE, noise=SumOfGamma(kappa=int(1.3 * SIZE))),
        lambda loss, predicted, costs, paths: loss(predicted, costs=costs),
    ),
    "M-M": Method(
        "paths",
        call(ExplicitMLE),
        lambda loss, predicted, costs, paths: loss(predicted, solutions=paths),
    ),
    "Black-box": Method("paths", call(BlackBox, strength=20.0), hamming),
    "Fenchel-Young": Method(
        "paths",
        call(FenchelYoung, noise=Normal(0.01)),
        lambda loss, predicted, costs, paths: loss(predicted, paths),
    ),
    "SPO+": Method(
        "costs",
        call(SPOPlus),
        lambda loss, predicted, costs, paths: loss(predicted, costs, solutions=paths),
    ),
    "Two-stage": Method(
        "costs",
        call(SquaredError),
        lambda loss, predicted, costs, paths: loss(predicted, costs),
    ),
}


class Clipping:
    """A family of paths that counts the rows with a negative cost, for which it clips."""

    def __init__(self, family: MAPOracle) -> None:
        self.family = family
        self.rows = self.clipped = 0

    @property
    def event_dim(self) -> int:
        """As the family's."""
        return self.family.event_dim

    @property
    def sign(self) -> float:
        """As the family's."""
        return self.family.sign

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the paths of least clipped cost."""
        negative = (self.sign * theta < 0).flatten(-2).any(-1)
        self.rows += negative.numel()
        self.clipped += int(negative.sum())
        return self.family.map(theta, instances=instances, deterministic=deterministic)
