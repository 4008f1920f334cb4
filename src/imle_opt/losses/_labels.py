"""What losses do with labels that the user brings."""

from __future__ import annotations

import torch
from torch import Tensor

from imle_opt._checks import check_finite
from imle_opt._perturbed import event_sum
from imle_opt.families import MAPOracle
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["check_binary", "fixed_part_of"]

_ROUNDING = 1e-5
"""How far solvers of mixed-integer programs may leave an entry outside [0, 1]."""


def fixed_part_of(solutions: Tensor, theta: Tensor, objectives: Tensor | None, family: MAPOracle) -> Tensor:
    """Return F(z*), what fixed costs add to the maximum at known solutions: `sign * objective - <theta, z*>`.

    Args:
        solutions: z*, (*batch, *event).
        theta: of the true costs, (*batch, *event).
        objectives: the model's own objective of the solutions, (*batch,); None where there are no fixed
            costs.
        family: whose sense it is.

    Returns:
        (*batch,); 0 where no objectives are given.

    Raises:
        InvalidInputError: objectives of another shape, or not finite.
    """
    batch = theta.shape[: theta.ndim - family.event_dim]
    if objectives is None:
        return theta.new_zeros(batch)
    if objectives.shape != batch:
        raise InvalidInputError(
            f"`objectives` must have one entry per row, shape {tuple(batch)}, not {tuple(objectives.shape)}."
        )
    check_finite(objectives, "objectives", 0)
    return family.sign * objectives.detach().to(theta) - event_sum(theta * solutions, family.event_dim)


def check_binary(solutions: Tensor, loss: str, instead: str) -> None:
    """Refuse solutions with entries outside [0, 1].

    Args:
        solutions: y, (*batch, *event), finite.
        loss: what asks, for the message.
        instead: what to use for other decisions, for the message.

    Raises:
        InvalidInputError: some entry lies outside.
    """
    if ((solutions < -_ROUNDING) | (solutions > 1 + _ROUNDING)).any():
        low, high = torch.aminmax(solutions)
        raise InvalidInputError(
            f"`solutions` must be 0 or 1 for {loss}; they range from {low:g} to {high:g}. For other "
            f"decisions use {instead}."
        )
