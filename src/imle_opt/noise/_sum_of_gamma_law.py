"""The law of a weighted sum of gammas: both its tails by contour integrals, and from them its quantiles.

    Y = sum over i <= s of Gamma(shape a, scale 1/i)
    E exp(-p Y) = L(p) = prod over i <= s of (1 + p/i)^-a = (Gamma(s+1) Gamma(1+p) / Gamma(s+1+p))^a

Its density has no closed form. L has its singularities at -1, ..., -s, and the integral of `exp(py) L(p) / p`
along a contour that comes from the far left, turns, and goes back there is `2 pi i` times `P(Y <= y)` where
the contour turns right of 0, and `-2 pi i P(Y > y)` where it turns between -1 and 0: either tail without
taking the other from 1. On a parabola through the saddle point of the integrand the trapezoidal rule needs
some fifty points, and no term is larger than the sum.

Source: Rice, SIAM Journal on Scientific and Statistical Computing 1980 (tails by quadrature through the
saddle point); Weideman and Trefethen, Mathematics of Computation 2007 (parabolas, and the step on them).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, loggamma, polygamma, psi

__all__ = ["log_quantiles"]

FloatArray = NDArray[np.float64]

_POINTS = 48
"""Of the trapezoidal rule, on the upper half of a contour; the lower is its mirror image."""

_SMALL = 1e-5
"""Where terms * y is below this, two terms of the series at 0 give P(Y <= y) to 10 digits."""

_LOWEST, _HIGHEST = -40.0, -50.0
"""Logarithms of the tail probabilities at which the nodes end: below the resolution of float64 near 1."""


def log_quantiles(shape: float, terms: int) -> Callable[[FloatArray], FloatArray]:
    """Return the function `E -> log y` with `P(Y > y) = exp(-E)`, to about 9 digits of the probabilities.

    E keeps both tails: it is small where `P(Y <= y)` is, and large where `P(Y > y)` is small. Between some
    400 nodes, `log y` is interpolated in `E + log E`, in which it is smooth.

    Args:
        shape: a, positive.
        terms: s, at least 1.
    """
    lower_y, log_lower = _lower_tail(shape, terms)
    upper_y, log_upper = _upper_tail(shape, terms, lower_y[-1])
    y = np.concatenate([lower_y, upper_y])
    exponential = np.concatenate([-np.log1p(-np.exp(log_lower)), -log_upper])
    position = exponential + np.log(exponential)
    differences = _divided_differences(position, np.log(y))

    def log_quantile(at: FloatArray) -> FloatArray:
        between = _interpolated(np.minimum(at + np.log(at), position[-1]), position, differences)
        return np.where(at < exponential[0], _near_zero(at, shape, terms), between)

    return log_quantile


def _near_zero(exponential: FloatArray, shape: float, terms: int) -> FloatArray:
    """Invert `P(Y <= y) = c y^as (1 - a s (s+1) / (2 (as+1)) y + ...)`, `c = (s!)^a / Gamma(as+1)`."""
    power = shape * terms
    log_c = shape * gammaln(terms + 1) - gammaln(power + 1)
    leading: FloatArray = (np.log(-np.expm1(-exponential)) - log_c) / power
    return leading + (terms + 1) / (2 * (power + 1)) * np.exp(np.minimum(leading, 0))


def _lower_tail(shape: float, terms: int) -> tuple[FloatArray, FloatArray]:
    """Return y up to about a standard deviation above the mean, rising, and `log P(Y <= y)`."""
    mean, deviation = _moments(shape, terms)
    farthest = terms * (1 + shape * terms) / _SMALL
    logs = np.linspace(-4 - math.log1p(deviation), math.log(farthest), 1000)
    rough = _contours(np.exp(logs), 0.0, shape, terms)
    log_tail = rough.laplace_estimate()
    used = (rough.y < max(mean + deviation, 3.0)) & (log_tail > _LOWEST)
    # Close enough for the power of y that the tail is far out, and for the bend where it ends.
    logs = _evenly(logs[used], logs[used] / 0.2 - log_tail[used] / 0.15)
    # Around the mean of a large shape, the parabola has to bend around -1, not 0.
    focus = -5 / deviation if deviation > 5 else 0.0
    contours = _contours(np.exp(logs[::-1]), focus, shape, terms)
    return contours.y, contours.log_integrals(shape, terms)


def _upper_tail(shape: float, terms: int, above: float) -> tuple[FloatArray, FloatArray]:
    """Return rising y from `above` on, and `log P(Y > y)`."""
    _, deviation = _moments(shape, terms)
    logits = np.linspace(-6 - math.log1p(deviation), 8 + math.log1p(shape), 1000)
    rough = _contours(-1 / (1 + np.exp(-logits)), -1.0, shape, terms)
    log_tail = rough.laplace_estimate()
    used = (rough.y > above) & (log_tail > _HIGHEST)
    logits = _evenly(logits[used], np.log(-log_tail[used]) / 0.045)
    contours = _contours(-1 / (1 + np.exp(-logits)), -1.0, shape, terms)
    return contours.y, contours.log_integrals(shape, terms)


@final
@dataclass(frozen=True)
class _Contours:
    """Parabolas `p = focus + (vertex - focus) (1 + iu)^2`, one for each y.

    Args:
        vertex: p where the contour crosses the real axis, all positive or all in (-1, 0).
        focus: around what it bends, in [-1, 0].
        y: the argument whose integrand has its saddle point there.
        curvature: of the logarithm of the integrand.
        height: logarithm of the integrand.
    """

    vertex: FloatArray
    focus: float
    y: FloatArray
    curvature: FloatArray
    height: FloatArray

    def laplace_estimate(self) -> FloatArray:
        """Return the logarithms of the tails to about a tenth."""
        return self.height - np.log(2 * math.pi * self.curvature) / 2

    def log_integrals(self, shape: float, terms: int) -> FloatArray:
        """Return the logarithms of the tails by the trapezoidal rule."""
        reach = self.vertex - self.focus
        width = 0.5 / (reach * np.sqrt(self.curvature))
        # In the plane of u, the nearest singularities: the cut at i, the pole 0 of the integrand.
        distance = np.minimum(1, np.abs(1 - np.sqrt(-self.focus / reach)))
        step = np.minimum(distance / 5, width / 2)
        arms = 1 + 1j * step[:, None] * np.arange(_POINTS)
        p = self.focus + reach[:, None] * arms**2
        log_values = p * self.y[:, None] + _log_transform(p, shape, terms) - self.height[:, None]
        values = (arms * np.exp(log_values) / p).real
        sums = values.sum(-1) - values[:, 0] / 2
        log_sums: FloatArray = np.log(np.abs(2 / math.pi * reach * step * sums))
        return log_sums + self.height


def _contours(vertex: FloatArray, focus: float, shape: float, terms: int) -> _Contours:
    y = shape * (psi(terms + 1 + vertex) - psi(1 + vertex)) + 1 / vertex
    variance = shape * (polygamma(1, 1 + vertex) - polygamma(1, terms + 1 + vertex))
    curvature = variance + 1 / vertex**2
    if focus == -1:
        # The saddle point of a small shape would sit on the branch point: that of the integrand over p + 1.
        y, curvature = y + 1 / (1 + vertex), curvature + 1 / (1 + vertex) ** 2
    height = vertex * y + _log_transform(vertex, shape, terms) - np.log(np.abs(vertex))
    return _Contours(vertex, focus, y, curvature, height)


def _log_transform(p: NDArray[Any], shape: float, terms: int) -> NDArray[Any]:
    """Return `log L(p)`, for real or complex p off the cut left of -1."""
    log_products: NDArray[Any] = loggamma(terms + 1 + p) - loggamma(1 + p) - gammaln(terms + 1)
    return -shape * log_products


def _moments(shape: float, terms: int) -> tuple[float, float]:
    """Return mean and standard deviation of Y."""
    mean = shape * float(psi(terms + 1) - psi(1))
    variance = shape * float(polygamma(1, 1) - polygamma(1, terms + 1))
    return mean, math.sqrt(variance)


def _divided_differences(nodes: FloatArray, values: FloatArray) -> list[FloatArray]:
    """Return Newton's divided differences, of order 0 to 7."""
    differences = [values]
    for order in range(1, 8):
        differences.append(np.diff(differences[-1]) / (nodes[order:] - nodes[:-order]))
    return differences


def _interpolated(at: FloatArray, nodes: FloatArray, differences: list[FloatArray]) -> FloatArray:
    """Return the polynomial through the eight nodes around each point, there."""
    start = np.clip(np.searchsorted(nodes, at) - len(differences) // 2, 0, len(nodes) - len(differences))
    value = differences[-1][start]
    for order in reversed(range(len(differences) - 1)):
        value = value * (at - nodes[start + order]) + differences[order][start]
    return value


def _evenly(values: FloatArray, measure: FloatArray) -> FloatArray:
    """Return values, within the given ones, at which their rising measure is 1 more than at the last."""
    return np.interp(np.arange(measure[0], measure[-1]), measure, values)
