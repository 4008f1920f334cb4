"""What every loss must withstand; and losses and layers on a cache, on workers and on a pool of decisions."""

from __future__ import annotations

import pytest
import torch

import imle_opt.losses
from imle_opt.families import SolutionPool
from imle_opt.layers import (
    IMLE,
    BlackBox,
    Identity,
    Perturbed,
    RegularizedFrankWolfe,
    SparseMAP,
    StraightThrough,
)
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
from imle_opt.targets import PID
from imle_opt_solvers.cache import CachedSolver
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.pool import SolverPool
from linear_models import knapsack
from opaque import DECISIONS, Recorder, best, generator, normal, opaque

TABLE = torch.as_tensor(DECISIONS)


def pooled(make):
    """Return a loss on a pool of all decisions that is made from a solver."""
    return lambda solver: make(SolutionPool(solver, solutions=TABLE, solve_ratio=0.0))


LOSSES = {
    "ExplicitMLE solutions": (lambda solver: ExplicitMLE(solver, Gumbel()), "solutions"),
    "ExplicitMLE costs": (lambda solver: ExplicitMLE(solver, Gumbel(), num_samples=2), "costs"),
    "FenchelYoung": (lambda solver: FenchelYoung(solver, Normal(1.0), num_samples=2), "solutions"),
    "FenchelYoung norm": (lambda solver: FenchelYoung(solver, regularizer=HalfSquaredNorm()), "solutions"),
    "FenchelYoung entropy": (
        lambda solver: FenchelYoung(solver, regularizer=BinaryEntropy(2.0)),
        "solutions",
    ),
    "SPOPlus": (SPOPlus, "costs"),
    "StructuredHinge": (StructuredHinge, "solutions"),
    "DirectionalGradient": (lambda solver: DirectionalGradient(solver, 0.4), "costs"),
    "NCE": (pooled(NCE), "solutions"),
    "CMAP": (pooled(CMAP), "solutions"),
    "PointwiseRanking": (pooled(PointwiseRanking), "costs"),
    "PairwiseRanking": (pooled(PairwiseRanking), "costs"),
    "ListwiseRanking": (pooled(ListwiseRanking), "costs"),
}
LAYERS = {
    "IMLE": lambda solver: IMLE(solver, noise=Gumbel(), target=PID(1.0), num_samples=2),
    "BlackBox": lambda solver: BlackBox(solver, 1.0),
    "Identity": Identity,
    "StraightThrough": lambda solver: StraightThrough(solver, noise=Gumbel()),
    "Perturbed": lambda solver: Perturbed(solver, num_samples=2),
    "SparseMAP": SparseMAP,
    "RegularizedFrankWolfe": lambda solver: RegularizedFrankWolfe(solver, BinaryEntropy()),
}
every = pytest.mark.parametrize("name", LOSSES)
WRAPPERS = {
    "cache": CachedSolver,
    "threads": lambda solver: SolverPool(solver, workers=2, backend="thread", chunk=3),
    "cache of threads": lambda solver: CachedSolver(SolverPool(solver, workers=2, backend="thread", chunk=3)),
    "solutions": lambda solver: SolutionPool(solver, solve_ratio=1.0),
}
wrapped = pytest.mark.parametrize("wrapper", WRAPPERS)


def label_of(name, costs, sense="min"):
    """Return what the loss learns from: other costs, or feasible decisions."""
    other = normal(*costs.shape, seed=2).to(costs)
    sign = 1 if sense == "max" else -1
    return {LOSSES[name][1]: other if LOSSES[name][1] == "costs" else best(sign * other)}


def run(loss, costs, label, scale=1.0, autocast=(), **options):
    """Return values, and the gradient by the costs of their sum; under autocast the passes that are named."""
    costs = costs.detach().clone().requires_grad_()
    if isinstance(loss, (ExplicitMLE, FenchelYoung)):
        options["generator"] = generator(1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled="forward" in autocast):
        value = loss(costs, **label, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled="backward" in autocast):
        (scale * value).sum().backward()
    return value.detach(), costs.grad


def sampled(layer, costs, scale=1.0, **options):
    """Return samples, and the gradient by the costs of a quadratic loss of them."""
    costs = costs.detach().clone().requires_grad_()
    samples = layer(costs, generator=generator(1), **options)
    weights = torch.arange(1.0, costs.shape[-1] + 1).to(costs)
    (scale * weights * samples.square()).mean(0).sum().backward()
    return samples.detach(), costs.grad


def equal(found, expected):
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_every_loss_is_here():
    others = {CaVE, HammingLoss, RegretLoss}  # of decisions, or of a linear model: below
    made = {type(make(opaque())) for make, _ in LOSSES.values()} | others
    names = set(imle_opt.losses.__all__) - {"SolvedTarget"}
    assert {loss.__name__ for loss in made} == names


@every
@pytest.mark.parametrize("batch", [(), (3, 2)])
def test_batches_and_no_gradient(name, batch):
    loss, costs = LOSSES[name][0](opaque()), normal(*batch, 5)
    value, gradient = run(loss, costs, label_of(name, costs))
    assert value.shape == batch
    assert gradient.isfinite().all()
    none = run(loss, costs, label_of(name, costs), scale=0.0)[1]
    assert torch.equal(none, torch.zeros_like(costs))


