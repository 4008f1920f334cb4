"""Expectations of a function of decisions, differentiable in theta."""

from __future__ import annotations

import torch
from torch import Tensor

from imle_opt._bridge import flat_instances
from imle_opt._checks import at_least_float32, check_costs, check_generator
from imle_opt._perturbed import event_shape
from imle_opt.estimators import Estimate, Estimator, Values
from imle_opt.families import MAPOracle, as_family
from imle_opt.layers import Layer
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["estimate", "expectation"]


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

    It is `estimate(...).value`: estimators with parameters of their own (`Rebar`, `Relax`, a baseline that
    is a network) are tuned by what `estimate` returns beside the value.

    Args:
        f: called with all samples stacked (S, *batch, *event), in the dtype of theta; returns values
            (S, *batch). Its own parameters get their gradients as usual, and so does theta where f uses it
            directly, as in the entropy term of a variational bound. What a row is worth may depend on that
            row only, not on its neighbours or on other samples. Estimators that compare the samples with
            other points call it once more, for the gradient by theta alone: `ARS` and `ARSM` under
            `torch.no_grad()`, `Rebar` and `Relax(with_relaxation=True)` at relaxed decisions.
        theta: (*batch, *event).
        family: a solver or a family; the estimator's own, where it has one.
        estimator: how, for example `Reinforce()` or `pathwise(layer)`.
        generator: source of randomness, on the device of theta; None is torch's default.
        instances: per-row data of the solver, each entry (*batch, ...); for `pathwise` only.

    Returns:
        (*batch,).

    Raises:
        InvalidInputError: theta is not finite or not of the family's shape, f returns another shape, or the
            estimator belongs to another family.
        MissingCapabilityError: the estimator needs more than the family has.
    """
    return estimate(f, theta, family, estimator, generator=generator, instances=instances).value


def estimate(
    f: Values,
    theta: Tensor,
    family: Solver | MAPOracle,
    estimator: Estimator,
    *,
    generator: torch.Generator | None = None,
    instances: Instances | None = None,
) -> Estimate:
    """Return an estimate of `E f(z)`, and a loss that tunes the estimator's own parameters.

    A step of training both, with two optimizers:

        result = estimate(f, theta, family, estimator)
        result.value.mean().backward()
        result.variance_loss.backward()

    Args:
        f: as in `expectation`, like all others.
        theta: (*batch, *event).
        family: a solver or a family.
        estimator: how.
        generator: source of randomness.
        instances: per-row data of the solver.

    Returns:
        The value (*batch,), and the variance loss of estimators that have one.

    Raises:
        InvalidInputError: as in `expectation`.
        MissingCapabilityError: as in `expectation`.
    """
    if isinstance(estimator, Layer):
        raise InvalidInputError("`estimator` is a layer: give `pathwise(layer)`, which makes one of it.")
    if isinstance(estimator, type):
        raise InvalidInputError(f"`estimator` is the class {estimator.__name__}: call it to set its options.")
    resolved = as_family(family)
    check_costs(theta, resolved.event_dim, event_shape(resolved), "theta")
    check_generator(generator, theta.device)
    rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - resolved.event_dim]))

    def values(samples: Tensor) -> Tensor:
        return f(samples.to(theta.dtype))

    return estimator(values, at_least_float32(theta), resolved, instances=rows, generator=generator)
