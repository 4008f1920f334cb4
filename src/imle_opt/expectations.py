"""Expectations of a function of decisions, differentiable in theta."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast, final

import torch
from torch import Tensor, nn

from imle_opt._attach import attach
from imle_opt._bridge import flat_instances
from imle_opt._checks import at_least_float32, check_costs, check_generator
from imle_opt._perturbed import event_shape, over_event
from imle_opt.families import MAPOracle, Polytope, as_family
from imle_opt.layers import Layer
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["Estimator", "Values", "expectation", "pathwise"]

Values = Callable[[Tensor], Tensor]
"""f: samples (S, *batch, *event) to values (S, *batch)."""


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
    ) -> Tensor:
        """Return the estimate, (*batch,), differentiable in theta and in the parameters of f.

        Args:
            f: samples (S, *batch, *event) to values (S, *batch).
            theta: (*batch, *event), always maximised, float32 or float64, with its graph.
            family: of the decisions.
            instances: flat per-row data, or None.
            generator: source of randomness, or None.
        """
        ...


def expectation(
    f: Values,
    theta: Tensor,
    family: Solver | MAPOracle,
    estimator: Estimator,
    *,
    generator: torch.Generator | None = None,
    instances: Instances | None = None,
) -> Tensor:
    """Return an estimate of `E f(z)` for decisions z drawn at theta, with a gradient by theta.

    Here theta is always maximised, as in the papers: `theta = costs` for a maximisation and `-costs` for a
    minimisation (`solver.sense.sign * costs`).

    Each row and each sample counts by its own gradient, whatever is done with the result afterwards: unlike
    in a layer, a fixed lambda does not shrink with the size of the batch.

    Args:
        f: called once, with all samples stacked (S, *batch, *event), in the dtype of theta; returns values
            (S, *batch). Its own parameters get their gradients as usual.
        theta: (*batch, *event).
        family: a solver or a family; the estimator's own, where it has one.
        estimator: how, for example `pathwise(layer)`.
        generator: source of randomness, on the device of theta; None is torch's default.
        instances: per-row data of the solver, each entry (*batch, ...).

    Returns:
        (*batch,).

    Raises:
        InvalidInputError: theta is not finite or not of the family's shape, f returns another shape, or the
            estimator belongs to another family.
    """
    if isinstance(estimator, Layer):
        raise InvalidInputError("`estimator` is a layer: give `pathwise(layer)`, which makes one of it.")
    resolved = as_family(family)
    check_costs(theta, resolved.event_dim, event_shape(resolved), "theta")
    check_generator(generator, theta.device)
    rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - resolved.event_dim]))

    def values(samples: Tensor) -> Tensor:
        return f(samples.to(theta.dtype))

    return estimator(values, at_least_float32(theta), resolved, instances=rows, generator=generator)


def pathwise(layer: Layer) -> Pathwise:
    """Return the estimator that differentiates f at a layer's samples, and goes on by the layer's rule.

        E f = (1/S) sum_s f(z_s),   d theta = rule(df/dz_1, ..., df/dz_S)

    f must be differentiable in z. Samples are drawn in `eval()` too: it is an estimate of an expectation.

    Args:
        layer: any layer, for example `IMLE(solver)`. Its own generator is used where none is given to
            `expectation`; its `batch_reduction` plays no part.
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
    ) -> Tensor:
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
        if not (torch.is_grad_enabled() and theta.requires_grad):
            return _checked_values(f(samples), samples, family.event_dim).mean(0)
        samples = samples.clone().requires_grad_()
        values = _checked_values(f(samples), samples, family.event_dim)
        gradient = draw.rule(_by_samples(values, samples))
        return attach(values.mean(0), theta, lambda grad: over_event(grad, family.event_dim) * gradient)


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


def _checked_values(values: Tensor, samples: Tensor, event_dim: int) -> Tensor:
    expected = samples.shape[: samples.ndim - event_dim]
    if values.shape != expected:
        raise InvalidInputError(
            f"`f` must return one value per sample and row, {tuple(expected)}, for samples of shape "
            f"{tuple(samples.shape)}; it returned {tuple(values.shape)}."
        )
    return values


def _same_family(one: MAPOracle, other: MAPOracle) -> bool:
    if isinstance(one, Polytope) and isinstance(other, Polytope):
        return one.solver is other.solver
    return one == other
