"""The straight-through estimator on a solver: the gradient passes as if solving were the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._perturbed import NoiseSource
from imle_opt.families import MAPOracle
from imle_opt.layers.layer import Draw, Layer
from imle_opt.noise import Noise, NoNoise
from imle_opt_solvers.solver import Solver

__all__ = ["StraightThrough"]


@final
class StraightThrough(Layer):
    """Decisions, perturbed or not, with the gradient by the decisions passed on as the one by theta.

        forward    z_i = MAP(theta + eps_i),   i = 1..S
        backward   d theta = (1/S) sum_i g_i

    Biased, and blind to the feasible region; but it never vanishes and costs no solve. For a minimisation the
    gradient by the costs is minus the one by the decisions: raising a cost lowers its decision.

    Args:
        solver: a solver, or a family of decisions.
        noise: how theta is perturbed; none by default.
        num_samples: S.
        generator: see `Layer`.

    Shapes and `eval()`: see `Layer`.

    Raises:
        InvalidInputError: an option out of its range.

    Cost: S solves per row forward (one without noise), none backward.

    Source: Bengio, Leonard and Courville, 2013, arXiv 1308.3432; on solvers without projection: Sahoo et al.,
    ICLR 2023, arXiv 2205.15213.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        noise: Noise | None = None,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(solver, num_samples=num_samples, generator=generator)
        self.noise = NoiseSource(NoNoise() if noise is None else noise)

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw perturb-and-MAP samples, as `Layer.draw` says."""
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)
        samples = perturbed.decide(theta)
        failed = samples.isnan()
        return Draw(samples, lambda gradient: torch.where(failed, 0, gradient).mean(0))
