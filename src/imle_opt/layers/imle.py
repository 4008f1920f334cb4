"""Implicit maximum-likelihood estimation (I-MLE), and with the target `Adaptive` AIMLE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from imle_opt._checks import check_choice, check_kind
from imle_opt._perturbed import NoiseSource, PerturbedMAP, event_largest, over_event, undecided_rows
from imle_opt.families import MAPOracle
from imle_opt.layers.layer import BatchReduction, Draw, Layer
from imle_opt.noise import Noise, SumOfGamma
from imle_opt.targets import Adaptive, Aim, Target
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solver import Solver

__all__ = ["IMLE", "Difference", "Scale", "imle_gradient"]

Difference = Literal["forward", "central"]
Scale = Literal["1/strength", "1"]


@final
class IMLE(Layer):
    """Perturb-and-MAP samples, and the difference between them and a target as gradient.

        forward    z_i  = MAP(theta + eps_i),   i = 1..S,   eps_i ~ noise
        backward   z'_i = MAP(theta'_i + eps_i)             the same eps_i; theta'_i = target(theta, g_i)
                   d theta = scale * (1/S) sum_i (z_i - z'_i)

    with `theta = costs` for a maximisation and `-costs` for a minimisation; gradients come back by the costs.

    The scale "1/strength", the default, divides each sample by its lambda: the result is a gradient of the
    loss (`Cov(z) g / temperature` as lambda goes to 0), so that its size follows the loss's, learning rates
    survive a change of lambda, and other losses can be added. The scale "1" is the paper's Algorithm 1:
    entries in {-1, 0, 1} for one sample of a binary problem, whatever the size of the loss. Targets without a
    strength (`Eq14`, `Solution`, `Costs`) have strength 1.

    Args:
        solver: a solver, or a family of decisions.
        noise: how theta is perturbed. The default takes kappa from the solver's `cardinality`, or counts it
            on the optima of the first training batch (one more solve per row, once) and keeps it in
            `state_dict`. Its temperature is in the units of theta and may need tuning.
        target: theta'. The default, `Adaptive`, because a fixed lambda must be tuned per problem over three
            orders of magnitude; made without options its first gradient is exactly zero, see there.
        num_samples: S.
        scale: `"1/strength"` or `"1"`.
        difference: `"forward"`, as above; `"central"` compares `theta - lambda g` with `theta + lambda g`
            instead and halves the difference: its bias falls with lambda^2, not lambda, and it is odd in g,
            so that a gradient that is noise around zero moves theta nowhere. A forward difference takes out
            the chosen entries with such a gradient, whatever its sign. Only for targets that are a step from
            theta (`PID`, `Adaptive`).
        batch_reduction: see `Layer`; matters for `PID` only.
        generator: see `Layer`.

    Shapes, the meaning of g and `eval()`: see `Layer`.

    Raises:
        InvalidInputError: an option out of its range, or a central difference with a target that has none.

    Cost: S solves per row forward and S backward, 2 S for a central difference, none for `Solution`.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Algorithm 1 and Eq. 9 to 12;
    central differences: Minervini, Franceschi and Niepert, AAAI 2023, arXiv 2209.04862.

    Where solutions or costs of the true problem are known, `ExplicitMLE` is the shorter way to the same
    gradient, with a value to watch.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        noise: Noise | None = None,
        target: Target | None = None,
        num_samples: int = 1,
        scale: Scale = "1/strength",
        difference: Difference = "forward",
        batch_reduction: BatchReduction = "sum",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            solver, num_samples=num_samples, batch_reduction=batch_reduction, generator=generator
        )
        check_choice(scale, get_args(Scale), "scale")
        check_choice(difference, get_args(Difference), "difference")
        self.noise = NoiseSource(SumOfGamma(kappa="auto") if noise is None else noise)
        self.target = Adaptive() if target is None else target
        check_kind(self.target, Target, "target", "PID(10.0)")
        self.scale: Scale = scale
        self.difference: Difference = difference
        if difference == "central" and not self.target.two_sided:
            raise InvalidInputError(
                f"`difference='central'` needs a target that is a step from theta (PID, Adaptive), not "
                f"{type(self.target).__name__}: use difference='forward'."
            )

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw perturb-and-MAP samples, as `Layer.draw` says."""
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)
        samples = perturbed.decide(theta)

        def rule(gradient: Tensor) -> Tensor:
            return imle_gradient(
                gradient, theta, samples, perturbed, self.target, scale=self.scale, difference=self.difference
            )

        return Draw(samples, rule)


def imle_gradient(
    gradient: Tensor,
    theta: Tensor,
    samples: Tensor,
    perturbed: PerturbedMAP,
    target: Target,
    *,
    scale: Scale = "1/strength",
    difference: Difference = "forward",
) -> Tensor:
    """Return `scale * (1/S) sum_i (z_i - z'_i)`, the I-MLE gradient by theta.

    Args:
        gradient: g, unit gradients by the samples, (S, *batch, *event).
        theta: (*batch, *event).
        samples: z, (S, *batch, *event).
        perturbed: MAP under the noise that the samples were drawn with.
        target: theta'.
        scale: as in `IMLE`.
        difference: as in `IMLE`.

    Returns:
        (*batch, *event).
    """
    family = perturbed.family
    largest = event_largest(gradient, family.event_dim)
    broken = None
    if _all_usable(largest, samples):
        rows = torch.ones_like(largest, dtype=torch.bool)
    else:
        rows, broken = _usable_rows(largest, samples, family.event_dim)
        gradient = torch.where(over_event(rows, family.event_dim), gradient, 0)
    aim = target.aim(theta, gradient, family)
    after = _decisions(aim, samples, rows, broken is None, perturbed)
    if difference == "central":
        opposite = target.aim(theta, -gradient, family)
        before = _decisions(opposite, samples, rows, broken is None, perturbed)
        differences = (before - after) / 2
    else:
        differences = samples - after
    # NaN: rows without a decision, before or after.
    differences = differences.nan_to_num_(nan=0.0)
    target.observe(differences, rows, family)
    if scale == "1/strength" and isinstance(aim.strength, Tensor):
        strength = torch.where(aim.strength > 0, aim.strength, 1).to(differences).expand(rows.shape)
        differences = differences.div_(over_event(strength, family.event_dim))
    if broken is not None:
        differences = torch.where(over_event(broken, family.event_dim), torch.nan, differences)
    mean = differences.mean(0)
    # One number for all samples divides their mean, which is the smaller tensor.
    divides = scale == "1/strength" and not isinstance(aim.strength, Tensor) and aim.strength > 0
    return mean.div_(aim.strength) if divides else mean


def _all_usable(largest: Tensor, samples: Tensor) -> bool:
    """Return whether every row is to be compared, as it nearly always is: three numbers tell.

    Args:
        largest: absolute value in each row's gradient, (S, *batch).
        samples: (S, *batch, *event).
    """
    if not largest.numel():
        return True
    least, most = torch.aminmax(largest)
    return least.item() > 0 and most.item() < math.inf and not math.isnan(samples.sum().item())


def _usable_rows(largest: Tensor, samples: Tensor, event_dim: int) -> tuple[Tensor, Tensor]:
    """Return which (S, *batch) rows to compare, and which have a gradient that is not finite."""
    solved = ~undecided_rows(samples, event_dim)
    finite = largest.isfinite()
    return solved & finite & (largest > 0), solved & ~finite


def _decisions(
    aim: Aim,
    samples: Tensor,
    rows: Tensor,
    every: bool,
    perturbed: PerturbedMAP,
) -> Tensor:
    """Return the target decisions in the given rows (`every` one?), and the samples themselves elsewhere."""
    event_dim = perturbed.family.event_dim
    if aim.theta is None:
        if aim.decisions is None:
            raise InvalidInputError("The target's `aim` must give a theta or decisions; it gave neither.")
        return torch.where(over_event(rows, event_dim), aim.decisions, samples)
    if isinstance(aim.strength, Tensor):
        # A step of no length asks for the samples again.
        return perturbed.decide_where(rows & (aim.strength > 0), aim.theta, otherwise=samples)
    if every:
        return perturbed.decide(aim.theta)
    return perturbed.decide_where(rows, aim.theta, otherwise=samples)
