"""The law that all of this is about: an exponential family over the decisions of a model."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from imle_opt._bridge import flat_instances
from imle_opt._checks import check_at_least_one, check_generator, check_positive
from imle_opt._full_precision import full_precision
from imle_opt._perturbed import NoiseSource, decide_flat, event_sum, theta_of
from imle_opt.families import (
    Enumerable,
    ExactSampler,
    MAPOracle,
    Marginals,
    Polytope,
    Sampler,
    as_family,
    require,
)
from imle_opt.families._checks import check_no_instances
from imle_opt.layers import IMLE, Layer
from imle_opt.noise import Noise, SumOfGamma
from imle_opt.targets import Adaptive
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["ConstrainedExponentialFamily"]

_NAME = "ConstrainedExponentialFamily"
_STEP = 0.1
"""Length of the step of `rsample`, relative to theta."""


@final
class ConstrainedExponentialFamily:
    """The exponential family over the feasible decisions of a model, at given costs.

        p(z; theta) = exp(<z, theta> / temperature - A(theta)),   z in C,   A(theta) = log sum over z in C

    with theta = costs for a maximisation and -costs for a minimisation. What a family knows exactly is exact
    here: `KSubset`, `SpanningTree`, `Categorical` and `Bernoulli` have samples, marginals and normaliser. A
    solver has its mode only; what stands in for samples are perturb-and-MAP decisions,
    `z = MAP(theta + eps)`, whose law is close to p for a well-chosen noise, not p itself. They have methods
    of their own, so that the one is never taken for the other.

    Args:
        costs: (*batch, *event), in the model's own sense; gradients flow back to them where a method says so.
        solver: a solver, or a family of decisions.
        temperature: positive, in the units of theta.
        noise: of the perturb-and-MAP decisions; by default Sum-of-Gamma of this temperature, its kappa
            counted on the optima of the first call.
        instances: per-row data of the solver, each entry (*batch, ...).

    Raises:
        InvalidInputError: costs that are not finite or not of the right shape, or an option out of its range.
        MissingCapabilityError: from a method, where the family does not know it exactly.
        SolveError: from a method, a row without a proven optimum, where the solver's policy is to raise.

    Cost: that of the family for what it knows; one solve per row for the mode, and per row and sample for
    perturb-and-MAP decisions.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Eq. 2 and Section 4.

    To look at a law, to sample from it, and for losses of its marginals or its normaliser. To train through
    decisions, the layers and losses say which gradient they take.
    """

    def __init__(
        self,
        costs: Tensor,
        solver: Solver | MAPOracle,
        *,
        temperature: float = 1.0,
        noise: Noise | None = None,
        instances: Instances | None = None,
    ) -> None:
        check_positive(temperature, "temperature")
        self.family = as_family(solver)
        self.costs = costs
        self.theta = theta_of(costs, self.family)
        self.temperature = temperature
        self._noise = NoiseSource(
            SumOfGamma(kappa="auto", temperature=temperature) if noise is None else noise
        )
        self._instances = instances
        if not isinstance(self.family, Polytope):
            check_no_instances(instances, self.family)
        self._rows = flat_instances(instances, self.batch_shape)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the batch of laws."""
        return tuple(self.theta.shape[: self.theta.ndim - self.family.event_dim])

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one decision."""
        return tuple(self.theta.shape[self.theta.ndim - self.family.event_dim :])

    @property
    def mode(self) -> Tensor:
        """The most probable decision of each row, (*batch, *event), without a graph. One solve per row."""
        return decide_flat(self.family, self.theta.detach(), self._rows)

    def sample(self, num_samples: int = 1, *, generator: torch.Generator | None = None) -> Tensor:
        """Return independent exact samples, (S, *batch, *event), without a graph; where a family has them.

        Args:
            num_samples: S.
            generator: source of randomness, on the device of the costs; None is torch's default.
        """
        sampler = require(self.family, Sampler, f"{_NAME}.sample")  # type: ignore[type-abstract]  # a protocol is asked for by design
        return sampler.sample(self.theta.detach() / self.temperature, num_samples, generator)

    def rsample(
        self,
        num_samples: int = 1,
        *,
        layer: Layer | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return perturb-and-MAP decisions through which gradients flow back to the costs, by a layer's rule.

        Args:
            num_samples: S; the layer's own where one is given.
            layer: any layer of the same solver; by default `IMLE` with this noise, whose steps are a tenth of
                the norm of theta long. To have their length adapted in training, keep an `IMLE` and give it.
            generator: source of randomness, on the device of the costs; None is torch's default.

        Returns:
            (S, *batch, *event).
        """
        if layer is None:
            target = Adaptive(start=_STEP)
            layer = IMLE(self.family, noise=self._noise.noise, target=target, num_samples=num_samples)
        elif num_samples not in (1, layer.num_samples):
            raise InvalidInputError(
                f"`num_samples` is {num_samples}, and the layer's own is {layer.num_samples}: give it once."
            )
        was_training = layer.training
        samples: Tensor = layer.train()(self.costs, instances=self._instances, generator=generator)
        layer.train(was_training)
        return samples

    def marginals(self) -> Tensor:
        """Return `E z`, (*batch, *event), exact and differentiable in the costs; where a family has it."""
        family = require(self.family, Marginals, f"{_NAME}.marginals")  # type: ignore[type-abstract]  # as above
        return family.marginals(self.theta, self.temperature)

    def log_partition(self) -> Tensor:
        """Return A(theta), (*batch,), exact and differentiable in the costs; where a family has it."""
        family = require(self.family, Marginals, f"{_NAME}.log_partition")  # type: ignore[type-abstract]  # as above
        return family.log_partition(self.theta, self.temperature)

    def entropy(self) -> Tensor:
        """Return `A(theta) - <E z, theta> / temperature`, (*batch,), in nats, exact and differentiable."""
        mean = event_sum(self.theta * self.marginals(), self.family.event_dim)
        return self.log_partition() - mean / self.temperature

    def log_prob(self, z: Tensor) -> Tensor:
        """Return `log p(z)` of decisions (*samples, *batch, *event): (*samples, *batch), differentiable."""
        family = require(self.family, ExactSampler, f"{_NAME}.log_prob")  # type: ignore[type-abstract]  # as above
        return family.log_prob(self.theta / self.temperature, z)

    def perturb_and_map(self, num_samples: int = 1, *, generator: torch.Generator | None = None) -> Tensor:
        """Return decisions `MAP(perturb(theta, eps_s))`, (S, *batch, *event), without a graph.

        Independent of each other, and close to samples of p, but of another law: see
        `perturb_and_map_frequencies`. One solve per sample and row.

        Args:
            num_samples: S.
            generator: source of randomness, on the device of the costs; None is torch's default.
        """
        check_at_least_one(num_samples, "num_samples")
        check_generator(generator, self.theta.device)
        theta = self.theta.detach()
        return self._noise.perturbed(self.family, theta, num_samples, self._rows, generator).decide(theta)

    def perturb_and_map_marginals(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean of perturb-and-MAP decisions, and its standard error: (*batch, *event) both.

        Args:
            num_samples: S, at least 2; S solves per row.
            generator: source of randomness, on the device of the costs; None is torch's default.
        """
        if num_samples < 2:
            raise InvalidInputError(
                f"`num_samples` must be at least 2 for a standard error, not {num_samples!r}."
            )
        samples = self.perturb_and_map(num_samples, generator=generator)
        return samples.mean(0), samples.std(0) / num_samples**0.5

    def perturb_and_map_frequencies(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return every decision of the family, and how often perturb-and-MAP takes it: its law, estimated.

        Args:
            num_samples: S; S solves per row.
            generator: source of randomness, on the device of the costs; None is torch's default.

        Returns:
            Decisions (M, *event), and frequencies (*batch, M) that sum to 1, each with a standard error of at
            most `0.5 / sqrt(S)`. To compare with `log_prob` of the decisions.
        """
        family = require(self.family, Enumerable, f"{_NAME}.perturb_and_map_frequencies")  # type: ignore[type-abstract]  # as above
        support = family.support(self.event_shape, dtype=self.theta.dtype, device=self.theta.device)
        samples = self.perturb_and_map(num_samples, generator=generator)
        flat = samples.flatten(samples.ndim - self.family.event_dim)
        # Of 0-1 vectors y is z where <2 z - 1, 2 y - 1> is their length.
        with full_precision(flat):
            agreement = (2 * flat - 1) @ (2 * support.flatten(1) - 1).T
        return support, (agreement > flat.shape[-1] - 1).to(self.theta).mean(0)

    def __repr__(self) -> str:
        return f"{_NAME}({self.family!r}, batch_shape={self.batch_shape}, temperature={self.temperature})"
