"""The smart predict-then-optimize loss (SPO+): a convex upper bound of the regret, from true costs."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt._bridge import flat_instances
from imle_opt._checks import check_like
from imle_opt._perturbed import event_sum, has_nan, maximum, theta_of
from imle_opt.families import MAPOracle, as_family, count_undecided
from imle_opt.losses._labels import fixed_part_of
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["SPOPlus"]


@final
class SPOPlus(nn.Module):
    """SPO+: convex in the predicted costs, at least their regret, and 0 where they are the true ones.

        loss(c_hat, c) = max over z of [<2 theta_hat - theta, z> + F(z)] - <2 theta_hat - theta, z*> - F(z*)

        z* = MAP(theta),   gradient by theta_hat: 2 (MAP(2 theta_hat - theta) - z*)

    with theta = costs for a maximisation and -costs for a minimisation; for a minimisation without fixed
    costs it is the paper's `max over z of <c - 2 c_hat, z> + 2 <c_hat, z*> - <c, z*>`. F(z) is what costs
    that are not predicted add to the model's maximum: they are known, and count as predicted rightly.

    Args:
        solver: a solver, or a family of decisions.

    Raises:
        InvalidInputError: from the call, costs or labels that are not finite or not of the right shape.
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.
            Under `on_failure="nan"` such a row has value NaN and gradient 0.

    Cost: one solve per row, and one more where `solutions` are not given; none backward.

    Source: Elmachtoub and Grigas, Management Science 68 (2022), arXiv 1710.08005, Definition 3 and
    Proposition 3.

    It needs true costs; from solutions alone use `FenchelYoung` or `ExplicitMLE`. It has no noise and no
    parameter: a good first choice. Its value has the unit of the regret, so that instances with large costs
    weigh more.
    """

    def __init__(self, solver: Solver | MAPOracle) -> None:
        super().__init__()
        self.family = as_family(solver)

    def forward(
        self,
        costs_hat: Tensor,
        costs: Tensor,
        *,
        solutions: Tensor | None = None,
        objectives: Tensor | None = None,
        instances: Instances | None = None,
    ) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            costs: true costs, (*batch, *event), in the model's own sense.
            solutions: z*, optimal decisions under the true costs, (*batch, *event); None solves for them.
            objectives: the model's own objective of the solutions, (*batch,), fixed costs included. Needed
                beside `solutions` only where the model has fixed costs, which the solutions do not show;
                without it the value is short of F(z*), a constant of the row, and the gradient is right.
            instances: per-row data of the solver, each entry (*batch, ...).

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        family = self.family
        theta_hat = theta_of(costs_hat, family, "costs_hat")
        check_like(costs, costs_hat, "costs", family.event_dim)
        theta = theta_of(costs, family).detach().to(theta_hat)
        rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - family.event_dim]))
        if solutions is None:
            _, best, fixed = maximum(theta, family, rows)
        else:
            check_like(solutions, costs_hat, "solutions", family.event_dim)
            best = solutions.detach().to(theta)
            fixed = fixed_part_of(best, theta, objectives, family)
        point = 2 * theta_hat - theta
        bound, _, _ = maximum(point, family, rows)
        value = bound - event_sum(point * best.nan_to_num(nan=0.0), family.event_dim) - fixed
        failed = has_nan(best, family.event_dim) | bound.isnan()
        return torch.where(failed, torch.nan, value)

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def extra_repr(self) -> str:
        """Show the family."""
        return repr(self.family)
