"""Listwise learning to rank: the law of the decisions of a pool under true costs, by cross-entropy."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from imle_opt._checks import check_positive
from imle_opt.families import SolutionPool
from imle_opt.losses._pool_values import checked_pool, grown, label_theta, pool_values

__all__ = ["ListwiseRanking"]


@final
class ListwiseRanking(nn.Module):
    """The cross-entropy between the laws of the pool's decisions under the true and the predicted costs.

        loss(c_hat, c) = - sum over z in the pool of p(z; theta) log p(z; theta_hat)

        p(z; theta) = exp([<theta, z> + F(z)] / temperature), normalised over the pool

    with theta = costs for a maximisation and -costs for a minimisation; F is what fixed costs of the model
    add. Maximum likelihood of the exponential family that is restricted to the pool; convex in theta_hat, and
    smallest (the entropy of p(z; theta), not 0) where the laws agree.

    Args:
        pool: decisions to rank; the loss lets it grow in `train()`.
        temperature: in the units of the objective: how far below the best a decision still counts.

    Raises:
        InvalidInputError: a temperature that is not positive, no pool, or an empty one in `eval()`; from the
            call, costs that are not finite or not of the right shape.
        SolveError: from the call, where the pool solves and a row has no proven optimum.

    Cost: `pool.solve_ratio` solves per row on average; O(rows * members * entries) else. None backward.

    Source: Mandi, Bucarey, Mulamba and Guns, ICML 2022, arXiv 2112.03609.
    """

    def __init__(self, pool: SolutionPool, temperature: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature, "temperature")
        self.pool = checked_pool(pool)
        self.temperature = temperature

    def forward(self, costs_hat: Tensor, costs: Tensor) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            costs: true costs, (*batch, *event), in the model's own sense.

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        theta_hat = grown(self.pool, costs_hat)
        true = pool_values(self.pool, label_theta(costs, costs_hat, self.pool, theta_hat))
        predicted = pool_values(self.pool, theta_hat)
        law = (true / self.temperature).softmax(-1)
        return -(law * (predicted / self.temperature).log_softmax(-1)).sum(-1)

    def extra_repr(self) -> str:
        """Show the temperature."""
        return f"temperature={self.temperature}"
