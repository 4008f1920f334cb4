"""Contrastive MAP estimation: the known decision against the best of a pool."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_like
from imle_opt._perturbed import event_sum
from imle_opt.families import SolutionPool
from imle_opt.losses._pool_values import checked_pool, grown, label_theta, pool_values

__all__ = ["CMAP"]


@final
class CMAP(nn.Module):
    """No decision of a pool should be worth more than the known one.

        loss(c_hat, y)    = max over z in the pool and y of [<theta_hat, z> + F(z)] - <theta_hat, y>
        loss(c_hat, y, c) = max over z in the pool and y of <theta_hat - theta, z - y>

    with theta = costs for a maximisation and -costs for a minimisation; F is what fixed costs of the model
    add (that of y is not subtracted, and y itself counts as a candidate only where there are none). Never
    negative without fixed costs. The first form is the perceptron with the pool in the solver's place, and
    costs of zero satisfy it; the second, with the true costs, has its minimum where no decision of the pool
    is overrated.

    Args:
        pool: decisions to compare with; the loss lets it grow in `train()`.

    Raises:
        InvalidInputError: no pool, or an empty one in `eval()`; from the call, costs or labels that are not
            finite or not of the right shape.
        SolveError: from the call, where the pool solves and a row has no proven optimum.

    Cost: `pool.solve_ratio` solves per row on average; O(rows * members * entries) else. None backward.

    Source: Mulamba, Mandi, Diligenti, Lombardi, Bucarey and Guns, IJCAI 2021, arXiv 2011.05354, Section 3.
    """

    def __init__(self, pool: SolutionPool) -> None:
        super().__init__()
        self.pool = checked_pool(pool)

    def forward(self, costs_hat: Tensor, solutions: Tensor, costs: Tensor | None = None) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            solutions: y, known decisions, (*batch, *event).
            costs: true costs, (*batch, *event), in the model's own sense; for the second form.

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        check_like(solutions, costs_hat, "solutions", self.pool.event_dim)
        theta = grown(self.pool, costs_hat)
        if costs is not None:
            theta = theta - label_theta(costs, costs_hat, self.pool, theta)
        y = solutions.detach().to(theta)
        fixed = self.pool.fixed_parts(theta)
        values = pool_values(self.pool, theta) if costs is None else pool_values(self.pool, theta) - fixed
        excess = values - event_sum(theta * y, self.pool.event_dim)[..., None]
        if costs is not None or not fixed.any():
            excess = torch.cat([excess, torch.zeros_like(excess[..., :1])], -1)
        return excess.amax(-1)
