"""Independent yes-or-no choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from imle_opt._checks import at_least_float32, check_at_least_one, check_costs, check_positive
from imle_opt.families._checks import (
    check_decisions,
    check_event_dim,
    check_event_shape,
    check_no_instances,
    check_support_size,
)
from imle_opt.families._covariance import covariance_of
from imle_opt.families.conditional import logistic_given
from imle_opt.noise import Logistic
from imle_opt_solvers.instances import Instances

__all__ = ["Bernoulli"]


@final
@dataclass(frozen=True)
class Bernoulli:
    """Vectors of zeros and ones, `C = {0, 1}^K`: `P(z_k = 1; theta) = sigmoid(theta_k)`, independently.

    Reparameterised by logistic noise L: `zeta = theta + L`, `z = 1[zeta > 0]`.

    Args:
        event_dim: 1 for K variables per decision, (K,); 2 for a matrix of variables; and so on. It changes no
            decision, only over which dimensions `log_prob`, `log_partition` and `support` work.

    Raises:
        InvalidInputError: `event_dim` below 1, or (from the methods) an unfit theta.

    Cost: O(K) per row, all in closed form, but O(K^2) for `covariance`; `support` lists 2^K decisions.

    Source: of the reparameterisation: Maddison, Mnih and Teh, ICLR 2017, arXiv 1611.00712.

    Variables are independent: for a fixed number of ones `KSubset`, under other constraints a solver.
    """

    event_dim: int = 1

    def __post_init__(self) -> None:
        check_event_dim(self.event_dim)

    @property
    def sign(self) -> float:
        """+1: there is no sense, costs are logits."""
        return 1.0

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return 1 where theta is positive, 0 elsewhere.

        Args:
            theta: (*batch, *event).
            instances: must be None.
            deterministic: makes no difference, the answer depends on nothing but theta.

        Returns:
            The shape and dtype of theta, without a graph.
        """
        check_no_instances(instances, self)
        self._check(theta)
        return self.harden(theta)

    def sample(self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draw exact samples: `1[theta + logistic noise > 0]`.

        Args:
            theta: (*batch, *event).
            num_samples: S.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            (S, *batch, *event), in the dtype of theta, without a graph.
        """
        return self.harden(self.rsample(theta.detach(), num_samples, generator)).to(theta.dtype)

    def score(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `d log p(z; theta) / d theta = z - sigmoid(theta)`.

        Args:
            theta: (*batch, *event).
            z: (*samples, *batch, *event), decisions.

        Returns:
            The shape of z, without a graph.
        """
        with torch.no_grad():
            return z - self.marginals(theta)

    def log_prob(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `log p(z; theta)`, summed over the variables of a decision.

        Args:
            theta: (*batch, *event).
            z: (*samples, *batch, *event), zeros and ones; that they are is not checked.

        Returns:
            (*samples, *batch), differentiable in theta.
        """
        self._check(theta)
        return logsigmoid((2 * z - 1) * at_least_float32(theta)).sum(self._event_dims).to(theta.dtype)

    def marginals(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `sigmoid(theta / temperature)`.

        Args:
            theta: (*batch, *event).
            temperature: positive; 0 is the limit `map`.

        Returns:
            The shape of theta, differentiable.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        return torch.sigmoid(at_least_float32(theta) / temperature).to(theta.dtype)

    def log_partition(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the sum of `log(1 + exp(theta / temperature))` over the variables of a decision.

        Args:
            theta: (*batch, *event).
            temperature: positive.

        Returns:
            (*batch,), differentiable.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        terms = -logsigmoid(-at_least_float32(theta) / temperature)
        return terms.sum(self._event_dims).to(theta.dtype)

    def covariance(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `Cov z`, (*batch, *event, *event): as `KSubset.covariance`, diagonal here."""
        self._check(theta)
        return covariance_of(self.marginals, theta, self.event_dim, temperature)

    def rsample(
        self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return `zeta = theta + logistic noise`, of which `harden` is an exact sample.

        Args:
            theta: (*batch, *event).
            num_samples: S.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            (S, *batch, *event), float32 or float64, differentiable in theta.
        """
        self._check(theta)
        check_at_least_one(num_samples, "num_samples")
        shape = (num_samples, *theta.shape)
        noise = Logistic().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return at_least_float32(theta) + noise

    def rsample_given(self, theta: Tensor, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return `zeta` drawn from its law given that `harden(zeta) = z`.

        Args:
            theta: (*batch, *event).
            z: (*samples, *batch, *event), decisions.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            The shape of z, float32 or float64, differentiable in theta.
        """
        self._check(theta)
        check_decisions(z, theta)
        noise = Logistic().draw(z.shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return logistic_given(at_least_float32(theta), z, noise)

    def harden(self, zeta: Tensor) -> Tensor:
        """Return `1[zeta > 0]`, in the shape and dtype of zeta, without a graph."""
        return (zeta.detach() > 0).to(zeta.dtype)

    def relax(self, zeta: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """Return `sigmoid(zeta / temperature)`, which tends to `harden(zeta)` as the temperature falls."""
        return torch.sigmoid(zeta / temperature)

    def support(
        self,
        event_shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return all `2^K` decisions of one event, last variable fastest.

        Args:
            event_shape: `event_dim` sizes, of product K.
            dtype: of the result; None is torch's default.
            device: of the result; None is torch's default.

        Returns:
            (M, *event_shape).

        Raises:
            InvalidInputError: a shape of another rank, or too many decisions to list.
        """
        check_event_shape(event_shape, self.event_dim, self)
        number = math.prod(event_shape)
        check_support_size(2**number, number, self)
        codes = torch.arange(2**number, device=device)[:, None]
        bits = (codes >> torch.arange(number - 1, -1, -1, device=device)) & 1
        return bits.to(dtype or torch.get_default_dtype()).reshape(-1, *event_shape)

    @property
    def _event_dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dim, 0))

    def _check(self, theta: Tensor) -> None:
        check_costs(theta, self.event_dim, None, "theta")
