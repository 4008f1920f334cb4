"""Pairwise learning to rank: the truly best decision of a pool before each of the others."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_not_negative
from imle_opt.families import SolutionPool
from imle_opt.losses._pool_values import checked_pool, grown, label_theta, pool_values

__all__ = ["PairwiseRanking"]


@final
class PairwiseRanking(nn.Module):
    """The decision of a pool that is best under the true costs should be predicted best, by a margin.

        loss(c_hat, c) = mean over z in the pool, z != best, of max(0, margin + v(z) - v(best))

        v(z) = <theta_hat, z> + F(z),   best = argmax over z in the pool of <theta, z> + F(z)

    with theta = costs for a maximisation and -costs for a minimisation; F is what fixed costs of the model
    add. Decisions that tie with the best one under the true costs are not compared with it.

    Args:
        pool: decisions to rank; the loss lets it grow in `train()`.
        margin: in the units of the objective. Without a margin (0) costs of zero satisfy the loss.

    Raises:
        InvalidInputError: a negative margin, no pool, or an empty one in `eval()`; from the call, costs that
            are not finite or not of the right shape.
        SolveError: from the call, where the pool solves and a row has no proven optimum.

    Cost: `pool.solve_ratio` solves per row on average; O(rows * members * entries) else. None backward.

    Source: Mandi, Bucarey, Mulamba and Guns, ICML 2022, arXiv 2112.03609 (best versus rest).
    """

    def __init__(self, pool: SolutionPool, margin: float = 1.0) -> None:
        super().__init__()
        check_not_negative(margin, "margin")
        self.pool = checked_pool(pool)
        self.margin = margin

    def forward(self, costs_hat: Tensor, costs: Tensor) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            costs: true costs, (*batch, *event), in the model's own sense.

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision; 0 where all
            decisions of the pool tie.
        """
        theta_hat = grown(self.pool, costs_hat)
        true = pool_values(self.pool, label_theta(costs, costs_hat, self.pool, theta_hat))
        values = pool_values(self.pool, theta_hat)
        highest, best = true.max(-1, keepdim=True)
        worse = true < highest
        excess = torch.relu(self.margin + values - values.gather(-1, best))
        return torch.where(worse, excess, 0).sum(-1) / worse.sum(-1).clamp(min=1)

    def extra_repr(self) -> str:
        """Show the margin."""
        return f"margin={self.margin}"
