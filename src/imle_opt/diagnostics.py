"""What a gradient estimator does on a problem: bias, variance, cost."""

from __future__ import annotations

import math
import statistics
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

_LARGEST_CHUNK = 2**12
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
        seconds: wall clock per replicate, f included: the median over calls of 4,096 replicates, so that
            neither a first call that is slow nor an interruption counts; of few replicates, mostly what one
            call takes.
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

    @property
    def relative_error(self) -> float:
        """`||mean - exact|| / ||exact||`: the bias, and what is left of the noise; NaN without `exact`."""
        if self.exact is None:
            return math.nan
        error: float = ((self.mean - self.exact).norm() / self.exact.norm()).item()
        return error


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

    The replicates are rows of a batch, 4,096 to a call, so that this takes few calls and memory for one; f
    must treat its rows alike. State that follows the calls (a moving average) is updated as usual: to keep it
    as it is, call `estimator.eval()`.

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

    moments, seconds = _Moments(torch.zeros_like(theta), torch.zeros_like(theta), 0), []
    for first in range(0, n, _LARGEST_CHUNK):
        size = min(_LARGEST_CHUNK, n - first)
        rows = theta.detach().expand(size, *theta.shape).clone().requires_grad_()
        start = time.perf_counter()
        value = expectation(counted, rows, resolved, estimator, generator=generator)
        (gradients,) = torch.autograd.grad(value.sum(), rows)
        seconds.append((time.perf_counter() - start) / size)
        moments = moments.and_of(gradients)
    return _stats(moments, _exact(f, theta, resolved), evaluations / n, statistics.median(seconds))


def markdown_table(rows: Mapping[str, GradientStats]) -> str:
    """Return a table with a row per estimator: bias, variance, cost.

    Where an entry of the gradient has no variance, its |z| is 0 if it is exact, and ∞ if not.

    Args:
        rows: name to moments.
    """
    lines = [
        "| estimator | largest &#124;z&#124; | relative error | variance | evaluations of f "
        "| µs per gradient |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, stats in rows.items():
        z = "∞" if math.isinf(stats.largest_z) else f"{stats.largest_z:.1f}"
        figures = (stats.relative_error, stats.total_variance, stats.evaluations, 1e6 * stats.seconds)
        lines.append(f"| {name} | {z} | {' | '.join(map(_rounded, figures))} |")
    return "\n".join(lines)


def _rounded(value: float) -> str:
    """Return three digits; what is below 1e-12 is a zero that rounding made larger."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{0.0 if value < 1e-12 else value:.3g}"


def _exact(f: Values, theta: Tensor, family: MAPOracle) -> Tensor | None:
    if not isinstance(family, Enumerable):
        return None
    leaf = theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(expectation(f, leaf, family, Enumerate()), leaf)
    return gradient


@dataclass(frozen=True)
class _Moments:
    """Mean and sum of squared deviations of a number of gradients, without keeping them."""

    mean: Tensor
    squares: Tensor
    number: int

    def and_of(self, gradients: Tensor) -> _Moments:
        """Return the moments of these and of more gradients, (N, *event)."""
        number, added = self.number + len(gradients), len(gradients)
        mean = gradients.mean(0)
        away = mean - self.mean
        squares = self.squares + (gradients - mean).square().sum(0)
        return _Moments(
            self.mean + away * (added / number),
            squares + away.square() * (self.number * added / number),
            number,
        )


def _stats(moments: _Moments, exact: Tensor | None, evaluations: float, seconds: float) -> GradientStats:
    mean, variance = moments.mean, moments.squares / (moments.number - 1)
    error = (variance / moments.number).sqrt()
    z: Tensor | None = None
    if exact is not None:
        # Rounding apart, an estimator without variance is exact or infinitely many errors off.
        size, off = 1 + exact.abs(), mean - exact
        z = torch.where(error <= 1e-12 * size, off.sign() * torch.inf, off / error)
        z = torch.where((off.abs() <= 1e-9 * size) & (error <= 1e-9), 0, z)
    return GradientStats(mean, variance, error, exact, z, evaluations, seconds, moments.number)
