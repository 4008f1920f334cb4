"""The covariance of a decision, from the Jacobian of its marginals."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from imle_opt._checks import at_least_float32

__all__ = ["covariance_of"]


def covariance_of(
    marginals: Callable[[Tensor, float], Tensor], theta: Tensor, event_dim: int, temperature: float
) -> Tensor:
    """Return `Cov z = temperature * d marginals / d theta`, all rows and all columns in one backward pass.

    Args:
        marginals: (theta, temperature) to `E z`, rows of the batch independent.
        theta: (*batch, *event), D entries per event; D copies of it are made.
        event_dim: how many of the last dimensions belong to one decision.
        temperature: positive.

    Returns:
        (*batch, *event, *event) in the dtype of theta, differentiable if theta needs a gradient.
    """
    batch, event = theta.shape[: theta.ndim - event_dim], theta.shape[theta.ndim - event_dim :]
    size = math.prod(event)
    keep_graph = torch.is_grad_enabled() and theta.requires_grad
    with torch.inference_mode(False), torch.enable_grad():
        start = at_least_float32(theta) if keep_graph else at_least_float32(theta.detach().clone())
        copies = start.expand(size, *theta.shape).clone()
        if not keep_graph:
            copies.requires_grad_()
        means = marginals(copies, temperature).reshape(size, *batch, size)
        own = means.diagonal(dim1=0, dim2=-1).sum()
        (rows,) = torch.autograd.grad(own, copies, create_graph=keep_graph)
    covariance = temperature * rows.reshape(size, *batch, size).movedim(0, -2)
    return covariance.reshape(*batch, *event, *event).to(theta.dtype)
