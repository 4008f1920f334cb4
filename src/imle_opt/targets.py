"""Targets: where the second solve of implicit MLE goes, `theta'`, given the gradient by the decisions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_not_negative, check_positive
from imle_opt._perturbed import event_sum, over_event, theta_of
from imle_opt.families import MAPOracle
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["PID", "Adaptive", "Aim", "Costs", "Eq14", "FixedTarget", "Solution", "Target"]

_SAME = 1e-6
"""Decisions that differ by less are the same: solvers of linear programs round."""


@final
@dataclass(frozen=True)
class Aim:
    """What the samples are compared with: decisions at another theta, or known ones.

    Args:
        theta: theta', (S, *batch, *event), to be maximised under the same noise; None where the decisions
            are known.
        decisions: (*batch, *event), known beforehand, no solve needed; None where theta is given.
        strength: lambda, the length of the step in units of the gradient, (S, *batch) or one number; 1 where
            theta' is no step from theta.
    """

    theta: Tensor | None = None
    decisions: Tensor | None = None
    strength: Tensor | float = 1.0


class Target(ABC):
    """Chooses what the samples are compared with in the backward pass of `IMLE`.

    Attributes:
        two_sided: theta' is a step from theta, so that a step the other way (`difference="central"`) and a
            division by its length make sense.
    """

    two_sided: ClassVar[bool]

    @abstractmethod
    def aim(self, theta: Tensor, gradient: Tensor, family: MAPOracle) -> Aim:
        """Return where to go from theta.

        Args:
            theta: (*batch, *event), always maximised.
            gradient: g, of the loss of each sample by the sample, (S, *batch, *event).
            family: what maximises.
        """

    @abstractmethod
    def observe(self, difference: Tensor, rows: Tensor, family: MAPOracle) -> None:
        """Take note of a backward pass; for targets that adapt.

        Args:
            difference: between samples and target decisions, (S, *batch, *event).
            rows: those that had a gradient, boolean, (S, *batch).
            family: what maximises.
        """


class FixedTarget(Target, ABC):
    """A target that does not adapt: implement `aim` and `two_sided`."""

    @final
    def observe(self, difference: Tensor, rows: Tensor, family: MAPOracle) -> None:
        """Do nothing."""


@final
@dataclass(frozen=True)
class PID(FixedTarget):
    """A step of fixed strength against the gradient: `theta' = keep theta - strength g`.

    The perturbation-based implicit differentiation of the I-MLE paper is `keep=1`. `keep=0` forgets theta and
    follows the gradient alone.

    The strength has the unit of theta over the unit of g, and has to be tuned per problem, over about three
    orders of magnitude: too small, and no decision changes; too large, and the estimate is biased. What `g`
    is depends on how the loss is reduced, see `Layer`. `Adaptive` does the tuning.

    Args:
        strength: lambda, positive.
        keep: weight of theta in theta'.

    Raises:
        InvalidInputError: `strength` is not positive and finite.

    Cost: one solve per sample and row with a gradient, two for a central difference; `Adaptive` the same.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Eq. 10.
    """

    strength: float
    keep: float = 1.0

    two_sided = True

    def __post_init__(self) -> None:
        check_positive(self.strength, "strength")

    def aim(self, theta: Tensor, gradient: Tensor, family: MAPOracle) -> Aim:
        """Return `keep theta - strength g`."""
        kept = theta if self.keep == 1 else self.keep * theta
        return Aim(theta=torch.sub(kept, gradient, alpha=self.strength), strength=self.strength)


@final
class Adaptive(Target, nn.Module):
    """A step whose strength follows the scale of the problem and finds its own length (AIMLE).

        lambda = alpha ||theta|| / ||g||       per sample and row; 0 where g is 0
        n     <- 0.9 n + 0.1 (mean number of entries in which samples and target decisions differ)
        alpha <- max(0, alpha + step (+1 if n < density else -1))        after each backward pass

    alpha is the distance of theta' from theta, relative to theta's length, without unit. It begins at
    `start`; at 0, the paper's, the first gradient is 0. It moves by `step` per backward pass until about
    `density` entries of each decision differ, where it stays, give or take a few of these. Where most
    decisions are right already, no distance makes that many differ, and alpha keeps growing: the target
    becomes the decision that the gradient alone asks for, and gradients shrink with 1/alpha (under Adam
    training steps shrink as well, for the first few thousand of them, and recover after).

    Scaling the loss by a > 0 scales the gradient by exactly a (with the scale "1/strength" of `IMLE`, its
    default). A row's gradient depends on other rows through alpha alone. alpha and n are buffers: they are in
    `state_dict`, move with the model, and change only in `train()`. Rows whose gradient is zero do not count
    in n.

    It needs no tuning to get going; a well-tuned `PID` can be better. For a loss that is the regret or the
    Hamming distance, `ExplicitMLE` gets there at once.

    Args:
        step: of alpha per backward pass. Larger than the paper's 1e-4, with which nothing much happens in the
            first thousand batches: after 300 batches of 32 rows the normalised regret of two synthetic
            problems (knapsack; 5 of 20 items) was 12% and 38% with 1e-4, 8.8% and 10% with 1e-3, 4.6% and
            3.7% with our 1e-2. The price is ripple: around an alpha of 0.1, 0.04 to 0.16, against 0.09 to
            0.115 with 1e-3; the density is met all the same.
        density: how many entries should differ. 1 is the sparsest gradient that still informs every row; a
            larger one gives less variance and more bias (the paper uses 10 for a variational autoencoder).
        decay: weight of the past in n.
        start: alpha of the first backward pass; a loaded state overrides it. At 0 the first batches compare
            decisions of nearly the same theta, differences that vary most after the division by lambda; at 1
            theta' is as far from theta as theta from 0. With a density of 4, at the best of the rates and
            steps that were tried, 640 batches on a regret ended at 0.65% with 1 and 0.67% with 0 (5x5 paths
            of degree 4 without noise, 12 seeds), at 0.44% and 0.48% (knapsacks), and with noise at the same;
            50 steps on 5-subsets, with the defaults, ended at a gap of 0.61 with 1 and 1.72 with 0.

    Raises:
        InvalidInputError: an option out of its range.

    Source: Minervini, Franceschi and Niepert, AAAI 2023, arXiv 2209.04862.
    """

    alpha: Tensor
    running_density: Tensor
    two_sided = True

    def __init__(
        self, step: float = 1e-2, density: float = 1.0, decay: float = 0.9, start: float = 0.0
    ) -> None:
        super().__init__()
        check_positive(step, "step")
        check_positive(density, "density")
        if not 0 <= decay < 1:
            raise InvalidInputError(f"`decay` must lie in [0, 1), not {decay!r}.")
        check_not_negative(start, "start")
        self.step = step
        self.density = density
        self.decay = decay
        self.start = start
        self.register_buffer("alpha", torch.tensor(float(start)))
        self.register_buffer("running_density", torch.tensor(1.0))

    def aim(self, theta: Tensor, gradient: Tensor, family: MAPOracle) -> Aim:
        """Return `theta - lambda g` with one lambda per sample and row."""
        norm = _event_norm(gradient, family.event_dim)
        unit = torch.where(norm > 0, norm, 1)
        length = self.alpha.to(norm) * _event_norm(theta, family.event_dim)
        # Not lambda g: where g is next to nothing, lambda is infinite in single precision.
        direction = gradient / over_event(unit, family.event_dim)
        steps = over_event(length, family.event_dim)
        goal = torch.addcmul(theta.double(), steps, direction, value=-1, out=direction)
        strength = torch.where(norm > 0, length / unit, 0).to(theta)
        return Aim(theta=goal.to(theta), strength=strength)

    def observe(self, difference: Tensor, rows: Tensor, family: MAPOracle) -> None:
        """Update n and alpha, in `train()` and where some row had a gradient."""
        counted = int(rows.sum()) if self.training else 0
        if not counted:
            return
        changed = event_sum(difference.abs().gt_(_SAME), family.event_dim)
        density = ((changed * rows).sum() / counted).to(self.running_density)
        self.running_density.mul_(self.decay).add_((1 - self.decay) * density)
        upward = (self.running_density < self.density).to(self.alpha)
        self.alpha.add_(self.step * (2 * upward - 1)).clamp_(min=0)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"step={self.step}, density={self.density}, decay={self.decay}, start={self.start}"


@final
@dataclass(frozen=True)
class Eq14(FixedTarget):
    """The target that uses only the gradient, entry by entry: `theta'_i = -g_i`, or `theta_i` where g_i is 0.

    With the Hamming loss to solutions y, `g = 1 - 2y` is never 0, theta' = 2y - 1 and its decision is y: the
    gradient by theta is `MAP(theta) - y`, the maximum-likelihood one (Fact 1). With the regret loss `g = c`,
    theta' = -c, and both solves share their noise: maximum likelihood against the perturb-and-MAP law of the
    true costs (Fact 2).

    Two ways in which the second breaks: entries with `c_i = 0` keep `theta_i`; and a loss that is a mean over
    a batch makes g smaller, so that the true costs are perturbed by noise that is larger by comparison. The
    targets `Solution` and `Costs` say what is meant and have neither; `ExplicitMLE` is the loss built on
    them.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Eq. 14.
    """

    two_sided = False

    def aim(self, theta: Tensor, gradient: Tensor, family: MAPOracle) -> Aim:
        """Return -g, and theta where g is 0."""
        return Aim(theta=torch.where(gradient == 0, theta, -gradient))


@final
@dataclass(frozen=True, eq=False)
class Solution(FixedTarget):
    """Known decisions of one batch: nothing needs to be solved for the target.

    Not the result of a solve, which is `imle_opt.Solution`.

    Args:
        solutions: y, (*batch, *event); that they are feasible is not checked.
    """

    solutions: Tensor

    two_sided = False

    def aim(self, theta: Tensor, gradient: Tensor, family: MAPOracle) -> Aim:
        """Return the solutions, whatever theta and g are."""
        _check_batch(self.solutions, theta, "solutions")
        return Aim(decisions=self.solutions.to(theta))


@final
@dataclass(frozen=True, eq=False)
class Costs(FixedTarget):
    """Known costs of one batch, to be solved under the noise of the samples: one solve per sample and row.

    Args:
        costs: c, (*batch, *event), in the model's own sense.
    """

    costs: Tensor

    two_sided = False

    def aim(self, theta: Tensor, gradient: Tensor, family: MAPOracle) -> Aim:
        """Return theta' = c for a maximisation, -c for a minimisation, whatever theta and g are."""
        _check_batch(self.costs, theta, "costs")
        return Aim(theta=theta_of(self.costs, family).to(theta).expand_as(gradient))


def _event_norm(tensor: Tensor, event_dim: int) -> Tensor:
    # In double precision: squares of small gradients underflow in single.
    entries = tensor.flatten(tensor.ndim - event_dim) if event_dim else tensor[..., None]
    norm: Tensor = torch.linalg.vector_norm(entries, dim=-1, dtype=torch.float64)
    return norm


def _check_batch(label: Tensor, theta: Tensor, name: str) -> None:
    if label.shape != theta.shape:
        raise InvalidInputError(
            f"`{name}` of the target have shape {tuple(label.shape)}, the costs given to the layer "
            f"{tuple(theta.shape)}: a target of known {name} belongs to one batch."
        )
