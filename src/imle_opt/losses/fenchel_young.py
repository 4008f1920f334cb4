"""Fenchel-Young losses: learning from known decisions under a perturbed or a regularised optimum."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt._attach import attach
from imle_opt._bridge import flat_instances
from imle_opt._checks import (
    check_at_least_one,
    check_generator,
    check_kind,
    check_like,
    check_positive,
)
from imle_opt._perturbed import NoiseSource, event_sum, over_event, theta_of
from imle_opt.families import MAPOracle, as_family, count_undecided
from imle_opt.losses.explicit_mle import negative_log_likelihood
from imle_opt.noise import Noise, Normal
from imle_opt.regularized import Regularizer, check_domain, regularized_maximum
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["FenchelYoung"]


@final
class FenchelYoung(nn.Module):
    """The Fenchel-Young loss of a perturbed or a regularised optimum: convex, its gradient `mean - label`.

        noise        loss(c_hat, y) = (1/S) sum_s max over z [<perturb(theta, eps_s), z> + F(z)] - <theta, y>
                     gradient by theta: (1/S) sum_s MAP(perturb(theta, eps_s)) - y
        regularizer  loss(c_hat, y) = max over mu in conv C [<theta, mu> + E F - Omega(mu)]
                                      + Omega(y) - <theta, y>
                     gradient by theta: mu - y

    with theta = costs for a maximisation and -costs for a minimisation. F is what fixed costs of the model
    add to a decision; F(y) is not subtracted, as y does not show the variables that it is made of. Without
    fixed costs the regularised loss is never negative, and 0 only where mu = y. The perturbed one is so up to
    the convex conjugate of its maximum at y, a constant of each row; it is `ExplicitMLE` with solutions and
    noise, and exact in the mean over the noise. With `Multiplicative` noise its gradient is the mean of
    `factor * MAP`, less y.

    Labels may be means of several decisions, for instance those of neighbouring rows.

    Args:
        solver: a solver, or a family of decisions.
        noise: how theta is perturbed, in the units of theta; `Normal(1.0)` where no regulariser is given.
        regularizer: Omega instead of noise, for example `HalfSquaredNorm(1.0)` for the SparseMAP loss.
        num_samples: S, with noise only.
        tolerance: of the regularised maximum, relative to `1 + max |theta|`.
        max_iterations: solves per row at most, with a regulariser.
        generator: source of randomness, on the device of the costs; None is torch's default.

    Raises:
        InvalidInputError: noise and a regulariser, or an option out of its range; from the call, costs or
            labels that are not finite or not of the right shape.
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.
            Under `on_failure="nan"` such a row has value NaN and gradient 0.

    Cost: S solves per row with noise; with a regulariser 5 to 20, and more where many decisions mix. None
    backward.

    Source: Blondel, Martins and Niculae, Journal of Machine Learning Research 21 (2020), arXiv 1901.02324;
    perturbed: Berthet et al., NeurIPS 2020, arXiv 2002.08676, Section 4; multiplicative noise: Dalle, Baty,
    Bouvier and Parmentier, 2022, arXiv 2207.13513.

    From true costs, `SPOPlus` or `ExplicitMLE(costs=)` say more.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        noise: Noise | None = None,
        *,
        regularizer: Regularizer | None = None,
        num_samples: int = 1,
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(num_samples, "num_samples")
        check_positive(tolerance, "tolerance")
        check_at_least_one(max_iterations, "max_iterations")
        if regularizer is not None:
            check_kind(regularizer, Regularizer, "regularizer", "HalfSquaredNorm(1.0)")
            if noise is not None or num_samples > 1:
                raise InvalidInputError(
                    "`regularizer` takes the place of noise: give no `noise` and no `num_samples` with it."
                )
        self.family = as_family(solver)
        self.regularizer = regularizer
        self.noise = NoiseSource(Normal(1.0) if noise is None else noise)
        self.num_samples = num_samples
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.generator = generator

    def forward(
        self,
        costs_hat: Tensor,
        solutions: Tensor,
        *,
        instances: Instances | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            solutions: y, known decisions or means of some, (*batch, *event); that they are feasible is not
                checked.
            instances: per-row data of the solver, each entry (*batch, ...).
            generator: source of randomness for this call; it comes before the constructor's.

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        theta = theta_of(costs_hat, self.family, "costs_hat")
        check_like(solutions, costs_hat, "solutions", self.family.event_dim)
        label = solutions.detach().to(theta)
        rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - self.family.event_dim]))
        if self.regularizer is not None:
            return self._regularized(theta, label, self.regularizer, rows)
        generator = self.generator if generator is None else generator
        check_generator(generator, theta.device)
        perturbed = self.noise.perturbed(self.family, theta.detach(), self.num_samples, rows, generator)
        return negative_log_likelihood(theta, label, perturbed)

    def _regularized(
        self, theta: Tensor, label: Tensor, regularizer: Regularizer, rows: dict[str, object] | None
    ) -> Tensor:
        event_dim = self.family.event_dim
        check_domain(regularizer, label.flatten(label.ndim - event_dim), "solutions")
        optimum = regularized_maximum(
            theta.detach(),
            self.family,
            regularizer,
            rows,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        at_label = event_sum(regularizer.value(label) - theta.detach() * label, event_dim)
        slope = (optimum.points - label).nan_to_num(nan=0.0)
        return attach(optimum.values + at_label, theta, lambda grad: over_event(grad, event_dim) * slope)

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def extra_repr(self) -> str:
        """Show the family and what smooths its optimum."""
        smooth = f"num_samples={self.num_samples}" if self.regularizer is None else repr(self.regularizer)
        return f"{self.family!r}, {smooth}"
