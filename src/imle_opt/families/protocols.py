"""What a method may ask of the variable that it differentiates through, as structural types.

A family describes a set C of decisions and the law `p(z; theta) ∝ exp(<z, theta>)` on it. Most sets allow
only maximisation; some also allow exact sampling, marginals, reparameterisation or enumeration. A method asks
for what it needs with `require`, and any object with the right methods will do: no base class is involved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from imle_opt_solvers.instances import Instances

__all__ = [
    "Enumerable",
    "ExactSampler",
    "FixedPart",
    "MAPOracle",
    "Marginals",
    "Reparameterized",
    "Sampler",
]


@runtime_checkable
class MAPOracle(Protocol):
    """A set of decisions over which a linear function can be maximised."""

    @property
    def event_dim(self) -> int:
        """How many of the last dimensions of theta belong to one decision."""
        ...

    @property
    def sign(self) -> float:
        """`theta = sign * costs`: -1 for a minimisation, +1 for a maximisation or where there is no sense."""
        ...

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return `MAP(theta) = argmax over z in C of <z, theta>`, without a graph.

        Args:
            theta: (*batch, *event), always maximised.
            instances: per-row data of the feasible region, for families that take any.
            deterministic: a row's answer may not depend on the rows solved before, also where optima tie.

        Returns:
            Decisions (*batch, *event), in the dtype and on the device of theta.
        """
        ...


@runtime_checkable
class FixedPart(MAPOracle, Protocol):
    """A MAP oracle of `<z, theta> + F(z)`, which tells F(z): fixed costs of what z does not show."""

    def map_with_fixed(
        self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return the decisions of `map`, (*batch, *event), and F of each, (*batch,), without a graph."""
        ...


@runtime_checkable
class Sampler(MAPOracle, Protocol):
    """A family that can be sampled exactly."""

    def sample(self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return independent exact samples of p(z; theta): (S, *batch, *event), without a graph."""
        ...


@runtime_checkable
class ExactSampler(Sampler, Protocol):
    """A family that can be sampled exactly, and knows the probability of a sample and its gradient."""

    def score(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `d log p(z; theta) / d theta = z - E z`: (S, *batch, *event), without a graph."""
        ...

    def log_prob(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `log p(z; theta)`: (S, *batch), differentiable in theta."""
        ...


@runtime_checkable
class Marginals(MAPOracle, Protocol):
    """A family whose mean and normaliser can be computed."""

    def marginals(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `E z` under `p(z) ∝ exp(<z, theta> / temperature)`: (*batch, *event), differentiable."""
        ...

    def log_partition(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `log of the sum over z in C of exp(<z, theta> / temperature)`: (*batch,), differentiable."""
        ...


@runtime_checkable
class Enumerable(MAPOracle, Protocol):
    """A family whose decisions can be listed where they are few."""

    def support(
        self,
        event_shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return every decision of `event_shape` once: (M, *event)."""
        ...


@runtime_checkable
class Reparameterized(ExactSampler, Protocol):
    """A family whose samples are a step function of continuous variables zeta, differentiable in theta."""

    def rsample(
        self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return zeta, (S, *batch, *event), differentiable in theta; `harden(zeta)` is an exact sample."""
        ...

    def rsample_given(self, theta: Tensor, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return zeta drawn given that `harden(zeta) = z`, in the shape of z, differentiable in theta."""
        ...

    def harden(self, zeta: Tensor) -> Tensor:
        """Return the decisions that zeta stands for, in its shape, without a graph."""
        ...

    def relax(self, zeta: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """Return a point in the convex hull of the decisions, differentiable; `harden(zeta)` in the limit."""
        ...
