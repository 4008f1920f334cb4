"""What the decisions of a pool are worth, and checks that losses on pools share."""

from __future__ import annotations

from torch import Tensor

from imle_opt._checks import check_kind, check_like
from imle_opt._full_precision import product
from imle_opt._perturbed import theta_of
from imle_opt.families import SolutionPool
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["checked_pool", "grown", "label_theta", "pool_values"]


def checked_pool(pool: SolutionPool) -> SolutionPool:
    """Return the pool.

    Raises:
        InvalidInputError: it is none, for instance a solver.
    """
    check_kind(pool, SolutionPool, "pool", "SolutionPool(solver)")
    return pool


def grown(pool: SolutionPool, costs_hat: Tensor) -> Tensor:
    """Return theta of the predicted costs, with its graph, and let the pool solve at it as often as it does.

    Raises:
        InvalidInputError: costs that are not finite or not of the pool's shape, or an empty pool.
    """
    theta = theta_of(costs_hat, pool, "costs_hat")
    pool.grow(theta.detach())
    if pool.size == 0 and theta.numel():
        raise InvalidInputError(
            "The pool is empty: call the loss in train(), or give the pool `solutions` to begin with."
        )
    return theta


def label_theta(costs: Tensor, costs_hat: Tensor, pool: SolutionPool, like: Tensor) -> Tensor:
    """Return theta of the true costs, checked against the predicted ones, without a graph.

    Raises:
        InvalidInputError: costs of another shape, or not finite.
    """
    check_like(costs, costs_hat, "costs", pool.event_dim)
    return theta_of(costs, pool).detach().to(like)


def pool_values(pool: SolutionPool, theta: Tensor) -> Tensor:
    """Return `<theta, z> + F(z)` of every member z, (*batch, M), in theta's dtype also under autocast."""
    members = pool.members(theta).flatten(1)
    return product(theta.flatten(theta.ndim - pool.event_dim), members.T) + pool.fixed_parts(theta)
