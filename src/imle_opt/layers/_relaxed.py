"""Layers whose rule is the derivative of a relaxation, by autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from imle_opt.layers.layer import Draw

__all__ = ["relaxed_draw"]


def relaxed_draw(
    theta: Tensor, relaxation: Callable[[Tensor], Tensor], samples: Tensor | None = None
) -> Draw:
    """Return samples whose gradient by theta is that of a relaxation of them.

    Args:
        theta: (*batch, *event), without a graph.
        relaxation: from theta to relaxed samples, (S, *batch, *event), differentiable.
        samples: what the layer returns, (S, *batch, *event), for straight-through forms; None for the relaxed
            samples themselves.

    Returns:
        The draw. Its rule keeps the graph of the relaxation until the draw is forgotten.
    """
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        relaxed = relaxation(point)

    def rule(gradient: Tensor) -> Tensor:
        (by_theta,) = torch.autograd.grad(relaxed, point, gradient.to(relaxed), retain_graph=True)
        return by_theta / len(relaxed)

    return Draw(relaxed.detach() if samples is None else samples.detach(), rule)
