"""The ways of learning costs that go by a name: on the command line, and in `PredictThenOptimize`.

A method is a line in `METHODS`: what it learns from, and how its loss is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, final

from torch import Tensor, nn

from imle_opt.layers import IMLE, BlackBox
from imle_opt.layers.layer import Layer
from imle_opt.losses import ExplicitMLE, FenchelYoung, HammingLoss, RegretLoss, SPOPlus
from imle_opt.noise import Noise
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solver import Solver

__all__ = ["METHODS", "Labels", "LossOptions", "Method", "RowLoss", "Supervision"]

Supervision: TypeAlias = Literal["costs", "solutions"]


@final
@dataclass(frozen=True)
class Labels:
    """What is known of a batch of rows.

    Args:
        solutions: (rows, *shape) optimal decisions.
        costs: (rows, *shape) true costs, in the units of the predicted ones; None where unknown.
    """

    solutions: Tensor
    costs: Tensor | None = None


RowLoss: TypeAlias = Callable[[Tensor, Labels], Tensor]
"""(predicted costs, labels) -> loss of each row."""


@final
@dataclass(frozen=True)
class LossOptions:
    """What a loss may be made of; a method takes what it needs.

    Args:
        solver: of costs in the units of the predicted ones.
        noise: in these units.
        num_samples: perturbed decisions per row.
        strength: lambda of the methods that take a step against the gradient.
    """

    solver: Solver
    noise: Noise
    num_samples: int
    strength: float


@final
@dataclass(frozen=True)
class Method:
    """One way of learning.

    Args:
        title: what it is, in a few words.
        learns_from: the labels it can do with, the better ones first.
        make_loss: options -> (predicted costs, labels) -> loss per row; an `nn.Module` if it has state.
        binary_solutions: whether solutions, where it learns from these, must be 0 or 1.
    """

    title: str
    learns_from: tuple[Supervision, ...]
    make_loss: Callable[[LossOptions], nn.Module]
    binary_solutions: bool = False


@final
class _SquaredError(nn.Module):
    """Mean squared error of the costs of a row."""

    def forward(self, costs: Tensor, labels: Labels) -> Tensor:
        return (costs - _known(labels.costs)).square().flatten(1).mean(1)


@final
class _Likelihood(nn.Module):
    """`ExplicitMLE`, from costs where they are known."""

    def __init__(self, options: LossOptions) -> None:
        super().__init__()
        self.loss = ExplicitMLE(options.solver, options.noise, num_samples=options.num_samples)

    def forward(self, costs: Tensor, labels: Labels) -> Tensor:
        value: Tensor = (
            self.loss(costs, solutions=labels.solutions)
            if labels.costs is None
            else self.loss(costs, costs=labels.costs)
        )
        return value


@final
class _SPOPlus(nn.Module):
    """`SPOPlus` from costs and their optima."""

    def __init__(self, options: LossOptions) -> None:
        super().__init__()
        self.loss = SPOPlus(options.solver)

    def forward(self, costs: Tensor, labels: Labels) -> Tensor:
        value: Tensor = self.loss(costs, _known(labels.costs), solutions=labels.solutions)
        return value


@final
class _FenchelYoung(nn.Module):
    """`FenchelYoung` of the optimal decisions, also where costs are known."""

    def __init__(self, options: LossOptions) -> None:
        super().__init__()
        self.loss = FenchelYoung(options.solver, options.noise, num_samples=options.num_samples)

    def forward(self, costs: Tensor, labels: Labels) -> Tensor:
        value: Tensor = self.loss(costs, labels.solutions)
        return value


@final
class _OfDecisions(nn.Module):
    """A layer, then the regret of its decisions where costs are known, else their Hamming distance."""

    def __init__(self, layer: Layer, solver: Solver) -> None:
        super().__init__()
        self.layer = layer
        self.regret = RegretLoss(solver)
        self.hamming = HammingLoss(solver)

    def forward(self, costs: Tensor, labels: Labels) -> Tensor:
        decisions: Tensor = self.layer(costs)
        values: Tensor = (
            self.hamming(decisions, labels.solutions)
            if labels.costs is None
            else self.regret(decisions, labels.costs, labels.solutions)
        )
        return values.mean(0)


def _imle(options: LossOptions) -> nn.Module:
    layer = IMLE(
        options.solver,
        noise=options.noise,
        num_samples=options.num_samples,
        scale="1",  # Adam remembers the large gradients of the first small steps too long
        batch_reduction="mean",
    )
    return _OfDecisions(layer, options.solver)


def _black_box(options: LossOptions) -> nn.Module:
    layer = BlackBox(options.solver, options.strength, batch_reduction="mean")
    return _OfDecisions(layer, options.solver)


def _known(costs: Tensor | None) -> Tensor:
    if costs is None:
        raise InvalidInputError("This loss compares costs with costs: it cannot learn from solutions.")
    return costs


_EITHER: tuple[Supervision, ...] = ("costs", "solutions")

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "explicit-mle": Method("perturbed maximum likelihood", _EITHER, _Likelihood),
        "spo+": Method("SPO+", ("costs",), _SPOPlus),
        "fenchel-young": Method("perturbed Fenchel-Young loss", _EITHER, _FenchelYoung),
        "imle": Method("I-MLE with adaptive steps, on the regret", _EITHER, _imle, binary_solutions=True),
        "blackbox": Method("black-box differentiation", _EITHER, _black_box, binary_solutions=True),
        "mse": Method("squared error of the costs (two-stage)", ("costs",), lambda options: _SquaredError()),
    }
)
"""By name; a new method is one line here."""
