"""One-hot choices: independent categorical variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt._checks import at_least_float32, check_at_least_one, check_costs, check_positive
from imle_opt.families._checks import (
    check_decisions,
    check_event_dim,
    check_event_shape,
    check_no_instances,
    check_support_size,
)
from imle_opt.families._covariance import covariance_of
from imle_opt.families.conditional import gumbel_given
from imle_opt.noise import Gumbel
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

__all__ = ["Categorical"]


@final
@dataclass(frozen=True)
class Categorical:
    """One-hot vectors along the last dimension: `p(z = e_c; theta) = softmax(theta)_c`, rows independent.

    Reparameterised by Gumbel noise G: `zeta = log softmax(theta) + G`, z the largest entry of zeta.

    Args:
        event_dim: 1 for one variable with C classes per decision, (C,); 2 for K independent variables per
            decision, (K, C); and so on. It changes no decision, only over which dimensions `log_prob`,
            `log_partition` and `support` work.

    Raises:
        InvalidInputError: `event_dim` below 1, or (from the methods) an unfit theta.

    Cost: O(K C) per row, all in closed form, but O((K C)^2) for `covariance`; `support` lists C^K decisions.

    Source: of the reparameterisation, Gumbel's trick: Maddison, Tarlow and Minka, NeurIPS 2014, arXiv
    1411.0030.

    All variables have the same number of classes: pad the logits of the others with large negative numbers.
    For choices among which a solver decides, give the solver.
    """

    event_dim: int = 1

    def __post_init__(self) -> None:
        check_event_dim(self.event_dim)

    @property
    def sign(self) -> float:
        """+1: there is no sense, costs are logits."""
        return 1.0

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the largest entry of each row as a one; among equals the lower index wins.

        Args:
            theta: (*batch, *event), classes last.
            instances: must be None.
            deterministic: makes no difference, the answer depends on nothing but theta.

        Returns:
            The shape and dtype of theta, without a graph.
        """
        check_no_instances(instances, self)
        self._check(theta)
        return _one_hot_argmax(theta.detach())

    def sample(self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draw exact samples: the argmax of theta plus Gumbel noise.

        Args:
            theta: (*batch, *event), classes last.
            num_samples: S.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            (S, *batch, *event), in the dtype of theta, without a graph.
        """
        self._check(theta)
        check_at_least_one(num_samples, "num_samples")
        shape = (num_samples, *theta.shape)
        noise = Gumbel().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return _one_hot_argmax(theta.detach() + noise).to(theta.dtype)

    def score(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `d log p(z; theta) / d theta = z - softmax(theta)`.

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
            z: (*samples, *batch, *event), decisions; that they are one-hot is not checked.

        Returns:
            (*samples, *batch), differentiable in theta.
        """
        self._check(theta)
        log_probabilities = torch.log_softmax(at_least_float32(theta), dim=-1)
        return (z * log_probabilities).sum(self._event_dims).to(theta.dtype)

    def marginals(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `softmax(theta / temperature)` over the classes.

        Args:
            theta: (*batch, *event).
            temperature: positive; 0 is the limit `map`.

        Returns:
            The shape of theta, differentiable.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        return torch.softmax(at_least_float32(theta) / temperature, dim=-1).to(theta.dtype)

    def log_partition(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `logsumexp(theta / temperature)` over the classes, summed over the variables of a decision.

        Args:
            theta: (*batch, *event).
            temperature: positive.

        Returns:
            (*batch,), differentiable.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        sums = torch.logsumexp(at_least_float32(theta) / temperature, dim=-1, keepdim=True)
        return sums.sum(self._event_dims).to(theta.dtype)

    def covariance(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `Cov z`, (*batch, *event, *event): as `KSubset.covariance`."""
        self._check(theta)
        return covariance_of(self.marginals, theta, self.event_dim, temperature)

    def rsample(
        self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return `zeta = log softmax(theta) + Gumbel noise`, of which `harden` is an exact sample.

        Args:
            theta: (*batch, *event), classes last.
            num_samples: S.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            (S, *batch, *event), float32 or float64, differentiable in theta.
        """
        self._check(theta)
        check_at_least_one(num_samples, "num_samples")
        shape = (num_samples, *theta.shape)
        noise = Gumbel().draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return torch.log_softmax(at_least_float32(theta), dim=-1) + noise

    def rsample_given(self, theta: Tensor, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return `zeta` drawn from its law given that `harden(zeta) = z`.

        Args:
            theta: (*batch, *event), classes last.
            z: (*samples, *batch, *event), decisions.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            The shape of z, float32 or float64, differentiable in theta.
        """
        self._check(theta)
        check_decisions(z, theta)
        noise = Gumbel().draw(z.shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return gumbel_given(torch.log_softmax(at_least_float32(theta), dim=-1), z, noise)

    def harden(self, zeta: Tensor) -> Tensor:
        """Return the largest entry of each row as a one, in the shape and dtype of zeta, without a graph."""
        return _one_hot_argmax(zeta.detach())

    def relax(self, zeta: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """Return `softmax(zeta / temperature)`, which tends to `harden(zeta)` as the temperature falls."""
        return torch.softmax(zeta / temperature, dim=-1)

    def support(
        self,
        event_shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return all decisions of one event: C of them, or C^K for K variables, last variable fastest.

        Args:
            event_shape: (C,), (K, C), ...: `event_dim` sizes.
            dtype: of the result; None is torch's default.
            device: of the result; None is torch's default.

        Returns:
            (M, *event_shape).

        Raises:
            InvalidInputError: a shape of another rank, or too many decisions to list.
        """
        *variables, classes = event_shape
        check_event_shape(event_shape, self.event_dim, self)
        number = math.prod(variables)
        check_support_size(classes**number, number * classes, self)
        digits = torch.arange(classes**number, device=device)[:, None]
        powers = classes ** torch.arange(number - 1, -1, -1, device=device)
        choices = (digits // powers) % classes
        one_hot = torch.nn.functional.one_hot(choices, classes)
        return one_hot.to(dtype or torch.get_default_dtype()).reshape(-1, *event_shape)

    @property
    def _event_dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dim, 0))

    def _check(self, theta: Tensor) -> None:
        check_costs(theta, self.event_dim, None, "theta")
        if theta.shape[-1] == 0:
            raise InvalidInputError("`theta` must have at least one class in its last dimension.")


def _one_hot_argmax(theta: Tensor) -> Tensor:
    return torch.zeros_like(theta).scatter_(-1, theta.argmax(dim=-1, keepdim=True), 1.0)
