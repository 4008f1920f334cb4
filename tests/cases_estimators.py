"""Every estimator of an expectation on every family it works with: one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from imle_opt.estimators import (
    AR,
    ARM,
    ARS,
    ARSM,
    DisARM,
    Enumerate,
    MovingAverage,
    Rebar,
    Reinforce,
    Relax,
)
from imle_opt.expectations import expectation
from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree
from opaque import generator, gradient

# The largest of 300 independent normal variables is above it with probability 2e-3; seeds are fixed.
LARGEST_Z = 4.5
REPLICATES = 20_000


class Surrogate(torch.nn.Module):
    """A fixed nonlinear function of zeta, with parameters: far from f on purpose."""

    def __init__(self, event):
        super().__init__()
        self.event_dim = len(event)
        weights = torch.linspace(-1, 1, torch.Size(event).numel(), dtype=torch.float64)
        self.weights = torch.nn.Parameter(weights.reshape(event))

    def forward(self, zeta):
        dims = tuple(range(-self.event_dim, 0))
        return torch.tanh((self.weights.to(zeta.dtype) * zeta).sum(dims)) + 0.3


class Mean(torch.nn.Module):
    """A baseline network: a function of theta."""

    def __init__(self, event):
        super().__init__()
        self.event_dim = len(event)
        self.scale = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))

    def forward(self, theta):
        return torch.sin(self.scale.to(theta.dtype) * theta.sum(tuple(range(-self.event_dim, 0)))) + 0.5


class Constant(torch.nn.Module):
    """A surrogate, and with one dimension less a baseline, that is a constant."""

    def __init__(self, value, event_dim):
        super().__init__()
        self.value, self.event_dim = value, event_dim

    def forward(self, tensor):
        return torch.full(tensor.shape[: tensor.ndim - self.event_dim], self.value, dtype=tensor.dtype)


@dataclass(frozen=True)
class EstimatorCase:
    """`make(event)` builds it; `evaluations` of f per row, or the most, `samples` of which are exact."""

    name: str
    make: Callable
    evaluations: int
    samples: int
    families: tuple[str, ...]
    differentiates: bool = False


FAMILIES = {
    "3-bits": (Bernoulli(), (3,)),
    "4-classes": (Categorical(), (4,)),
    "2x3-classes": (Categorical(event_dim=2), (2, 3)),
    "2-of-4": (KSubset(2), (4,)),
    "tree-4": (SpanningTree(4), (6,)),
}
BITS, CLASSES = ("3-bits",), ("4-classes", "2x3-classes")
EVERY = tuple(FAMILIES)

CASES = (
    EstimatorCase("reinforce", lambda event: Reinforce(2, "none"), 2, 2, EVERY),
    EstimatorCase("leave-one-out", lambda event: Reinforce(3), 3, 3, EVERY),
    EstimatorCase("moving-average", lambda event: Reinforce(1, MovingAverage(0.9)), 1, 1, EVERY),
    EstimatorCase("network", lambda event: Reinforce(2, Mean(event)), 2, 2, EVERY),
    EstimatorCase("rebar", lambda event: Rebar(2, eta=0.7), 6, 2, BITS + CLASSES, True),
    EstimatorCase("relax", lambda event: Relax(Surrogate(event), 2), 2, 2, BITS + CLASSES),
    EstimatorCase(
        "relax-and-relaxation",
        lambda event: Relax(Surrogate(event), with_relaxation=True),
        3,
        1,
        BITS + CLASSES,
        True,
    ),
    EstimatorCase("ar", lambda event: AR(2), 2, 2, BITS + CLASSES),
    EstimatorCase("arm", lambda event: ARM(2), 4, 4, BITS),
    EstimatorCase("disarm", lambda event: DisARM(2), 4, 4, BITS),
    EstimatorCase("ars", lambda event: ARS(), 4, 1, CLASSES),
    EstimatorCase("ars-pivot", lambda event: ARS(2, pivot=1), 8, 2, CLASSES),
    EstimatorCase("arsm", lambda event: ARSM(2), 14, 2, CLASSES),
    EstimatorCase("enumerate", lambda event: Enumerate(), 16, 16, EVERY),
)

ROWS = [(case, name) for case in CASES for name in case.families]
IDS = [f"{case.name}-{name}" for case, name in ROWS]


def smooth(event):
    """Return an f without symmetry, nonlinear, that mixes all entries and can be differentiated anywhere."""
    size = torch.Size(event).numel()
    weights = torch.linspace(-1.1, 1.7, size, dtype=torch.float64).reshape(event)
    dims = tuple(range(-len(event), 0))

    def f(z):
        total = (weights.to(z) * z).sum(dims)
        return torch.sin(1.3 * total + 0.4) + 0.5 * total.square() + 0.2

    return f


def theta_of(event, *batch, dtype=torch.float64, scale=1.0):
    source = torch.Generator().manual_seed(37)  # of either sign among the first three, and far from 0
    return (scale * torch.randn(*batch, *event, generator=source, dtype=torch.float64)).to(dtype)


def exact_gradient(f, theta, family):
    return gradient(lambda t: expectation(f, t, family, Enumerate()), theta)


def rows(event, number=40):
    return theta_of(event, number, scale=1.5)


def gradients_of(estimator, f, theta, family, seed=3):
    return gradient(lambda t: expectation(f, t, family, estimator, generator=generator(seed)).sum(), theta)
