"""Learn the logits of 5-subsets of 10: I-MLE and straight-through against published figures.

The expected loss `E ||z - b||^2` under `p(z; theta) ∝ exp(<z, theta>)` is minimised by stochastic gradients
from one perturb-and-MAP sample a step, starting from fixed random logits. Its gap to the smallest loss of any
subset is exact, by enumeration of all 252. All runs are rows of one tensor, so a step of all of them is one
call of the layer.

Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Section 6 and Figure 3. The figures
to compare with are means and standard deviations over 100 runs of an independent implementation.

Run it with `python benchmarks/ksubset.py`; it takes a few seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imle_opt import IMLE, PID, Gumbel, KSubset, StraightThrough, SumOfGamma
from imle_opt.layers import Layer

SUBSET = KSubset(5)
STEPS = 50
MOMENTUM = 0.9


@dataclass(frozen=True)
class Experiment:
    """A method with its learning rate, and the published final gap over 100 runs."""

    name: str
    layer: Layer
    learning_rate: float
    reference_mean: float
    reference_deviation: float


EXPERIMENTS = (
    Experiment(
        "I-MLE, PID 2, SoG(5, 1, 10)",
        # The paper's Algorithm 1 does not divide by lambda.
        IMLE(SUBSET, noise=SumOfGamma(kappa=5, terms=10), target=PID(2.0), scale="1"),
        0.75,
        0.181,
        0.188,
    ),
    Experiment("straight-through, Gumbel", StraightThrough(SUBSET, noise=Gumbel()), 0.019, 0.754, 0.110),
)


class Problem:
    """The starting logits, and the loss of every subset."""

    def __init__(self) -> None:
        rng = np.random.RandomState(0)
        self.start = torch.from_numpy(rng.randn(10))
        self.target = torch.from_numpy(np.abs(rng.randn(10)))
        self.subsets = SUBSET.support((10,), dtype=torch.float64)
        self.losses = self.loss(self.subsets)

    def loss(self, decisions: Tensor) -> Tensor:
        """Return `||z - b||^2`: (*, 10) -> (*)."""
        return (decisions - self.target).square().sum(-1)

    def gap(self, theta: Tensor) -> Tensor:
        """Return the expected loss above the best subset's, exactly: (*, 10) -> (*)."""
        return (theta @ self.subsets.T).softmax(-1) @ self.losses - self.losses.min()


def final_gaps(experiment: Experiment, problem: Problem, runs: int, seed: int) -> Tensor:
    theta = problem.start.repeat(runs, 1).requires_grad_()
    optimizer = torch.optim.SGD([theta], lr=experiment.learning_rate, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        optimizer.zero_grad()
        samples = experiment.layer(theta, generator=generator)
        # Summed over the runs, so that each has the gradient of its own loss.
        problem.loss(samples).mean(0).sum().backward()
        optimizer.step()
    return problem.gap(theta.detach())


def main() -> None:
    parser = argparse.ArgumentParser(description="I-MLE and straight-through on 5-subsets of 10.")
    parser.add_argument("--runs", type=int, default=100, help="independent runs, at least 2")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    problem = Problem()
    print(f"minimum {problem.losses.min():.5f}, gap at the start {problem.gap(problem.start):.3f}")
    print(f"{'final gap after 50 steps':<30} {'ours':>15} {'reference':>15}   z of the means")
    for experiment in EXPERIMENTS:
        gaps = final_gaps(experiment, problem, arguments.runs, arguments.seed)
        mean, deviation = gaps.mean().item(), gaps.std().item()
        error = (deviation**2 / arguments.runs + experiment.reference_deviation**2 / 100) ** 0.5
        z = (mean - experiment.reference_mean) / error
        reference = f"{experiment.reference_mean:.3f} +- {experiment.reference_deviation:.3f}"
        print(f"{experiment.name:<30} {f'{mean:.3f} +- {deviation:.3f}':>15} {reference:>15}   {z:+.1f}")
        assert abs(z) < 4, f"{experiment.name}: the mean gap is {z:+.1f} standard errors off the reference"


if __name__ == "__main__":
    main()
