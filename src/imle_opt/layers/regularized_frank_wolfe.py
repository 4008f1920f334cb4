"""Regularised decisions by Frank-Wolfe: any separable regulariser, any MAP oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one, check_kind, check_positive
from imle_opt.families import MAPOracle
from imle_opt.layers._regularized import regularized_draw
from imle_opt.layers.layer import Draw, Layer
from imle_opt.regularized import Regularizer
from imle_opt_solvers.solver import Solver

__all__ = ["RegularizedFrankWolfe"]


@final
class RegularizedFrankWolfe(Layer):
    """The regularised optimum over the convex hull of the decisions, by their optima alone.

        forward    mu = argmax over mu in conv C of <theta, mu> + E F - Omega(mu)
        backward   d theta = D^T (D H D^T)^+ D g,   D: differences of the decisions in mu, H = Omega''(mu)

    with theta = costs for a maximisation and -costs for a minimisation; gradients come back by the costs. F
    is what fixed costs of the model add to a decision, 0 where there are none. mu is a mean of a few
    decisions, found by an active-set method (fully corrective Frank-Wolfe, with Newton steps) that knows the
    solver only through its optima. The backward rule is the implicit derivative on the face that mu lies in.

    On one-hot decisions with `NegativeEntropy(t)` mu is the softmax of theta / t; on k-subsets with
    `BinaryEntropy` it is the LML layer. `HalfSquaredNorm` makes it `SparseMAP`.

    In `train()` the layer returns mu as its only sample, `(1, *batch, *event)`. In `eval()` it returns the
    optimum, as every layer.

    Args:
        solver: a solver, or a family of decisions. It is asked about theta minus the slope of Omega: one for
            non-negative costs only may refuse that.
        regularizer: Omega, for example `BinaryEntropy(1.0)`.
        tolerance: a row is done when its Frank-Wolfe gap, which bounds what is missing from the maximum, is
            at most this, relative to `1 + max |theta|`.
        max_iterations: solves per row at most.

    Raises:
        InvalidInputError: an option out of its range; from the call, see `Layer`.

    A warning says if rows did not reach the tolerance.

    Cost: one solve per row and decision that was tried, forward (the rows that are not done yet are one
    batch); none backward. Entropies mix as many decisions as the hull has dimensions, plus one: they are for
    small problems, or for a small temperature.

    Source: Dalle, Baty, Bouvier and Parmentier, 2022, arXiv 2207.13513, Section 4; fully corrective
    Frank-Wolfe: Lacoste-Julien and Jaggi, NeurIPS 2015, arXiv 1511.05932; implicit derivatives: Blondel et
    al., NeurIPS 2022, arXiv 2105.15183.

    Families with marginals (`KSubset`, `Categorical`) give the optimum under the entropy of their law in
    closed form, which is much cheaper.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        regularizer: Regularizer,
        *,
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
    ) -> None:
        super().__init__(solver)
        check_kind(regularizer, Regularizer, "regularizer", "BinaryEntropy(1.0)")
        check_positive(tolerance, "tolerance")
        check_at_least_one(max_iterations, "max_iterations")
        self.regularizer = regularizer
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Return mu as the only sample, as `Layer.draw` says; the generator is not used."""
        return regularized_draw(
            theta,
            self.family,
            self.regularizer,
            instances,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )

    def extra_repr(self) -> str:
        """Show the family and the regulariser."""
        return f"{self.family!r}, {self.regularizer!r}"
