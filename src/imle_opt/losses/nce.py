"""Noise-contrastive estimation: the known decision against the mean of a pool."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from imle_opt._checks import check_like
from imle_opt._perturbed import event_sum
from imle_opt.families import SolutionPool
from imle_opt.losses._pool_values import checked_pool, grown, label_theta, pool_values

__all__ = ["NCE"]


@final
class NCE(nn.Module):
    """The known decision should be worth more than the decisions of a pool are on average.

        loss(c_hat, y)    = mean over z in the pool of [<theta_hat, z> + F(z)] - <theta_hat, y>
        loss(c_hat, y, c) = mean over z in the pool of <theta_hat - theta, z - y>

    with theta = costs for a maximisation and -costs for a minimisation; F is what fixed costs of the model
    add (that of y is not subtracted: a constant of the row). The gradient by theta_hat is the mean of the
    pool less y in both forms: they differ by a constant of the row. The loss is linear in the costs and has
    no minimum: the scale of unbounded predictions grows until training stops, which decisions do not mind.

    Args:
        pool: decisions to compare with; the loss lets it grow in `train()`.

    Raises:
        InvalidInputError: no pool, or an empty one in `eval()`; from the call, costs or labels that are not
            finite or not of the right shape.
        SolveError: from the call, where the pool solves and a row has no proven optimum.

    Cost: `pool.solve_ratio` solves per row on average; O(rows * members * entries) else. None backward.

    Source: Mulamba, Mandi, Diligenti, Lombardi, Bucarey and Guns, IJCAI 2021, arXiv 2011.05354, Section 3.

    `CMAP` compares with the best of the pool only, and is bounded from below.
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
        mean = pool_values(self.pool, theta).mean(-1)
        if costs is not None:
            mean = mean - self.pool.fixed_parts(theta).mean()
        return mean - event_sum(theta * y, self.pool.event_dim)
