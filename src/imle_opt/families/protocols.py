"""What a method may ask of the variable that it differentiates through, as structural types.

A family describes a set C of decisions and the law `p(z; theta) ∝ exp(<z, theta>)` on it. Most sets allow
only maximisation; some also allow exact sampling, marginals or enumeration. A method asks for what it needs
with `require`, and any object with the right methods will do: no base class is involved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from imle_opt_solvers.errors import MissingCapabilityError
from imle_opt_solvers.instances import Instances

__all__ = ["Enumerable", "ExactSampler", "FixedPart", "MAPOracle", "Marginals", "require"]

CapabilityT = TypeVar("CapabilityT")


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
class ExactSampler(MAPOracle, Protocol):
    """A family that can be sampled exactly."""

    def sample(self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Return independent exact samples of p(z; theta): (S, *batch, *event), without a graph."""
        ...

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


_CAPABILITIES = {
    "MAPOracle": (
        "a MAP oracle (`event_dim`, `sign`, `map`)",
        "Polytope(solver) for any solver, KSubset, Categorical",
    ),
    "ExactSampler": ("exact sampling (`sample`, `score`, `log_prob`)", "KSubset, Categorical"),
    "Marginals": ("exact marginals (`marginals`, `log_partition`)", "KSubset, Categorical"),
    "Enumerable": ("enumeration (`support`)", "KSubset, Categorical"),
}

_MAP_METHODS = (
    "IMLE, BlackBox, StraightThrough, ExplicitMLE, and calibrate_temperature with `marginals=` given"
)


def require(family: object, capability: type[CapabilityT], method: str) -> CapabilityT:
    """Return `family` as what a method needs, or say what would work instead.

    Args:
        family: the family that the user gave.
        capability: one of the protocols of this module.
        method: name of the method that asks, for the message.

    Raises:
        MissingCapabilityError: the family lacks the capability.
    """
    if isinstance(family, capability):
        return family
    needs, families = _CAPABILITIES.get(capability.__name__, (f"`{capability.__name__}`", "none that ship"))
    message = f"`{method}` needs {needs}, which {family!r} does not have. Families that have it: {families}."
    if isinstance(family, MAPOracle):
        message += f" What works with this one: {_MAP_METHODS}."
    raise MissingCapabilityError(message)
