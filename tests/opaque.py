"""Solvers that autograd cannot see through: enumeration of small asymmetric sets, for tests of gradients."""

from __future__ import annotations

import numpy as np
import torch

from imle_opt.noise import AdditiveNoise
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.solution import Sense, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

DECISIONS = np.array(
    [
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 1],
        [0, 0, 1, 1, 0],
        [1, 0, 0, 1, 1],
        [1, 0, 0, 0, 0],
        [0, 1, 0, 1, 0],
        [1, 1, 1, 0, 1],
    ],
    dtype=float,
)
"""Seven of the 32 vectors, with one to four ones."""

SENSES = ("min", "max")


def sign_of(sense):
    return Sense(sense).sign


def opaque(sense="min", decisions=DECISIONS, **options):
    """Return a solver that searches a list of decisions (N, *shape)."""
    decisions = np.asarray(decisions, dtype=float)
    flat = decisions.reshape(len(decisions), -1)

    def search(costs):
        values = sign_of(sense) * costs.reshape(len(costs), -1) @ flat.T
        return decisions[values.argmax(axis=1)]

    return FunctionSolver(search, decisions.shape[1:], sense, batched=True, **options)


def best(theta, decisions=DECISIONS):
    """Return MAP(theta) over a list of decisions, without the library: theta (..., m)."""
    table = torch.as_tensor(decisions, dtype=theta.dtype).reshape(len(decisions), -1)
    return table[(theta @ table.T).argmax(-1)]


class Recorder(Solver):
    """Searches `DECISIONS` and writes down what it was asked.

    `instances`: "allowed" (B, 7), which decisions a row may take; a row that may take none is infeasible.
    """

    def __init__(self, sense="min", cardinality=None, on_failure="raise"):
        traits = Traits(binary=True, cardinality=cardinality, takes_instances=("allowed",))
        super().__init__((5,), Sense(sense), traits, on_failure=on_failure)
        self.calls = []

    def solve_rows(self, costs, instances, deterministic):
        self.calls.append((costs.copy(), instances, deterministic))
        allowed = np.ones((len(costs), len(DECISIONS))) if instances is None else instances["allowed"]
        allowed = np.asarray(allowed, dtype=bool)
        values = np.where(allowed, self.sense.sign * costs @ DECISIONS.T, -np.inf)
        decisions = DECISIONS[values.argmax(axis=1)]
        feasible = allowed.any(axis=1)
        decisions[~feasible] = np.nan
        statuses = tuple(Status.OPTIMAL if fine else Status.INFEASIBLE for fine in feasible)
        return Solution(decisions, (costs * decisions).sum(1), statuses, np.zeros(len(costs)), 0.0)

    @property
    def rows(self):
        return [len(costs) for costs, _, _ in self.calls]


class GivenNoise(AdditiveNoise):
    """Noise that is given: (S, *event), the same for all rows, or (S, *batch, *event)."""

    def __init__(self, drawn):
        self.drawn = drawn

    def draw(self, shape, *, generator=None, dtype, device):
        drawn = self.drawn.to(dtype=dtype, device=device)
        middle = (1,) * (len(shape) - drawn.ndim)
        return drawn.reshape(len(drawn), *middle, *drawn.shape[1:]).expand(tuple(shape)).clone()


def generator(seed=0, device="cpu"):
    return torch.Generator(device).manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def gradient(loss, costs):
    """Return d loss(costs) / d costs."""
    costs = costs.detach().clone().requires_grad_()
    loss(costs).backward()
    return costs.grad
