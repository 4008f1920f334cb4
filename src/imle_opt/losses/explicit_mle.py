"""Maximum likelihood of a perturb-and-MAP model, from known solutions or known costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from imle_opt._bridge import flat_instances
from imle_opt._checks import check_at_least_one, check_generator, check_like
from imle_opt._perturbed import NoiseSource, PerturbedMAP, event_sum, has_nan, theta_of
from imle_opt.families import MAPOracle, Polytope, as_family, count_undecided
from imle_opt.noise import Noise, NoNoise
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["ExplicitMLE", "SolvedTarget"]


class SolvedTarget(NamedTuple):
    """What `ExplicitMLE` learns from where costs are known: it does not depend on the network.

    Args:
        drawn: eps, (S, *batch, *event), which the predicted costs are perturbed with, too.
        decision: t, (*batch, *event).
        fixed: F_t, (*batch,).
        undecided: () how many of the solves gave no decision.
    """

    drawn: Tensor
    decision: Tensor
    fixed: Tensor
    undecided: Tensor


@final
class ExplicitMLE(nn.Module):
    """Negative log-likelihood of known decisions, or of the law of known costs, under predicted costs.

        loss(costs_hat, solutions=y) = (1/S) sum_s [<perturb(theta, eps_s), z_s> + F(z_s)] - <theta, y>
        loss(costs_hat, costs=c)     = (1/S) sum_s [<perturb(theta, eps_s), z_s> + F(z_s)] - <theta, t> - F_t

        z_s = MAP(perturb(theta, eps_s)),   z'_s = MAP(perturb(theta_c, eps_s))
        t = (1/S) sum_s z'_s,               F_t = (1/S) sum_s F(z'_s)

    with theta = costs for a maximisation and -costs for a minimisation, and one draw eps_s for both solves.
    F(z) is what the costs that are not predicted add to the model's maximum: fixed costs of other variables,
    and its constant; 0 where there are none. The first term estimates temperature times the log-partition
    function of the perturb-and-MAP model (up to the temperature times a constant of the noise), so the value
    is temperature times the negative log-likelihood, convex in theta, and can be monitored. It is not 0 at
    its minimum, except without noise.
    For Gumbel noise and one-hot decisions its mean is
    `temperature (logsumexp(theta / temperature) + 0.5772...) - <theta, y>`.

    The gradient by theta is `(1/S) sum_s z_s - y`, or `- t`: the maximum-likelihood gradient with marginals
    replaced by samples. The names of the paper:

    | noise | label     | rule                                                                |
    |-------|-----------|---------------------------------------------------------------------|
    | none  | solutions | M-M, the structured perceptron                                      |
    | some  | solutions | mu-M, a Fenchel-Young loss                                          |
    | some  | costs     | mu-mu, against the perturb-and-MAP law of the true costs            |
    | none  | costs     | M-M on the optima of the true costs, solved anew each time          |

    From solutions, F(y) is not subtracted, as y does not show the variables that it is made of: the value is
    then the negative log-likelihood up to a constant of each row, and may be negative. From costs,
    it is exact. A function given as a solver tells decisions alone: F is 0, and what it adds is missing.

    With `Multiplicative` noise the perturbed theta is `theta * factor`; the gradient is
    `(1/S) sum_s factor_s z_s - y`, and t is the mean of `factor_s z'_s`, so that true costs are a minimum.

    **Use noise when learning from solutions** where the network can make all costs zero (softplus, ReLU): the
    perceptron has no margin, a cost vector of zeros satisfies it (its loss is 0 and any decision is optimal),
    and training drifts there. With noise, costs must stand out from it. With known costs, noise helps too:
    the published results on shortest paths are its best ones.

    Args:
        solver: a solver, or a family of decisions.
        noise: how theta is perturbed, in the units of theta; none by default.
        num_samples: S. Without noise all samples are the same.
        generator: source of randomness, on the device of the costs; None is torch's default.

    Raises:
        InvalidInputError: an option out of its range; from the call, both labels or none, or costs or labels
            that are not finite or not of the right shape.
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.
            Under `on_failure="nan"` such a row has value NaN and gradient 0.

    Cost: S solves per row for solutions (one without noise), 2 S for costs; none backward.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Sections 3 and 5.3 and Facts 1
    and 2; with noise and solutions: Berthet et al., NeurIPS 2020, arXiv 2002.08676; multiplicative noise:
    Dalle et al., 2022, arXiv 2207.13513.

    It is differentiable by theta through the perturbed theta alone: the decisions are maximisers, and by
    Danskin's theorem their own change does not count.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        noise: Noise | None = None,
        *,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(num_samples, "num_samples")
        self.family = as_family(solver)
        self.noise = NoiseSource(NoNoise() if noise is None else noise)
        self.num_samples = num_samples
        self.generator = generator

    def forward(
        self,
        costs_hat: Tensor,
        *,
        solutions: Tensor | None = None,
        costs: Tensor | None = None,
        target: SolvedTarget | None = None,
        instances: Instances | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            solutions: y, known decisions, (*batch, *event); that they are feasible is not checked.
            costs: c, known costs, (*batch, *event), in the model's own sense.
            target: known costs that were solved before, as `PrefetchedTargets` yields them; the noise is that
                of the target. Exactly one of the three.
            instances: per-row data of the solver, each entry (*batch, ...).
            generator: source of randomness for this call; it comes before the constructor's.

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        theta = theta_of(costs_hat, self.family, "costs_hat")
        label, name = _one_label(solutions, costs, None if target is None else target.decision)
        if target is None:
            check_like(label, costs_hat, name, self.family.event_dim)
        rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - self.family.event_dim]))
        if target is not None:
            _check_target(target, theta)
            perturbed = self.noise.given(self.family, theta.detach(), target.drawn, rows)
            value = negative_log_likelihood(theta, target.decision.to(theta), perturbed)
            return value - target.fixed.to(theta)
        generator = self.generator if generator is None else generator
        check_generator(generator, theta.device)
        perturbed = self.noise.perturbed(self.family, theta.detach(), self.num_samples, rows, generator)
        if name == "solutions":
            return negative_log_likelihood(theta, label.to(theta), perturbed)
        decision, fixed = mean_decision(theta_of(label, self.family).to(theta), perturbed)
        return negative_log_likelihood(theta, decision, perturbed) - fixed

    def prepare(
        self,
        costs: Tensor,
        *,
        instances: Instances | None = None,
        generator: torch.Generator | None = None,
    ) -> Callable[[], SolvedTarget]:
        """Draw the noise of a batch of known costs, and return a function that solves its target.

        The function may run in any thread, while the network computes; `PrefetchedTargets` does that.

        Args:
            costs: c, known costs, (*batch, *event), in the model's own sense.
            instances: per-row data of the solver, each entry (*batch, ...).
            generator: source of randomness for this call, on the device of the costs.
        """
        theta = theta_of(costs, self.family).detach()
        rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - self.family.event_dim]))
        generator = self.generator if generator is None else generator
        check_generator(generator, theta.device)
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, rows, generator)
        return partial(_solved_target, theta, perturbed)

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def extra_repr(self) -> str:
        """Show the family and the number of samples."""
        return f"{self.family!r}, num_samples={self.num_samples}"


