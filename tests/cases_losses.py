"""Every loss on one small model: one row each, and how each is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from imle_opt.families import SolutionPool
from imle_opt.losses import (
    CMAP,
    NCE,
    CaVE,
    DirectionalGradient,
    ExplicitMLE,
    FenchelYoung,
    HammingLoss,
    ListwiseRanking,
    PairwiseRanking,
    PointwiseRanking,
    RegretLoss,
    SPOPlus,
    StructuredHinge,
)
from imle_opt.noise import Gumbel, Normal
from imle_opt.regularized import BinaryEntropy, HalfSquaredNorm
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.reference import enumerate_linear_model
from linear_models import knapsack
from opaque import best, generator, normal

MODEL = knapsack()
SIZE = 6
FEASIBLE = torch.as_tensor(enumerate_linear_model(MODEL).decisions)
"""All decisions of the model, which maximises."""


@dataclass(frozen=True)
class LossCase:
    """`make(solver)` builds it.

    Args:
        name: of the test.
        make: from a solver to the loss.
        label: what it learns from, "costs" or "solutions".
        of: what it is a loss of, "costs" or "decisions".
        draws: whether it takes a generator.
        on_pool: whether it compares with a pool of decisions.
        instances: whether rows may have regions of their own.
    """

    name: str
    make: Callable
    label: str
    of: str = "costs"
    draws: bool = False
    on_pool: bool = False
    instances: bool = True


def pooled(name, loss, label):
    """Return the case of a loss on a pool: of all decisions and never solved, unless asked for another."""

    def make(solver, solutions=FEASIBLE, solve_ratio=0.0):
        return loss(SolutionPool(solver, solutions=solutions, solve_ratio=solve_ratio))

    return LossCase(name, make, label, on_pool=True, instances=False)


CASES = (
    LossCase("ExplicitMLE-solutions", lambda solver: ExplicitMLE(solver, Gumbel()), "solutions", draws=True),
    LossCase(
        "ExplicitMLE-costs",
        lambda solver: ExplicitMLE(solver, Gumbel(), num_samples=2),
        "costs",
        draws=True,
    ),
    LossCase(
        "FenchelYoung",
        lambda solver: FenchelYoung(solver, Normal(1.0), num_samples=2),
        "solutions",
        draws=True,
    ),
    LossCase(
        "FenchelYoung-norm", lambda solver: FenchelYoung(solver, regularizer=HalfSquaredNorm()), "solutions"
    ),
    LossCase(
        "FenchelYoung-entropy",
        lambda solver: FenchelYoung(solver, regularizer=BinaryEntropy(2.0)),
        "solutions",
    ),
    LossCase("SPOPlus", SPOPlus, "costs"),
    LossCase("StructuredHinge", StructuredHinge, "solutions"),
    LossCase("DirectionalGradient", lambda solver: DirectionalGradient(solver, 0.4), "costs"),
    LossCase("CaVE", CaVE, "solutions"),
    pooled("NCE", NCE, "solutions"),
    pooled("CMAP", CMAP, "solutions"),
    pooled("PointwiseRanking", PointwiseRanking, "costs"),
    pooled("PairwiseRanking", PairwiseRanking, "costs"),
    pooled("ListwiseRanking", ListwiseRanking, "costs"),
    LossCase("RegretLoss", RegretLoss, "costs", of="decisions"),
    LossCase("HammingLoss", HammingLoss, "solutions", of="decisions", instances=False),
)


def solver():
    return HighsSolver(MODEL)


def optima(costs, instances=None):
    """Return the best decisions, by enumeration; in regions of their own, as the solver finds them."""
    if instances is None:
        return best(costs, FEASIBLE)
    return torch.as_tensor(solver().solve(costs.numpy(), instances=instances).decisions).to(costs)


def tensors_of(case, *batch, instances=None, dtype=torch.float64, stretch=lambda costs: costs):
    """Return what the loss is of and what it learns from, both made from costs that may be stretched.

    Returns:
        Costs or feasible decisions, (*batch, 6), and the keyword argument of the label.
    """
    predicted, true = (stretch(normal(*batch, SIZE, seed=seed)).to(dtype) for seed in (0, 2))
    point = predicted if case.of == "costs" else optima(predicted, instances)
    return point, {case.label: true if case.label == "costs" else optima(true, instances)}


def run(case, loss, point, label, scale=1.0, autocast=(), **options):
    """Return values, and the gradient by the point of their sum; under autocast the passes that are named."""
    point = point.detach().clone().requires_grad_()
    if case.draws:
        options["generator"] = generator(1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled="forward" in autocast):
        value = loss(point, **label, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled="backward" in autocast):
        (scale * value).sum().backward()
    return value.detach(), point.grad


def equal(found, expected):
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