@every
def test_large_costs_in_single_precision(name):
    costs = (100 * normal(20, 5).sign() * torch.linspace(0.5, 1, 5)).float()
    label = {key: tensor.float() for key, tensor in label_of(name, costs).items()}
    value, gradient = run(LOSSES[name][0](opaque()), costs, label)
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@every
def test_ties(name):
    costs = torch.zeros(6, 5, dtype=torch.float64)
    for label in (label_of(name, costs), {LOSSES[name][1]: torch.as_tensor(DECISIONS[:6])}):
        value, gradient = run(LOSSES[name][0](opaque()), costs, label)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


@every
@pytest.mark.parametrize("passes", [("forward",), ("forward", "backward")], ids="-".join)
def test_autocast_changes_nothing(name, passes):
    costs = normal(6, 5).float()
    label = {key: tensor.float() for key, tensor in label_of(name, costs).items()}
    exact, found = (
        run(LOSSES[name][0](opaque()), costs, label, scale=1 / 3, autocast=under) for under in ((), passes)
    )
    assert equal(found, exact)


# A cache, workers, a pool of decisions that is always solved: all are the solver


@every
@wrapped
def test_losses_take_every_wrapper(name, wrapper):
    costs = normal(8, 5)
    if wrapper == "solutions" and "pool" in repr(LOSSES[name][0](opaque())).lower():
        pytest.skip("it is made from a pool already")
    expected = run(LOSSES[name][0](opaque()), costs, label_of(name, costs))
    loss = LOSSES[name][0](WRAPPERS[wrapper](opaque()))
    assert equal(run(loss, costs, label_of(name, costs)), expected)
    assert equal(run(loss, costs, label_of(name, costs)), expected)  # again, from what is remembered


@pytest.mark.parametrize("name", LAYERS)
@wrapped
def test_layers_take_every_wrapper(name, wrapper):
    costs = normal(8, 5)
    expected = sampled(LAYERS[name](opaque()), costs)
    layer = LAYERS[name](WRAPPERS[wrapper](opaque()))
    assert equal(sampled(layer, costs), expected)
    assert equal(sampled(layer, costs), expected)
    assert torch.equal(layer.eval()(costs), LAYERS[name](opaque()).eval()(costs))


@wrapped
def test_decision_losses_take_every_wrapper(wrapper):
    costs, true = normal(8, 5), normal(8, 5, seed=2)
    solver = WRAPPERS[wrapper](opaque())
    z = best(-costs)
    assert torch.equal(RegretLoss(solver)(z, true), RegretLoss(opaque())(z, true))
    assert torch.equal(HammingLoss(solver)(z, best(-true)), HammingLoss(opaque())(z, best(-true)))


@pytest.mark.parametrize("wrapper", ["cache", "threads", "cache of threads"])
def test_cave_takes_every_wrapper(wrapper):
    solver, costs = HighsSolver(knapsack()), normal(4, 6).abs()
    y = torch.as_tensor(solver.solve(normal(4, 6, seed=2).abs().numpy()).decisions)
    expected = run(CaVE(solver), costs, {"solutions": y})
    assert equal(run(CaVE(WRAPPERS[wrapper](solver)), costs, {"solutions": y}), expected)


# Rows with regions of their own, through a cache and through workers


ALLOWED = torch.zeros(4, 7, dtype=torch.bool)
for row, choices in enumerate([(0, 1, 4), (2, 3), (4, 5, 6), (6, 0)]):
    ALLOWED[row, list(choices)] = True
with_instances = pytest.mark.parametrize("wrapper", ["cache", "threads", "cache of threads"])


@pytest.mark.parametrize(
    "name", [name for name in LOSSES if "Ranking" not in name and name not in ("NCE", "CMAP")]
)
@with_instances
def test_losses_take_instances_through_every_wrapper(name, wrapper):
    costs = normal(4, 5)
    label = {LOSSES[name][1]: TABLE[[4, 3, 5, 0]] if LOSSES[name][1] == "solutions" else normal(4, 5, seed=2)}
    expected = run(LOSSES[name][0](Recorder()), costs, label, instances={"allowed": ALLOWED})
    free = run(LOSSES[name][0](Recorder()), costs, label)
    assert not equal(expected, free)
    loss = LOSSES[name][0](WRAPPERS[wrapper](Recorder()))
    assert equal(run(loss, costs, label, instances={"allowed": ALLOWED}), expected)


@pytest.mark.parametrize("name", LAYERS)
@with_instances
def test_layers_take_instances_through_every_wrapper(name, wrapper):
    costs = normal(4, 5)
    expected = sampled(LAYERS[name](Recorder()), costs, instances={"allowed": ALLOWED})
    assert not equal(expected, sampled(LAYERS[name](Recorder()), costs))
    layer = LAYERS[name](WRAPPERS[wrapper](Recorder()))
    assert equal(sampled(layer, costs, instances={"allowed": ALLOWED}), expected)
