"""Strictly convex functions of a point in the convex hull of the decisions, a sum over its entries."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["BinaryEntropy", "HalfSquaredNorm", "NegativeEntropy", "Regularizer", "check_domain"]

_EDGE = 1e-8
"""Entropies have an infinite slope at 0 (and 1): entries are kept this far from it where a slope is taken."""
_ROUNDING = 1e-6
"""How far outside of its domain an entry may lie: solvers of linear programs round."""


class Regularizer(ABC):
    """Omega: strictly convex and separable, `Omega(mu) = sum over entries of omega(mu_i)`.

    Attributes:
        domain: the least and the largest entry of a decision that omega is defined for; all by default.
        quadratic: whether the curvature is the same everywhere, so that a slope along a line is a straight
            one and its zero has a closed form.
    """

    domain: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    quadratic = False

    @abstractmethod
    def value(self, point: Tensor) -> Tensor:
        """Return omega of each entry, in the shape of `point`."""

    @abstractmethod
    def gradient(self, point: Tensor) -> Tensor:
        """Return the slope of omega at each entry, finite also at the edge of its domain."""

    @abstractmethod
    def curvature(self, point: Tensor) -> Tensor:
        """Return the second derivative of omega at each entry, positive and finite."""


@final
@dataclass(frozen=True)
class HalfSquaredNorm(Regularizer):
    """`Omega(mu) = temperature / 2 ||mu||^2`: a Euclidean projection of theta / temperature (SparseMAP).

    Args:
        temperature: positive.

    Raises:
        InvalidInputError: a temperature that is not positive and finite.

    Source: Niculae, Martins, Blondel and Cardie, ICML 2018, arXiv 1802.04223.
    """

    quadratic = True
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")

    def value(self, point: Tensor) -> Tensor:
        """Return `temperature / 2 mu^2`."""
        return self.temperature / 2 * point.square()

    def gradient(self, point: Tensor) -> Tensor:
        """Return `temperature mu`."""
        return self.temperature * point

    def curvature(self, point: Tensor) -> Tensor:
        """Return the temperature."""
        return torch.full_like(point, self.temperature)


@final
@dataclass(frozen=True)
class NegativeEntropy(Regularizer):
    """`Omega(mu) = temperature sum of mu log mu`: on one-hot decisions the softmax of theta / temperature.

    For decisions whose entries are not negative.

    Args:
        temperature: positive.

    Raises:
        InvalidInputError: a temperature that is not positive and finite.
    """

    temperature: float = 1.0

    domain = (0.0, math.inf)

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")

    def value(self, point: Tensor) -> Tensor:
        """Return `temperature mu log mu`."""
        inside = point.clamp(min=0)
        return self.temperature * torch.xlogy(inside, inside)

    def gradient(self, point: Tensor) -> Tensor:
        """Return `temperature (1 + log mu)`."""
        return self.temperature * (1 + point.clamp(min=_EDGE).log())

    def curvature(self, point: Tensor) -> Tensor:
        """Return `temperature / mu`."""
        return self.temperature / point.clamp(min=_EDGE)


@final
@dataclass(frozen=True)
class BinaryEntropy(Regularizer):
    """`Omega(mu) = temperature sum of mu log mu + (1 - mu) log (1 - mu)`: on k-subsets the LML layer.

    For 0-1 decisions. Where nothing couples the entries, mu is the sigmoid of theta / temperature.

    Args:
        temperature: positive.

    Raises:
        InvalidInputError: a temperature that is not positive and finite.

    Source: Amos, Koltun and Kolter, 2019, arXiv 1906.08707, for k-subsets.
    """

    temperature: float = 1.0

    domain = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_positive(self.temperature, "temperature")

    def value(self, point: Tensor) -> Tensor:
        """Return `temperature (mu log mu + (1 - mu) log (1 - mu))`."""
        inside = point.clamp(0, 1)
        return self.temperature * (torch.xlogy(inside, inside) + torch.xlogy(1 - inside, 1 - inside))

    def gradient(self, point: Tensor) -> Tensor:
        """Return `temperature logit(mu)`."""
        return self.temperature * torch.logit(point, eps=_EDGE)

    def curvature(self, point: Tensor) -> Tensor:
        """Return `temperature / (mu (1 - mu))`."""
        inside = point.clamp(_EDGE, 1 - _EDGE)
        return self.temperature / (inside * (1 - inside))


def check_domain(regularizer: Regularizer, decisions: Tensor, name: str, *, numbered: bool = True) -> None:
    """Refuse decisions (*, m) that Omega is not defined for; rows of NaN have none.

    Args:
        regularizer: Omega.
        decisions: (*, m).
        name: what the message calls them.
        numbered: whether their rows are those of the caller, whom the message then tells which one it is.

    Raises:
        InvalidInputError: naming the first entry that is out of bounds, and what to use instead.
    """
    low, high = regularizer.domain
    outside = (decisions < low - _ROUNDING) | (decisions > high + _ROUNDING)
    if not outside.any():
        return
    first = tuple(int(i) for i in outside.nonzero()[0])
    where = f"first at row {', '.join(map(str, first[:-1]))}, " if numbered else ""
    bounds = f"lie between {low:g} and {high:g}" if math.isfinite(high) else "not be negative"
    raise InvalidInputError(
        f"`{regularizer!r}` is for decisions whose entries must {bounds}: `{name}` has "
        f"{decisions[first].item():g} ({where}entry {first[-1]}). `HalfSquaredNorm` takes any decisions."
    )
