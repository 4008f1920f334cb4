"""The score-function estimator (REINFORCE), with baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_at_least_one
from imle_opt._perturbed import over_event
from imle_opt.estimators.baselines import MovingAverage
from imle_opt.estimators.estimator import (
    Estimate,
    Values,
    attached,
    evaluate,
    needs_gradient,
    refuse_instances,
    without_gradient,
)
from imle_opt.families import ExactSampler, MAPOracle, Sampler, require
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["Reinforce", "leave_one_out_gradient", "score_function_gradient"]

_BASELINES = ("none", "leave-one-out")


def score_function_gradient(
    values: Tensor, baseline: Tensor | float, score: Tensor, event_dim: int
) -> Tensor:
    """Return `(1/S) sum_s (f(z_s) - beta_s) score(z_s)`, (*batch, *event).

    Args:
        values: f, (S, *batch).
        baseline: beta, broadcasts against `values`; independent of the samples that it is subtracted from.
        score: `d log p(z_s) / d theta`, (S, *batch, *event).
        event_dim: how many of the last dimensions belong to one decision.
    """
    return (over_event(values - baseline, event_dim) * score).mean(0)


def leave_one_out_gradient(values: Tensor, samples: Tensor, event_dim: int) -> Tensor:
    """Return `(1/(S-1)) sum_s (f(z_s) - mean f) z_s`, (*batch, *event).

    It is the score-function gradient with the mean of the other S - 1 values as each sample's baseline. The
    weights sum to zero, so that the mean of z cancels from the score: samples suffice.

    Args:
        values: f, (S, *batch), S at least 2.
        samples: (S, *batch, *event), from a law proportional to `exp(<z, theta>)`.
        event_dim: how many of the last dimensions belong to one decision.
    """
    centred = values - values.mean(0)
    return (over_event(centred, event_dim) * samples).sum(0) / (len(values) - 1)


@final
class Reinforce(nn.Module):
    """Exact samples, weighted by how much better than a baseline they are; unbiased.

        d theta = (1/S) sum_s (f(z_s) - beta_s) d log p(z_s; theta)

    Args:
        num_samples: S; at least 2 for leave-one-out.
        baseline: beta.
            `"leave-one-out"`: the mean of the other samples' values. Its gradient
            `(1/(S-1)) sum_s (f(z_s) - mean f) z_s` needs no marginals: any family with an exact sampler will
            do.
            `"none"`: zero.
            `MovingAverage()`: the mean of past values.
            An nn.Module: a network from theta (*batch, *event), without its graph, to one value per row
            (*batch,). `estimate(...).variance_loss`, its mean squared error, trains it.

    Raises:
        InvalidInputError: an option out of its range; from the call, a network of another shape.
        MissingCapabilityError: from the call, a family without an exact sampler (or score, for other
            baselines than leave-one-out). Perturb-and-MAP samples are not exact, and would make it biased.

    Cost: S evaluations of f, S samples. f is a black box: no gradient of it is used.

    Source: Williams, Machine Learning 8, 1992; leave-one-out: Kool, van Hoof and Welling, 2019, "Buy 4
    REINFORCE samples, get a baseline for free"; a network: Mnih and Gregor, ICML 2014, arXiv 1402.0030.

    The first choice for any family with exact samples. For zeros and ones `DisARM` has a lower variance at
    the same cost; `ARSM` (few classes) and `Rebar` (f that can be differentiated) are worth a comparison.
    """

    def __init__(
        self,
        num_samples: int = 4,
        baseline: Literal["none", "leave-one-out"] | nn.Module = "leave-one-out",
    ) -> None:
        super().__init__()
        check_at_least_one(num_samples, "num_samples")
        if not isinstance(baseline, nn.Module) and baseline not in _BASELINES:
            raise InvalidInputError(
                f"`baseline` must be one of {', '.join(map(repr, _BASELINES))}, `MovingAverage()` or a "
                f"network, not {baseline!r}."
            )
        if baseline == "leave-one-out" and num_samples < 2:
            raise InvalidInputError(
                "`baseline='leave-one-out'` needs `num_samples` of at least 2: one sample has no others. Use "
                "more samples or another baseline."
            )
        self.num_samples = num_samples
        self.baseline = baseline

    def forward(
        self,
        f: Values,
        theta: Tensor,
        family: MAPOracle,
        *,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> Estimate:
        """Return the estimate, as `Estimator` says."""
        refuse_instances(instances, "Reinforce")
        sampler = require(family, Sampler, "Reinforce")  # type: ignore[type-abstract]  # a protocol is asked for by design
        if not needs_gradient(theta):
            return without_gradient(f, theta, sampler, self.num_samples, generator)
        if self.baseline == "leave-one-out":
            samples = sampler.sample(theta.detach(), self.num_samples, generator)
            values = evaluate(f, samples, family.event_dim)
            gradient = leave_one_out_gradient(values.detach().to(theta.dtype), samples, family.event_dim)
            return Estimate(attached(values, theta, gradient, family.event_dim))
        name = "Reinforce without the leave-one-out baseline"
        scored = require(family, ExactSampler, name)  # type: ignore[type-abstract]  # as above
        samples = scored.sample(theta.detach(), self.num_samples, generator)
        values = evaluate(f, samples, family.event_dim)
        seen = values.detach().to(theta.dtype)
        baseline, loss = self._baseline(seen, theta.detach())
        score = scored.score(theta.detach(), samples)
        gradient = score_function_gradient(seen, baseline, score, family.event_dim)
        return Estimate(attached(values, theta, gradient, family.event_dim), loss)

    def _baseline(self, values: Tensor, theta: Tensor) -> tuple[Tensor | float, Tensor | None]:
        """Return beta without a graph, and the loss that trains it, or None where nothing can be trained."""
        if isinstance(self.baseline, MovingAverage):
            return self.baseline(values), None
        if not isinstance(self.baseline, nn.Module):
            return 0.0, None
        predicted: Tensor = self.baseline(theta)
        if predicted.shape != values.shape[1:]:
            raise InvalidInputError(
                f"`baseline` must return one value per row, {tuple(values.shape[1:])}, for theta of shape "
                f"{tuple(theta.shape)}; it returned {tuple(predicted.shape)}."
            )
        predicted = predicted.to(values.dtype)
        loss = (values - predicted).square().mean()
        return predicted.detach(), loss if loss.requires_grad else None

    def extra_repr(self) -> str:
        """Show the number of samples and a baseline that is not a module."""
        shown = "" if isinstance(self.baseline, nn.Module) else f", baseline={self.baseline!r}"
        return f"num_samples={self.num_samples}{shown}"
