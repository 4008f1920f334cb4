"""Differentiable perturbed optimizers: the mean of perturb-and-MAP decisions, smooth in theta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from imle_opt._checks import check_choice
from imle_opt._perturbed import NoiseSource, decide_flat, event_sum, has_nan, over_event
from imle_opt.families import MAPOracle
from imle_opt.layers.layer import Draw, Layer
from imle_opt.noise import Noise, Normal, SmoothNoise
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solver import Solver

__all__ = ["Baseline", "Perturbed", "perturbed_gradient"]

Baseline = Literal["auto", "leave-one-out", "none", "optimum"]


@final
class Perturbed(Layer):
    """The mean of perturbed decisions, with the unbiased gradient of its expectation.

        forward    z = (1/S) sum_s z_s,   z_s = MAP(perturb(theta, eps_s))
        backward   d theta = (1/S) sum_s <g, z_s - b_s> score_s

    with theta = costs for a maximisation and -costs for a minimisation; gradients come back by the costs.
    `score_s` is the gradient by theta of the log density of the perturbed theta: `eps / temperature^2` for
    `Normal` noise, `(1 - exp(-eps / temperature)) / temperature` for `Gumbel`, `Z / (temperature theta)` for
    `Multiplicative`. E z is smooth in theta, and this is a score-function estimate of its Jacobian: the loss
    sees decisions that are mixed, and the gradient needs no solve.

    The baseline b_s changes no mean and lowers the variance: `"leave-one-out"`, the mean of the other
    samples; `"optimum"`, the decision without noise; `"none"`.

    In `train()` the layer returns the mean as its only sample, `(1, *batch, *event)`. In `eval()` it returns
    the optimum, as every layer.

    Args:
        solver: a solver, or a family of decisions.
        noise: how theta is perturbed, in the units of theta: one with a smooth density; `Normal(1.0)` by
            default. `Multiplicative` keeps costs that must not be negative legal.
        num_samples: S.
        baseline: `"auto"` is `"leave-one-out"` for two samples or more, else `"optimum"`.
        generator: see `Layer`.

    Raises:
        InvalidInputError: noise without a smooth density, `"leave-one-out"` of one sample, or another option
            out of its range; from the call, see `Layer`.

    Cost: S solves per row forward, S + 1 with the baseline `"optimum"`; none backward.

    Source: Berthet, Blondel, Teboul, Cuturi, Vert and Bach, NeurIPS 2020, arXiv 2002.08676, Proposition 3.1;
    multiplicative: Dalle, Baty, Bouvier and Parmentier, 2022, arXiv 2207.13513, Section 4.

    The variance of the gradient grows with 1/temperature and with the number of entries. Where labels are
    decisions, `FenchelYoung` has a gradient without a score; where the loss must see feasible decisions, use
    `IMLE`.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        noise: Noise | None = None,
        num_samples: int = 1,
        baseline: Baseline = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(solver, num_samples=num_samples, generator=generator)
        check_choice(baseline, get_args(Baseline), "baseline")
        if baseline == "leave-one-out" and num_samples == 1:
            raise InvalidInputError(
                "`baseline='leave-one-out'` is the mean of the other samples: give `num_samples` of 2 or "
                "more, or baseline='optimum'."
            )
        self.noise = NoiseSource(Normal(1.0) if noise is None else noise)
        self._smooth()  # refuses here, not at the first call
        if baseline == "auto":
            baseline = "leave-one-out" if num_samples > 1 else "optimum"
        self.baseline: Baseline = baseline

    def _smooth(self) -> SmoothNoise:
        noise = self.noise.noise
        if not isinstance(noise, SmoothNoise):
            raise InvalidInputError(
                f"`noise` must have a smooth density (Normal, Gumbel, Multiplicative), not {noise!r}: the "
                "gradient is its score. With other noise use IMLE or StraightThrough."
            )
        return noise

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Return the mean of the samples as the only one, as `Layer.draw` says."""
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)
        samples = perturbed.decide(theta)
        if self.baseline == "leave-one-out":
            compared = samples - (samples.sum(0) - samples) / (self.num_samples - 1)
        elif self.baseline == "optimum":
            compared = samples - decide_flat(self.family, theta, instances)
        else:
            compared = samples
        score = self._smooth().score(theta, perturbed.drawn)

        def rule(gradient: Tensor) -> Tensor:
            return perturbed_gradient(gradient[0], compared, score, self.family.event_dim)

        return Draw(samples.mean(0, keepdim=True), rule)

    def extra_repr(self) -> str:
        """Show the family, the number of samples and the baseline."""
        return f"{super().extra_repr()}, baseline={self.baseline!r}"


def perturbed_gradient(gradient: Tensor, compared: Tensor, score: Tensor, event_dim: int) -> Tensor:
    """Return `(1/S) sum_s <g, z_s - b_s> score_s`, the gradient by theta; 0 in rows without a decision.

    Args:
        gradient: g, by the mean of the samples, (*batch, *event).
        compared: z_s - b_s, (S, *batch, *event).
        score: gradient by theta of the log density of each perturbed theta, (S, *batch, *event).
        event_dim: how many of the last dimensions belong to one decision.

    Returns:
        (*batch, *event).
    """
    failed = has_nan(compared, event_dim).any(0)
    along = event_sum(gradient * compared.nan_to_num(nan=0.0), event_dim)
    by_theta = (over_event(along, event_dim) * score).mean(0)
    return torch.where(over_event(failed, event_dim), 0, by_theta)
