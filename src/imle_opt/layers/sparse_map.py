"""SparseMAP: the point of the decisions' convex hull that is nearest to theta, a mean of few decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one, check_positive
from imle_opt.families import MAPOracle
from imle_opt.layers._regularized import regularized_draw
from imle_opt.layers.layer import Draw, Layer
from imle_opt.regularized import HalfSquaredNorm
from imle_opt_solvers.solver import Solver

__all__ = ["SparseMAP"]


@final
class SparseMAP(Layer):
    """The projection of theta on the convex hull of the decisions: deterministic, and exact both ways.

        forward    mu = argmax over mu in conv C of <theta, mu> + E F - temperature / 2 ||mu||^2
        backward   d theta = (projection of g on the directions of the face that mu lies in) / temperature

    with theta = costs for a maximisation and -costs for a minimisation; gradients come back by the costs. F
    is what fixed costs of the model add to a decision, 0 where there are none. mu is a mean of a few
    decisions, found by an active-set method that knows the solver only through its optima. On one-hot ones it
    is sparsemax, on k-subsets the projection on the capped simplex.

    In `train()` the layer returns mu as its only sample, `(1, *batch, *event)`; entries of 0-1 decisions lie
    between 0 and 1. In `eval()` it returns the optimum, as every layer.

    Args:
        solver: a solver, or a family of decisions. It is asked about theta minus temperature times mu: one
            for non-negative costs only may refuse that.
        temperature: the larger, the more decisions are mixed; as it goes to 0, mu becomes the optimum.
        tolerance: a row is done when no decision improves on mu by more, relative to `1 + max |theta|`.
        max_iterations: of the active-set method; a row needs about two per decision in mu.

    Raises:
        InvalidInputError: an option out of its range; from the call, see `Layer`.

    A warning says if rows did not reach the tolerance.

    Cost: one solve per row and vertex that was tried, about 5 to 20 forward (the rows that are not done yet
    are one batch); none backward.

    Source: Niculae, Martins, Blondel and Cardie, ICML 2018, arXiv 1802.04223.

    It needs a loss that makes sense of mixed decisions. Where the loss must see feasible ones, use `IMLE`.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        temperature: float = 1.0,
        *,
        tolerance: float = 1e-9,
        max_iterations: int = 1000,
    ) -> None:
        super().__init__(solver)
        self.regularizer = HalfSquaredNorm(temperature)
        check_positive(tolerance, "tolerance")
        check_at_least_one(max_iterations, "max_iterations")
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Return the projection as the only sample, as `Layer.draw` says; the generator is not used."""
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
