"""A layer as an estimator: f differentiated at the layer's samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from imle_opt.estimators.estimator import Estimate, Values, attached, evaluate, needs_gradient
from imle_opt.families import MAPOracle, Polytope
from imle_opt.layers import Layer
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["Pathwise", "pathwise"]


def pathwise(layer: Layer) -> Pathwise:
    """Return the estimator that differentiates f at a layer's samples, and goes on by the layer's rule.

        E f = (1/S) sum_s f(z_s),   d theta = rule(df/dz_1, ..., df/dz_S)

    The rule sees the slope of f at each sample and row, not that of a loss reduced over them: a fixed lambda
    means the same for every number of samples and rows. Bias and variance are the layer's.

    f must be differentiable in z. Samples are drawn in `eval()` too: it is an estimate of an expectation.

    Args:
        layer: any layer, for example `IMLE(solver)`. Its own generator is used where none is given to
            `expectation`; its `batch_reduction` plays no part.

    Cost: S evaluations of f and one backward pass through them for their slopes; the layer's solves.

    For decisions of a solver, of which nothing but optima is known, and an f that has slopes. For a black box
    f, or where the gradient must not be biased, `Reinforce`, `DisARM` or `ARSM`, on families that they take.
    """
    return Pathwise(layer)


@final
class Pathwise(nn.Module):
    """What `pathwise` returns; an nn.Module, so that the layer's state moves and checkpoints with a model.

    Args:
        layer: whose samples and rule are used.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        f: Values,
        theta: Tensor,
        family: MAPOracle,
        *,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> Estimate:
        """Return the estimate, as `Estimator` says.

        Raises:
            InvalidInputError: the family is not the layer's, or f does not return (S, *batch) values that can
                be differentiated in z.
        """
        if not _same_family(family, self.layer.family):
            raise InvalidInputError(
                f"`family` is {family!r}, the layer's is {self.layer.family!r}: `pathwise(layer)` estimates "
                "expectations over the layer's own decisions, so give `expectation` the same solver."
            )
        generator = self.layer.generator if generator is None else generator
        draw = self.layer.draw(theta.detach(), instances, generator)
        samples = draw.samples.detach()
        if not needs_gradient(theta):
            return Estimate(evaluate(f, samples, family.event_dim).mean(0))
        samples = samples.clone().requires_grad_()
        values = evaluate(f, samples, family.event_dim)
        gradient = draw.rule(_by_samples(values, samples))
        return Estimate(attached(values, theta, gradient, family.event_dim))


def _by_samples(values: Tensor, samples: Tensor) -> Tensor:
    """Return df/dz of every sample: values do not mix samples or rows, so one backward pass gives all."""
    if values.requires_grad:
        gradients = torch.autograd.grad(values.sum(), samples, retain_graph=True, allow_unused=True)
        (gradient,) = cast("tuple[Tensor | None, ...]", gradients)
        if gradient is not None:
            return gradient
    raise InvalidInputError(
        "`f` must be differentiable in the samples it is given: its values do not depend on them, or were "
        "detached on the way."
    )


def _same_family(one: MAPOracle, other: MAPOracle) -> bool:
    if isinstance(one, Polytope) and isinstance(other, Polytope):
        return one.solver is other.solver
    return one == other
