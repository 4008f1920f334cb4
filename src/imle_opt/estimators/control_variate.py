"""The gradient that REBAR and RELAX share: a surrogate of f, subtracted and added back where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor

from imle_opt._perturbed import event_sum, over_event
from imle_opt.families import Reparameterized
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["CoupledDraw", "control_variate_gradient", "coupled_draw", "own_loss"]


@final
@dataclass(frozen=True)
class CoupledDraw:
    """Continuous variables, the decisions they harden to, and others that harden to the same.

    Args:
        theta: a leaf of its own per sample, (S, *batch, *event).
        zeta: (S, *batch, *event), differentiable in `theta`.
        samples: z, (S, *batch, *event).
        given: zeta drawn anew given z, (S, *batch, *event), differentiable in `theta`.
        score: `d log p(z) / d theta`, (S, *batch, *event).
    """

    theta: Tensor
    zeta: Tensor
    samples: Tensor
    given: Tensor
    score: Tensor


def coupled_draw(
    theta: Tensor, family: Reparameterized, num_samples: int, generator: torch.Generator | None
) -> CoupledDraw:
    """Draw zeta, z and zeta given z.

    Args:
        theta: (*batch, *event).
        family: of the decisions.
        num_samples: S.
        generator: source of randomness, or None.
    """
    leaf = theta.detach().expand(num_samples, *theta.shape).clone().requires_grad_()
    zeta = family.rsample(leaf, 1, generator)[0]
    samples = family.harden(zeta)
    given = family.rsample_given(leaf, samples, generator)
    return CoupledDraw(leaf, zeta, samples, given, family.score(leaf.detach(), samples))


def control_variate_gradient(
    values: Tensor,
    at_zeta: Tensor,
    at_given: Tensor,
    draw: CoupledDraw,
    event_dim: int,
    relaxed: Tensor | None = None,
) -> Tensor:
    """Return `(f(z) - c(zeta~)) score + d c(zeta) / d theta - d c(zeta~) / d theta` of each sample.

    Args:
        values: f(z), without a graph, (S, *batch).
        at_zeta: c(zeta), (S, *batch).
        at_given: c(zeta~), (S, *batch).
        draw: theta, zeta and zeta~.
        event_dim: how many of the last dimensions belong to one decision.
        relaxed: relaxed decisions, which c must depend on as it contains f there; None where it does not.

    Returns:
        (S, *batch, *event), differentiable in the parameters of c.

    Raises:
        InvalidInputError: c does not depend on `relaxed`: without its slope the gradient would be biased.
    """
    difference = (at_zeta - at_given).sum()
    points = [draw.theta] if relaxed is None else [draw.theta, relaxed]
    slopes: tuple[Tensor | None, ...] = (None,) * len(points)
    if difference.requires_grad:
        found = torch.autograd.grad(difference, points, create_graph=True, allow_unused=True)
        slopes = cast("tuple[Tensor | None, ...]", found)
    if relaxed is not None and slopes[-1] is None:
        raise InvalidInputError(
            "`f` must be differentiable at relaxed decisions, between zero and one: its values do not depend "
            "on them, or were detached on the way. Relax(surrogate), ARM and Reinforce need its values only."
        )
    slope = slopes[0]
    gradient = over_event(values - at_given, event_dim) * draw.score
    return gradient if slope is None else gradient + slope


def own_loss(gradient: Tensor, parameters: Sequence[Tensor], event_dim: int) -> Tensor | None:
    """Return the mean of `||g||^2` over samples and rows, differentiable in the given parameters only.

    As g is unbiased whatever the parameters are, this is its variance up to a constant. f has a graph of its
    own where the surrogate contains it; its parameters must not see this loss, so that it is differentiated
    here and now.

    Args:
        gradient: g, (S, *batch, *event), with its graph.
        parameters: of the surrogate.
        event_dim: how many of the last dimensions belong to one decision.

    Returns:
        A scalar, or None where there is nothing to tune.
    """
    tuned = [parameter for parameter in parameters if parameter.requires_grad]
    if not tuned or not gradient.requires_grad or not gradient.numel():
        return None
    loss = event_sum(gradient.square(), event_dim).mean()
    slopes = torch.autograd.grad(loss, tuned, retain_graph=True, allow_unused=True)
    result = loss.detach()
    for parameter, slope in zip(tuned, cast("tuple[Tensor | None, ...]", slopes), strict=True):
        if slope is not None:
            result = result + ((parameter - parameter.detach()) * slope).sum()
    return result
