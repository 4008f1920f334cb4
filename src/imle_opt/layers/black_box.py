"""Differentiation of black-box solvers by interpolation of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._perturbed import NoiseSource
from imle_opt.families import MAPOracle
from imle_opt.layers.imle import imle_gradient
from imle_opt.layers.layer import BatchReduction, Draw, Layer
from imle_opt.noise import NoNoise
from imle_opt.targets import PID
from imle_opt_solvers.solver import Solver

__all__ = ["BlackBox"]


@final
class BlackBox(Layer):
    """The optimum, with the exact gradient of a piecewise affine interpolation of the loss.

        forward    z = MAP(theta)
        backward   d theta = (MAP(theta) - MAP(theta - strength g)) / strength

    This is I-MLE without noise, divided by lambda: `IMLE(solver, noise=NoNoise(), target=PID(strength))`.
    Without noise a row with the right decision gives no gradient and a strength that is too small gives none
    to the others; for the Hamming loss summed over entries, a strength of
    `max over z of <theta, z - y> / Hamming(z, y)` or more compares with the true solution y.

    Args:
        solver: a solver, or a family of decisions.
        strength: lambda, positive, in the unit of theta over the unit of g. The warcraft experiments of the
            paper use 20.
        batch_reduction: see `Layer`. The strength acts on the gradient of the reduced loss otherwise.

    The output is samples-first like every layer's, with S = 1: (1, *batch, *event) in `train()`.

    Raises:
        InvalidInputError: an option out of its range.

    Cost: one solve per row forward and one backward.

    Source: Vlastelica et al. (Pogancic et al.), ICLR 2020, arXiv 1912.02175, Algorithm 1.
    """

    def __init__(
        self, solver: Solver | MAPOracle, strength: float, *, batch_reduction: BatchReduction = "sum"
    ) -> None:
        super().__init__(solver, batch_reduction=batch_reduction)
        self.target = PID(strength)
        self.noise = NoiseSource(NoNoise())

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Solve, as `Layer.draw` says; the generator is not used."""
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)
        samples = perturbed.decide(theta)
        return Draw(samples, lambda gradient: imle_gradient(gradient, theta, samples, perturbed, self.target))
