"""What the toys share: steps on the logits of all runs at once, and the variance of the gradients on the way.

The runs of a method are the rows of one batch, and what an estimator tunes exists once per run, so that no
run sees another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from experiment import Record
from torch import Tensor, nn

from imle_opt import Categorical, Rebar, estimate, expectation
from imle_opt.families import Bernoulli

HIDDEN = 10
"""Units of RELAX's surrogate, one hidden layer."""
TUNING_RATE = 0.01
"""Adam's, for what the estimators tune themselves."""


@dataclass(frozen=True)
class Toy:
    """An expectation over logits.

    Args:
        family: of the decisions; one dimension per decision.
        f: decisions (..., runs, K) to values (..., runs).
        exact: logits (runs, K) to the expectation (runs,), for the curves.
        sign: 1 to minimise, -1 to maximise.
        groups: which runs make one curve, by the name of the curve.
    """

    family: Bernoulli | Categorical
    f: Callable[[Tensor], Tensor]
    exact: Callable[[Tensor], Tensor]
    sign: int
    groups: dict[str, slice]


class Surrogate(nn.Module):
    """A tanh network with one hidden layer for each run: (..., runs, K) to (..., runs)."""

    def __init__(self, runs: int, size: int, seed: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)

        def weights(*shape: int, inputs: int) -> nn.Parameter:
            drawn = torch.rand(*shape, generator=source, dtype=torch.float64)
            return nn.Parameter((2 * drawn - 1) / inputs**0.5)

        self.into = weights(runs, size, HIDDEN, inputs=size)
        self.into_bias = weights(runs, HIDDEN, inputs=size)
        self.out = weights(runs, HIDDEN, inputs=HIDDEN)
        self.out_bias = weights(runs, inputs=HIDDEN)

    def forward(self, zeta: Tensor) -> Tensor:
        """Return the surrogate's value for each run."""
        hidden = torch.einsum("...rk,rkh->...rh", zeta, self.into) + self.into_bias
        return (hidden.tanh() * self.out).sum(-1) + self.out_bias


def rebar_per_run(runs: int) -> Rebar:
    """Return REBAR with an eta and a temperature for each run."""
    made = Rebar()
    made.eta = nn.Parameter(made.eta.detach().double().repeat(runs))
    made.log_temperature = nn.Parameter(made.log_temperature.detach().double().repeat(runs, 1))
    return made


def train(
    toy: Toy,
    estimator: Any,
    start: Tensor,
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    *,
    steps: int,
    every: int,
    replicates: int,
    seed: int,
) -> Record:
    """Follow the gradient, and return the curves: a point every so many steps, and where each run ended."""
    source, probe = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    theta = start.clone().requires_grad_()
    descent = optimizer([theta])
    own = list(estimator.parameters()) if isinstance(estimator, nn.Module) else []
    tuning = torch.optim.Adam(own, lr=TUNING_RATE) if own else None
    points: list[Record] = []
    calls = 0

    def counted(z: Tensor) -> Tensor:
        nonlocal calls
        calls += z.shape[:-2].numel()
        return toy.f(z)

    for step in range(steps + 1):
        if step % every == 0:
            points.append({"step": step, **point(toy, estimator, theta.detach(), replicates, probe)})
        if step == steps:
            break
        descent.zero_grad()
        result = estimate(counted, theta, toy.family, estimator, generator=source)
        (toy.sign * result.value.sum()).backward()
        descent.step()
        if tuning is not None and result.variance_loss is not None:
            tuning.zero_grad()
            result.variance_loss.backward()
            tuning.step()
    last = toy.exact(theta.detach())
    return {
        "curves": {
            name: {what: [shown[what][name] for shown in points] for what in points[0] if what != "step"}
            for name in toy.groups
        },
        "steps": [shown["step"] for shown in points],
        "last": {
            name: [round(value, 6) for value in last[rows].tolist()] for name, rows in toy.groups.items()
        },
        "evaluations": round(calls / steps, 2),
    }


def point(toy: Toy, estimator: Any, theta: Tensor, replicates: int, source: torch.Generator) -> Record:
    """Return means over the runs of each group: of the expectation, of the variance; and one gradient.

    The variance is that of a single gradient estimate, summed over its entries; the gradient shown is the
    last entry of the first run's first replicate.
    """
    gradients = replicated_gradients(toy, estimator, theta, replicates, source)
    variances = gradients.var(0).sum(-1)
    values = toy.exact(theta)
    groups = toy.groups.items()
    return {
        "value": {name: _short(values[rows].mean()) for name, rows in groups},
        "variance": {name: _short(variances[rows].mean()) for name, rows in groups},
        "gradient": {name: _short(gradients[0, rows][0, -1]) for name, rows in groups},
    }


def replicated_gradients(
    toy: Toy, estimator: Any, theta: Tensor, replicates: int, source: torch.Generator
) -> Tensor:
    """Return independent estimates of the gradient at the same logits, (replicates, runs, K)."""
    rows = theta.expand(replicates, *theta.shape).clone().requires_grad_()
    value = expectation(toy.f, rows, toy.family, estimator, generator=source)
    (gradients,) = torch.autograd.grad(value.sum(), rows)
    return gradients


def _short(value: Tensor) -> float:
    return float(f"{value.item():.5g}")
