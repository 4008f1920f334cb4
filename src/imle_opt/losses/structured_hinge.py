"""The structured hinge loss: the perceptron with a margin, from known solutions."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt._bridge import flat_instances
from imle_opt._checks import check_like, check_positive
from imle_opt._perturbed import event_sum, maximum, theta_of
from imle_opt.families import MAPOracle, as_family, count_undecided
from imle_opt.losses._labels import check_binary
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["StructuredHinge"]


@final
class StructuredHinge(nn.Module):
    """The structured support vector machine's loss: other decisions must be worse by their distance.

        loss(c_hat, y) = max over z of [<theta, z> + margin d(z, y) + F(z)] - <theta, y>

        d(z, y) = sum over entries of |z - y| = sum(y) + <1 - 2 y, z>     for 0-1 decisions
        gradient by theta: MAP(theta + margin (1 - 2 y)) - y

    with theta = costs for a maximisation and -costs for a minimisation. F(z) is what fixed costs of the model
    add; F(y) is not subtracted, as y does not show the variables that it is made of: where there are fixed
    costs the value is right up to a constant of each row. Without them it is never negative, convex in theta,
    and 0 only where y beats every other decision by the margin, so that costs of zero do not satisfy it.

    Args:
        solver: a solver, or a family of 0-1 decisions.
        margin: in the units of the costs per entry that differs.

    Raises:
        InvalidInputError: a margin that is not positive; from the call, solutions that are not 0 or 1, costs
            or solutions that are not finite or not of the right shape.
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.
            Under `on_failure="nan"` such a row has value NaN and gradient 0.

    Cost: one solve per row; none backward. The margin changes the signs of costs: a solver for non-negative
    costs only may refuse it.

    Source: Tsochantaridis, Joachims, Hofmann and Altun, Journal of Machine Learning Research 6 (2005);
    Taskar, Guestrin and Koller, NeurIPS 2003.

    `ExplicitMLE` with noise makes a margin by its noise, and takes true costs as well; `SPOPlus` is the
    counterpart whose margin is the regret.
    """

    def __init__(self, solver: Solver | MAPOracle, margin: float = 1.0) -> None:
        super().__init__()
        check_positive(margin, "margin", "; without a margin use ExplicitMLE(solver), the perceptron")
        self.family = as_family(solver)
        self.margin = margin

    def forward(self, costs_hat: Tensor, solutions: Tensor, *, instances: Instances | None = None) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            solutions: y, known decisions, (*batch, *event), entries 0 or 1; that they are feasible is not
                checked.
            instances: per-row data of the solver, each entry (*batch, ...).

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        event_dim = self.family.event_dim
        theta = theta_of(costs_hat, self.family, "costs_hat")
        check_like(solutions, costs_hat, "solutions", event_dim)
        check_binary(solutions, "the structured hinge", "SPOPlus or ExplicitMLE")
        y = solutions.detach().to(theta)
        rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - event_dim]))
        augmented, _, _ = maximum(theta + self.margin * (1 - 2 * y), self.family, rows)
        value = augmented + self.margin * event_sum(y, event_dim) - event_sum(theta * y, event_dim)
        # Else the gradient of <theta, y> would remain in rows without a decision.
        return torch.where(augmented.isnan(), torch.nan, value)

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def extra_repr(self) -> str:
        """Show the family and the margin."""
        return f"{self.family!r}, margin={self.margin}"
