"""Straight-through: the gradient by the decisions, passed on as if they were theta, or their own mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from imle_opt._checks import check_choice, check_positive
from imle_opt._perturbed import NoiseSource
from imle_opt.families import MAPOracle, Marginals, Sampler, require
from imle_opt.families._checks import check_no_instances
from imle_opt.layers._relaxed import relaxed_draw
from imle_opt.layers.layer import Draw, Layer
from imle_opt.noise import Noise, NoNoise
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solver import Solver

__all__ = ["StraightThrough", "Through"]

Through = Literal["identity", "mean"]


@final
class StraightThrough(Layer):
    """Decisions, with the gradient by the decisions passed on as if they were theta, or their own mean.

        forward    z_i = MAP(theta + eps_i),   i = 1..S;   or exact samples of the family, with exact=True
        backward   "identity"   d theta = (1/S) sum_i g_i
                   "mean"       d theta = (d mu / d theta)^T (1/S) sum_i g_i,   mu the family's marginals

    Both are biased. The identity is blind to the feasible region; but it never vanishes, costs no solve and
    works with every solver. For a minimisation the gradient by the costs is then minus the one by the
    decisions: raising a cost lowers its decision. Through the mean, with exact samples and at temperature 1,
    it is exact and without variance where the loss is linear in the decision; the family must have marginals.

    Args:
        solver: a solver, or a family of decisions.
        noise: how theta is perturbed; none by default.
        exact: draw exact samples of the family instead of perturbing theta.
        through: `"identity"` or `"mean"`.
        temperature: of the mean; positive, without unit.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        MissingCapabilityError: `exact` of a family that has no exact samples, or `"mean"` of one without
            marginals.
        InvalidInputError: `exact` with noise, or an option out of its range.

    Cost: S solves per row forward (one without noise, none with `exact`), none backward.

    Source: Bengio, Leonard and Courville, 2013, arXiv 1308.3432; on solvers without projection: Sahoo et al.,
    ICLR 2023, arXiv 2205.15213.

    `Identity` takes out of the gradient what changes no decision; `ReinMax` is right to second order.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        noise: Noise | None = None,
        exact: bool = False,
        through: Through = "identity",
        temperature: float = 1.0,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(solver, num_samples=num_samples, generator=generator)
        check_choice(through, get_args(Through), "through")
        check_positive(temperature, "temperature")
        if exact and noise is not None:
            raise InvalidInputError("`exact` samples need no noise: give `noise` or `exact=True`, not both.")
        self.exact = exact
        self.through: Through = through
        if exact:
            self._sampler()
        if through == "mean":
            self._mean()
        self.noise = NoiseSource(NoNoise() if noise is None else noise)
        self.temperature = temperature

    def _sampler(self) -> Sampler:
        return require(self.family, Sampler, "StraightThrough(exact=True)")  # type: ignore[type-abstract]  # a protocol is asked for by design

    def _mean(self) -> Marginals:
        return require(self.family, Marginals, "StraightThrough(through='mean')")  # type: ignore[type-abstract]  # as above

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw perturb-and-MAP or exact samples, as `Layer.draw` says."""
        if self.exact:
            check_no_instances(instances, self.family)
            samples = self._sampler().sample(theta, self.num_samples, generator)
        else:
            perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)
            samples = perturbed.decide(theta)
        if self.through == "mean":
            check_no_instances(instances, self.family)
            mean = self._mean()
            return relaxed_draw(
                theta,
                lambda point: mean.marginals(point, self.temperature).expand_as(samples),
                samples,
            )
        failed = samples.isnan()
        return Draw(samples, lambda gradient: torch.where(failed, 0, gradient).mean(0))