def negative_log_likelihood(theta: Tensor, label: Tensor, perturbed: PerturbedMAP) -> Tensor:
    """Return `(1/S) sum_s [<perturb(theta, eps_s), z_s> + F(z_s)] - <theta, label>`, differentiable in theta.

    Args:
        theta: (*batch, *event), always maximised.
        label: y or t, (*batch, *event).
        perturbed: MAP under one draw of noise.

    Returns:
        (*batch,); NaN, with gradient 0, where a solve gave no decision.
    """
    event_dim = perturbed.family.event_dim
    samples, fixed = perturbed.decide_with_fixed(theta.detach())
    failed = has_nan(samples, event_dim).any(0) | has_nan(label, event_dim)
    values = perturbed.noise.perturb(theta, perturbed.drawn) * samples.nan_to_num(nan=0.0)
    maximum = (event_sum(values, event_dim) + fixed).mean(0)
    value = maximum - event_sum(theta * label.nan_to_num(nan=0.0), event_dim)
    return torch.where(failed, torch.nan, value)


def mean_decision(theta: Tensor, perturbed: PerturbedMAP) -> tuple[Tensor, Tensor]:
    """Return the gradient by theta of `(1/S) sum_s max over z of <perturb(theta, eps_s), z> + F(z)`, and F_t.

    For additive noise the gradient is the mean of the perturbed decisions.

    Args:
        theta: (*batch, *event), always maximised.
        perturbed: MAP under one draw of noise.

    Returns:
        t, (*batch, *event), and F_t, (*batch,), the mean of F over the decisions; NaN where a solve gave no
        decision.
    """
    samples, fixed = perturbed.decide_with_fixed(theta)
    with torch.enable_grad():
        point = theta.detach().requires_grad_()
        total = (perturbed.noise.perturb(point, perturbed.drawn) * samples).sum() / len(samples)
        (gradient,) = torch.autograd.grad(total, point)
    return gradient, fixed.mean(0)


def _solved_target(theta: Tensor, perturbed: PerturbedMAP) -> SolvedTarget:
    # A family of its own: its counts are not those of the steps that run meanwhile.
    family = perturbed.family
    own = Polytope(family.solver) if isinstance(family, Polytope) else family
    decision, fixed = mean_decision(theta, replace(perturbed, family=own))
    undecided = own.undecided if isinstance(own, Polytope) else 0
    return SolvedTarget(perturbed.drawn, decision, fixed, torch.tensor(undecided))


def _one_label(solutions: Tensor | None, costs: Tensor | None, target: Tensor | None) -> tuple[Tensor, str]:
    labels = {"solutions": solutions, "costs": costs, "target": target}
    given = [(label, name) for name, label in labels.items() if label is not None]
    if len(given) == 1:
        return given[0]
    several = " and ".join(f"`{name}`" for _, name in given) or "none"
    raise InvalidInputError(
        f"ExplicitMLE learns from `solutions`, from `costs` or from a `target`; {several} were given. Give "
        "exactly one."
    )


def _check_target(target: SolvedTarget, theta: Tensor) -> None:
    if target.decision.shape != theta.shape or target.drawn.shape[1:] != theta.shape:
        raise InvalidInputError(
            f"`target` belongs to costs of shape {tuple(target.decision.shape)}, not of "
            f"{tuple(theta.shape)}, the shape of `costs_hat`: it must be that of the same batch."
        )
