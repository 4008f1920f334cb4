"""Products that stay in the dtype of their factors, whether the caller is under autocast or not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["full_precision", "product"]


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context without autocast, for products on the device of `tensor` that nothing differentiates.

    It ends before the backward pass, which users may run under autocast as well: `product` is for those.
    """
    return torch.autocast(tensor.device.type, enabled=False)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return `left @ right`, in full precision forward and backward, and in a second backward.

    Args:
        left: (*batch, n).
        right: (n, m), of the same dtype and device, without a graph.

    Returns:
        (*batch, m).
    """
    multiplied: Tensor = _Product.apply(left, right)  # type: ignore[no-untyped-call]  # torch has no types here
    return multiplied


class _Product(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> Tensor:
        with full_precision(left):
            return left @ right

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,), (right,) = grad_outputs, ctx.saved_tensors
        return product(grad, right.mT), None
