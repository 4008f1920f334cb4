"""Pointwise learning to rank: the worth of every decision of a pool, predicted as it is."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from imle_opt.families import SolutionPool
from imle_opt.losses._pool_values import checked_pool, grown, label_theta, pool_values

__all__ = ["PointwiseRanking"]


@final
class PointwiseRanking(nn.Module):
    """The squared error of what the decisions of a pool are worth.

        loss(c_hat, c) = mean over z in the pool of <theta_hat - theta, z>^2

    with theta = costs for a maximisation and -costs for a minimisation. Regression on objectives in place of
    costs: errors that cancel in every decision of the pool do not count.

    Args:
        pool: decisions to rank; the loss lets it grow in `train()`.

    Raises:
        InvalidInputError: no pool, or an empty one in `eval()`; from the call, costs that are not finite or
            not of the right shape.
        SolveError: from the call, where the pool solves and a row has no proven optimum.

    Cost: `pool.solve_ratio` solves per row on average; O(rows * members * entries) else. None backward.

    Source: Mandi, Bucarey, Mulamba and Guns, ICML 2022, arXiv 2112.03609.
    """

    def __init__(self, pool: SolutionPool) -> None:
        super().__init__()
        self.pool = checked_pool(pool)

    def forward(self, costs_hat: Tensor, costs: Tensor) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            costs: true costs, (*batch, *event), in the model's own sense.

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        theta_hat = grown(self.pool, costs_hat)
        theta = label_theta(costs, costs_hat, self.pool, theta_hat)
        difference = pool_values(self.pool, theta_hat) - pool_values(self.pool, theta)
        return difference.square().mean(-1)
