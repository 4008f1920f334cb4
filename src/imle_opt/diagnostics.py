"""What a gradient estimator does on a problem: bias, variance, cost."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one, check_costs
from imle_opt._perturbed import event_shape
from imle_opt.estimators import Enumerate, Estimator, Values
from imle_opt.expectations import expectation
from imle_opt.families import Enumerable, MAPOracle, as_family
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solver import Solver

__all__ = ["GradientStats", "gradient_stats", "markdown_table"]

_LARGEST_CHUNK = 2**14
"""Replicates in one call."""


@final
@dataclass(frozen=True)
class GradientStats:
    """Moments of a gradient estimate over independent replicates; tensors (*event).

    Args:
        mean: of the gradient.
        variance: of one replicate, entry by entry.
        standard_error: of `mean`.
        exact: the gradient by enumeration, or None where the family cannot be listed.
        z: `(mean - exact) / standard_error`: of size 1 for an unbiased estimator; 0 where both are exact.
            None without `exact`.
        evaluations: of f, per replicate.
        seconds: wall clock per replicate, f included.
        replicates: n.
    """

    mean: Tensor
    variance: Tensor
    standard_error: Tensor
    exact: Tensor | None
    z: Tensor | None
    evaluations: float
    seconds: float
    replicates: int

    @property
    def total_variance(self) -> float:
        """The variance summed over the entries of the gradient."""
        return self.variance.sum().item()

    @property
    def largest_z(self) -> float:
        """The largest |z| of an entry; NaN where there is no exact gradient."""
        return math.nan if self.z is None else self.z.abs().max().item()


def gradient_stats(
    estimator: Estimator,
    f: Values,
    theta: Tensor,
    family: Solver | MAPOracle,
    n: int,
    *,
    generator: torch.Generator | None = None,
) -> GradientStats:
    """Return the moments of an estimator's gradient of `E f(z)` over n independent replicates.

    The replicates are rows of a batch, so that this takes few calls; f must treat its rows alike. State that
    follows the calls (a moving average) is updated as usual: to keep it as it is, call `estimator.eval()`.

    Args:
        estimator: how.
        f: samples (S, rows, *event) to values (S, rows).
        theta: (*event), float64 for a sharp test of bias.
        family: a solver or a family.
        n: replicates, at least 2.
        generator: source of randomness, on the device of theta; None is torch's default.

    Returns:
        The moments, and their distance from the exact gradient where the family lists its decisions.

    Raises:
        InvalidInputError: an unfit theta (a batch of rows among others), or n below 2.
        MissingCapabilityError: an estimator that needs more than the family has.

    Cost: n calls' worth of the estimator, and one enumeration.
    """
    check_at_least_one(n, "n")
    if n < 2:
        raise InvalidInputError(f"`n` must be at least 2 replicates for a variance, not {n!r}.")
    resolved = as_family(family)
    check_costs(theta, resolved.event_dim, event_shape(resolved), "theta")
    if theta.ndim != resolved.event_dim:
        raise InvalidInputError(f"`theta` must be one row, (*event), not {tuple(theta.shape)}.")
    evaluations = 0

    def counted(samples: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += samples.shape[: samples.ndim - resolved.event_dim].numel()
        return f(samples)

    start = time.perf_counter()
    gradients: list[Tensor] = []
    for first in range(0, n, _LARGEST_CHUNK):
        rows = theta.detach().expand(min(_LARGEST_CHUNK, n - first), *theta.shape).clone().requires_grad_()
        value = expectation(counted, rows, resolved, estimator, generator=generator)
        gradients.extend(torch.autograd.grad(value.sum(), rows))
    seconds = (time.perf_counter() - start) / n
    return _moments(torch.cat(gradients), _exact(f, theta, resolved), evaluations / n, seconds)


def markdown_table(rows: Mapping[str, GradientStats]) -> str:
    """Return a table with a row per estimator: bias, variance, cost.

    Args:
        rows: name to moments.
    """
    lines = [
        "| estimator | largest &#124;z&#124; | variance | evaluations of f | µs per gradient |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {stats.largest_z:.1f} | {stats.total_variance:.3g} | {stats.evaluations:.3g} "
        f"| {1e6 * stats.seconds:.3g} |"
        for name, stats in rows.items()
    ]
    return "\n".join(lines)


def _exact(f: Values, theta: Tensor, family: MAPOracle) -> Tensor | None:
    if not isinstance(family, Enumerable):
        return None
    leaf = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(expectation(f, leaf, family, Enumerate()), leaf)
    return gradient


def _moments(gradients: Tensor, exact: Tensor | None, evaluations: float, seconds: float) -> GradientStats:
    mean, variance = gradients.mean(0), gradients.var(0)
    error = (variance / len(gradients)).sqrt()
    z: Tensor | None = None
    if exact is not None:
        # Rounding apart, an estimator without variance is exact or infinitely many errors off.
        near = (mean - exact).abs() <= 1e-9 * (1 + exact.abs())
        z = torch.where(near & (error <= 1e-9), 0, (mean - exact) / error)
    return GradientStats(mean, variance, error, exact, z, evaluations, seconds, len(gradients))
