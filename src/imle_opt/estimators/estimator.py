"""What all estimators share: f, theta and a family in, a value with a gradient out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor

from imle_opt._attach import attach
from imle_opt._perturbed import over_event
from imle_opt.families import MAPOracle, Sampler
from imle_opt_solvers.errors import InvalidInputError

__all__ = [
    "Estimate",
    "Estimator",
    "Values",
    "attached",
    "evaluate",
    "needs_gradient",
    "refuse_instances",
    "without_gradient",
]

Values = Callable[[Tensor], Tensor]
"""f: samples (S, *batch, *event) to values (S, *batch)."""


@final
@dataclass(frozen=True)
class Estimate:
    """What an estimator returns.

    Args:
        value: the estimate of `E f(z)`, (*batch,), differentiable in theta and in the parameters of f.
        variance_loss: a scalar to minimise in the estimator's own parameters, and differentiable in nothing
            else; None where the estimator has none.
    """

    value: Tensor
    variance_loss: Tensor | None = None


class Estimator(Protocol):
    """A way to estimate `E f(z)` and its gradient by theta; an nn.Module where it has state."""

    def __call__(
        self,
        f: Values,
        theta: Tensor,
        family: MAPOracle,
        *,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> Estimate:
        """Return the estimate.

        Args:
            f: samples (S, *batch, *event) to values (S, *batch).
            theta: (*batch, *event), always maximised, float32 or float64, with its graph.
            family: of the decisions.
            instances: flat per-row data, or None.
            generator: source of randomness, or None.
        """
        ...


def evaluate(f: Values, samples: Tensor, event_dim: int, name: str = "f") -> Tensor:
    """Return f at all samples, with its graph.

    Args:
        f: the function.
        samples: (S, *batch, *event).
        event_dim: how many of the last dimensions belong to one decision.
        name: the argument's name in the error message.

    Returns:
        (S, *batch), floating point.

    Raises:
        InvalidInputError: f returned another shape.
    """
    values = f(samples)
    expected = samples.shape[: samples.ndim - event_dim]
    if values.shape != expected:
        raise InvalidInputError(
            f"`{name}` must return one value per sample and row, {tuple(expected)}, for samples of shape "
            f"{tuple(samples.shape)}; it returned {tuple(values.shape)}."
        )
    return values if values.is_floating_point() else values.to(samples.dtype)


def attached(values: Tensor, theta: Tensor, gradient: Tensor, event_dim: int) -> Tensor:
    """Return the mean of the values over samples, with the given gradient by theta.

    Args:
        values: (S, *batch), with the graph of f.
        theta: (*batch, *event).
        gradient: of the estimate of each row, (*batch, *event).
        event_dim: how many of the last dimensions belong to one decision.
    """
    return attach(values.mean(0), theta, lambda grad: over_event(grad, event_dim) * gradient)


def needs_gradient(theta: Tensor) -> bool:
    """Return whether a gradient by theta will be asked for."""
    return torch.is_grad_enabled() and theta.requires_grad


def without_gradient(
    f: Values, theta: Tensor, family: Sampler, num_samples: int, generator: torch.Generator | None
) -> Estimate:
    """Return the mean of f over plain samples."""
    samples = family.sample(theta.detach(), num_samples, generator)
    return Estimate(evaluate(f, samples, family.event_dim).mean(0))


def refuse_instances(instances: Mapping[str, Any] | None, method: str) -> None:
    """Refuse per-row data: the families that can be sampled take none.

    Raises:
        InvalidInputError: there are instances.
    """
    if instances:
        raise InvalidInputError(
            f"`{method}` takes no `instances` (got {', '.join(map(repr, instances))}): it samples families "
            "whose rows all have the same region. `pathwise(layer)` takes them."
        )
