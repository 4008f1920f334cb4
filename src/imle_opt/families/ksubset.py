"""Subsets of exactly k out of n, with exact samples and marginals by dynamic programming."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from imle_opt._checks import at_least_float32, check_at_least_one, check_costs, check_positive
from imle_opt.families._checks import (
    check_event_dim,
    check_event_shape,
    check_no_instances,
    check_support_size,
)
from imle_opt.families._covariance import covariance_of
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

__all__ = ["KSubset"]


@final
@dataclass(frozen=True)
class KSubset:
    """Vectors of n entries of which exactly k are 1: `C = {z in {0, 1}^n: sum z = k}`; rows independent.

    The law `p(z; theta) ∝ exp(<z, theta>)` on it is the conditional Bernoulli distribution. Its normaliser is
    an elementary symmetric polynomial of exp(theta), computed in logarithms over suffixes of theta:

        A_i[r] = log sum over subsets of r of the entries i..n of exp(their theta)
               = logaddexp(A_{i+1}[r], theta_i + A_{i+1}[r - 1])

    and `P(z_i = 1 | r ones left) = sigmoid(theta_i + A_{i+1}[r - 1] - A_{i+1}[r])` gives samples and
    marginals. Taking the k largest of theta plus Gumbel noise is another law (Plackett-Luce).

    Everything runs on the device of theta.

    Args:
        k: number of ones, 0 <= k <= n.
        event_dim: 1 for one subset per decision, (n,); 2 for R independent subsets per decision, (R, n); and
            so on. It changes no decision, only over which dimensions `log_prob`, `log_partition`,
            `covariance` and `support` work.

    Raises:
        InvalidInputError: `k` is negative or `event_dim` below 1, or (from the methods) `k` above n, or theta
            is unfit.

    Cost: n steps of work k per row for the normaliser, the marginals and all samples together; a selection of
    the k largest for `map`. `support` lists n over k decisions.

    Source: Chen, Dempster and Liu, Biometrika 1994 (the conditional Bernoulli distribution).

    Samples are no function of noise that is differentiable in theta: methods that need one (`Rebar`,
    `GumbelSoftmax`) refuse subsets. Where only optima are needed, `TopK` is the solver.
    """

    k: int
    event_dim: int = 1

    def __post_init__(self) -> None:
        if self.k < 0:
            raise InvalidInputError(f"`k` must not be negative, not {self.k!r}.")
        check_event_dim(self.event_dim)

    @property
    def sign(self) -> float:
        """+1: there is no sense, costs are logits."""
        return 1.0

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the k largest entries as ones; among equals the lower index wins.

        Args:
            theta: (*batch, *event), the n entries last.
            instances: must be None.
            deterministic: makes no difference, the answer depends on nothing but theta.

        Returns:
            (*batch, *event), in the dtype of theta, without a graph.
        """
        check_no_instances(instances, self)
        self._check(theta)
        return _largest(theta.detach(), self.k)

    def sample(self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draw exact samples, entry by entry given the number of ones left.

        Args:
            theta: (*batch, *event), the n entries last.
            num_samples: S.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            (S, *batch, *event), in the dtype of theta, without a graph.
        """
        self._check(theta)
        check_at_least_one(num_samples, "num_samples")
        with torch.no_grad():
            takes = _take_probabilities(at_least_float32(theta), self.k)
            shape = (num_samples, *theta.shape)
            uniform = torch.rand(shape, generator=generator, dtype=takes[0].dtype, device=theta.device)
            left = torch.full((*shape[:-1], 1), self.k, dtype=torch.long, device=theta.device)
            chosen: list[Tensor] = []
            for i, take in enumerate(takes):
                probability = take.expand(*shape[:-1], self.k + 1).gather(-1, left)
                taken = uniform[..., i : i + 1] < probability
                chosen.append(taken)
                left = left - taken.long()
            return torch.cat(chosen, dim=-1).to(theta.dtype)

    def score(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `d log p(z; theta) / d theta = z - E z`.

        Args:
            theta: (*batch, *event), the n entries last.
            z: (*samples, *batch, *event), decisions.

        Returns:
            The shape of z, without a graph.
        """
        with torch.no_grad():
            return z - self.marginals(theta)

    def log_prob(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `log p(z; theta) = <z, theta> - log_partition(theta)`, summed over a decision's subsets.

        Args:
            theta: (*batch, *event), the n entries last.
            z: (*samples, *batch, *event), decisions; that they have k ones is not checked.

        Returns:
            (*samples, *batch), differentiable in theta.
        """
        # In half precision the difference of the two would be lost.
        wide = at_least_float32(theta)
        return ((z * wide).sum(self._event_dims) - self.log_partition(wide)).to(theta.dtype)

    def marginals(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `P(z_i = 1)` under `p(z) ∝ exp(<z, theta> / temperature)`.

        It is `temperature` times the gradient of `log_partition`; its own Jacobian, by autograd, is the
        covariance of z divided by `temperature`.

        Args:
            theta: (*batch, *event), the n entries last.
            temperature: positive; 0 is the limit `map`.

        Returns:
            (*batch, *event), each row summing to k, differentiable in theta.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        takes = _take_probabilities(at_least_float32(theta) / temperature, self.k)
        # left[r] is the probability that r ones are left; it starts as certainty of k.
        left = torch.cat([torch.zeros_like(takes[0][..., 1:]), torch.ones_like(takes[0][..., :1])], dim=-1)
        means: list[Tensor] = []
        for take in takes:
            taken = left * take
            means.append(taken.sum(-1))
            left = left * (1 - take) + pad(taken[..., 1:], (0, 1))
        return torch.stack(means, dim=-1).to(theta.dtype)

    def log_partition(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `log of the sum over decisions z of exp(<z, theta> / temperature)`.

        Args:
            theta: (*batch, *event), the n entries last.
            temperature: positive.

        Returns:
            (*batch,), differentiable in theta any number of times.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        scaled = at_least_float32(theta) / temperature
        centre = scaled.detach().mean(-1, keepdim=True)
        table = _suffix_tables(scaled - centre, self.k)[0]
        logarithms = table[..., self.k :] + self.k * centre
        return logarithms.sum(self._event_dims).to(theta.dtype)

    def covariance(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `Cov(z_i, z_j)` under `p(z) ∝ exp(<z, theta> / temperature)`.

        It is `temperature` times the Jacobian of `marginals`, with all its rows from one backward pass.

        Args:
            theta: (*batch, *event), D entries per decision; D copies of it are made.
            temperature: positive.

        Returns:
            (*batch, *event, *event), differentiable if theta needs a gradient.
        """
        self._check(theta)
        return covariance_of(self.marginals, theta, self.event_dim, temperature)

    def support(
        self,
        event_shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return all `n choose k` decisions, in lexicographic order of their indices.

        For R subsets per decision it is the R-th power of that, the last subset fastest.

        Args:
            event_shape: (n,), (R, n), ...: `event_dim` sizes.
            dtype: of the result; None is torch's default.
            device: of the result; None is torch's default.

        Returns:
            (M, *event_shape).

        Raises:
            InvalidInputError: a shape of another rank, n < k, or too many decisions to list.
        """
        check_event_shape(event_shape, self.event_dim, self)
        *rows, n = event_shape
        self._check_size(n)
        count, number = math.comb(n, self.k), math.prod(rows)
        check_support_size(count**number, number * n, self)
        indices = torch.tensor(list(itertools.combinations(range(n), self.k)), dtype=torch.long)
        subsets = torch.zeros(count, n, dtype=dtype).scatter_(1, indices.reshape(count, self.k), 1.0)
        powers = count ** torch.arange(number - 1, -1, -1)
        chosen = (torch.arange(count**number)[:, None] // powers) % count
        return subsets[chosen].reshape(len(chosen), *event_shape).to(device or torch.get_default_device())

    @property
    def _event_dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dim, 0))

    def _check(self, theta: Tensor) -> None:
        check_costs(theta, self.event_dim, None, "theta")
        self._check_size(theta.shape[-1])

    def _check_size(self, n: int) -> None:
        if n < self.k:
            raise InvalidInputError(
                f"{self!r} needs at least {self.k} entries to choose from, not {n}: the last dimension of "
                "`theta` is n."
            )


def _largest(theta: Tensor, k: int) -> Tensor:
    """Return ones at the k largest entries of each row, the lower index first among equals."""
    if k == 0:
        return torch.zeros_like(theta)
    lowest = theta.topk(k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    chosen = theta >= lowest
    # More than k: equals straddle the edge. Sorting all rows would cost three times as much.
    if int(chosen.sum()) != k * chosen[..., 0].numel():
        above = theta > lowest
        tied = chosen & ~above
        chosen = above | (tied & (tied.cumsum(-1) <= k - above.sum(-1, keepdim=True)))
    return chosen.to(theta.dtype)


def _suffix_tables(theta: Tensor, k: int) -> list[Tensor]:
    """Return A_1, ..., A_{n+1}: A_i is (*batch, min(n - i + 1, k) + 1), as in the docstring of `KSubset`.

    The tables grow with the suffix: padding them with large negative numbers would spoil derivatives.
    """
    # Zeros that depend on theta, so that k = 0 has a gradient (of zeros) too.
    table = theta.sum(-1, keepdim=True) * 0.0
    tables = [table]
    for i in reversed(range(theta.shape[-1])):
        taken = table + theta[..., i : i + 1]
        # logaddexp(a, b) = a - logsigmoid(a - b). The second derivative of torch.logaddexp is NaN where a and
        # b are 90 apart in float32.
        grown = table[..., 1:] - logsigmoid(table[..., 1:] - taken[..., :-1])
        parts = [table[..., :1], grown]
        if table.shape[-1] <= k:
            parts.append(taken[..., -1:])
        table = torch.cat(parts, dim=-1)
        tables.append(table)
    tables.reverse()
    return tables


def _take_probabilities(theta: Tensor, k: int) -> list[Tensor]:
    """Return, for each entry, the probability to be taken given that 0..k ones are left: (*batch, k + 1).

    With no ones left it is 0; with as many ones as entries left (or more, which does not occur) it is 1.
    """
    theta = theta - theta.detach().mean(-1, keepdim=True)
    takes: list[Tensor] = []
    for i, table in enumerate(_suffix_tables(theta, k)[1:]):
        logits = theta[..., i : i + 1] + table[..., :-1] - table[..., 1:]
        never = table[..., :1] * 0.0
        always = torch.ones_like(never).expand(*never.shape[:-1], k + 1 - table.shape[-1])
        takes.append(torch.cat([never, torch.sigmoid(logits), always], dim=-1))
    return takes
