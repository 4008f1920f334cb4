"""The one autograd primitive: a value from anywhere, with a gradient rule of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from imle_opt_solvers.errors import InvalidInputError

__all__ = ["Vjp", "attach"]

Vjp = Callable[[Tensor], Tensor]
"""From the gradient of the loss by the value to the gradient of the loss by theta."""


def attach(value: Tensor, theta: Tensor, vjp: Vjp) -> Tensor:
    """Return `value`, and in the backward pass `d theta = vjp(d value)`.

    Every method of this library is a value and such a rule. The rule runs once, in the backward pass, without
    a graph, and only if theta needs a gradient. Where `value` has a graph of its own (through the parameters
    of what computed it, not through theta), the gradient flows into that graph too, unchanged.

    Args:
        value: any shape.
        theta: any shape; what the gradient is attached to.
        vjp: takes the gradient by the value, in the shape of `value`; returns the one by theta, in the shape
            of `theta`.

    Returns:
        A copy of `value`, same dtype and device, that can be differentiated once.

    Raises:
        InvalidInputError: in the backward pass, where the rule returns another shape than theta's.
    """
    attached: Tensor = _Attach.apply(value, theta, vjp)  # type: ignore[no-untyped-call]  # torch has no types here
    return attached


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, theta: Tensor, vjp: Vjp) -> Tensor:
        ctx.vjp = vjp
        ctx.theta_shape = theta.shape
        # A copy: the rule often holds `value`, and the user may write into what a layer returns.
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # of the decorator, which hides the names
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grad_outputs
        to_value, to_theta, _ = ctx.needs_input_grad
        return (grad if to_value else None), (_by_theta(ctx, grad) if to_theta else None), None


def _by_theta(ctx: Any, grad: Tensor) -> Tensor:
    by_theta: Tensor = ctx.vjp(grad)
    if by_theta.shape != ctx.theta_shape:
        raise InvalidInputError(
            f"The gradient rule given to `attach` must return the shape of `theta`, "
            f"{tuple(ctx.theta_shape)}; it returned {tuple(by_theta.shape)}."
        )
    return by_theta
