"""What all layers share: costs in, samples of decisions out, and a rule for the way back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn

from imle_opt._attach import attach
from imle_opt._bridge import flat_instances
from imle_opt._checks import check_at_least_one, check_choice, check_generator
from imle_opt._perturbed import decide_flat, theta_of
from imle_opt.families import MAPOracle, as_family, count_undecided
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["BatchReduction", "Draw", "Layer"]

BatchReduction = Literal["sum", "mean"]


@final
@dataclass(frozen=True)
class Draw:
    """Samples of decisions, and how a gradient by them becomes one by theta.

    Args:
        samples: (S, *batch, *event), without a graph.
        rule: from unit gradients (S, *batch, *event) to the gradient by theta (*batch, *event). Unit means:
            for `L = mean over samples of l(z_s)`, the rule takes `dl/dz_s` of each sample, not divided by S.
    """

    samples: Tensor
    rule: Callable[[Tensor], Tensor]


class Layer(nn.Module, ABC):
    """Predicted costs in, decisions out, differentiable by a rule that sees the loss's gradient.

        layer(costs): (*batch, *event) -> (S, *batch, *event)        in train(): samples, always first
        layer(costs): (*batch, *event) -> (*batch, *event)           in eval(): the optimum, no noise

    In `eval()` every row is solved from the same start, no random number is used and there is no gradient.

    **Which gradient the rule sees.** Rules such as I-MLE's are not linear in the gradient g of the loss: they
    compare decisions at theta with decisions at theta minus lambda g. The loss is usually a mean over the
    samples, so autograd hands over gradients divided by S; the layer multiplies by S before the rule and the
    rule takes the mean over samples after it. So lambda means the same for every S, nothing is divided by S
    twice, and to first order in lambda the chain rule holds for any loss, a sum over the samples included.

    The same happens with the batch: a loss that is a mean over B rows hands over gradients divided by B,
    so that a fixed lambda acts less the larger the batch. `batch_reduction="mean"` undoes it: gradients are
    multiplied by B before the rule and its result divided by B. With `"sum"`, the default, they are taken as
    they come: right for a loss that is a sum over rows, and for methods that do not care about the scale of g
    (`Adaptive`, `StraightThrough`). `expectation` with `pathwise(layer)` gives each row and each sample its
    own gradient, and needs neither.

    Rows whose gradient is exactly zero get exactly zero, without a solve. So do rows that have no decision
    (NaN, under `on_failure="nan"`). Where the loss's own gradient is NaN or infinite, so is the result.

    Args:
        solver: a solver, or a family of decisions.
        num_samples: S.
        batch_reduction: how the loss reduces the batch, `"sum"` or `"mean"`.
        generator: source of randomness, on the device of the costs; None is torch's default generator of that
            device. One given to the call comes first.

    Raises:
        InvalidInputError: an option out of its range; from the call, costs that are not finite floating point
            numbers of the family's shape (the message says where).
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        num_samples: int = 1,
        batch_reduction: BatchReduction = "sum",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(num_samples, "num_samples")
        check_choice(batch_reduction, get_args(BatchReduction), "batch_reduction")
        self.family = as_family(solver)
        self.num_samples = num_samples
        self.batch_reduction: BatchReduction = batch_reduction
        self.generator = generator

    @abstractmethod
    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw samples at theta, and say how gradients come back; what a method implements.

        Args:
            theta: (*batch, *event), always maximised, without a graph, float32 or float64.
            instances: flat per-row data, or None.
            generator: source of randomness, on the device of theta, or None.
        """

    def forward(
        self, costs: Tensor, *, instances: Instances | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return decisions: samples first in `train()`, the optimum in `eval()`.

        Args:
            costs: (*batch, *event), in the model's own sense; any floating point dtype, any device.
            instances: per-row data of the solver, each entry (*batch, ...).
            generator: source of randomness for this call.

        Returns:
            (S, *batch, *event) in `train()`, (*batch, *event) in `eval()`; in the dtype and on the device of
            the costs.
        """
        theta = theta_of(costs, self.family)
        batch = tuple(theta.shape[: theta.ndim - self.family.event_dim])
        rows = flat_instances(instances, batch)
        if not self.training:
            return decide_flat(self.family, theta.detach(), rows).to(costs.dtype)
        generator = self.generator if generator is None else generator
        check_generator(generator, theta.device)
        draw = self.draw(theta.detach(), rows, generator)
        size = math.prod(batch) if self.batch_reduction == "mean" else 1
        return attach(draw.samples, theta, _rescaled(draw.rule, len(draw.samples), size)).to(costs.dtype)

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def extra_repr(self) -> str:
        """Show the family and the number of samples."""
        return f"{self.family!r}, num_samples={self.num_samples}"


def _rescaled(rule: Callable[[Tensor], Tensor], num_samples: int, rows: int) -> Callable[[Tensor], Tensor]:
    """Return the rule for gradients of a loss that is a mean over samples and over `rows` rows."""
    factor = num_samples * rows
    if factor == 1:
        return rule
    if rows <= 1:
        return lambda gradient: rule(factor * gradient)
    return lambda gradient: rule(factor * gradient) / rows
