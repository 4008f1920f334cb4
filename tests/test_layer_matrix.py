"""What every layer must withstand on every family that it works with: extremes, ties, autocast, zeros."""

from __future__ import annotations

import copy

import pytest
import torch

import imle_opt.layers
from cases_estimators import FAMILIES, theta_of
from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree, as_family
from imle_opt.families.capabilities import METHODS
from imle_opt.layers import (
    IMLE,
    L2X,
    BlackBox,
    GumbelRao,
    GumbelSoftmax,
    Identity,
    Perturbed,
    RegularizedFrankWolfe,
    ReinMax,
    SoftSub,
    SparseMAP,
    StochasticSoftmaxTrick,
    StraightThrough,
)
from imle_opt.noise import Gumbel, Normal, SumOfGamma
from imle_opt.regularized import BinaryEntropy
from imle_opt.targets import PID, Eq14
from opaque import DECISIONS, generator, opaque

MAKERS = {
    "IMLE": lambda family: IMLE(family, noise=Gumbel(), target=PID(1.0), num_samples=2),
    "IMLE central": lambda family: IMLE(family, noise=Gumbel(), target=PID(1.0), difference="central"),
    "IMLE Eq14": lambda family: IMLE(family, noise=SumOfGamma(2.0), target=Eq14(), scale="1"),
    "AIMLE": lambda family: moving(IMLE(family, noise=Gumbel(), num_samples=2)),
    "BlackBox": lambda family: BlackBox(family, 1.0),
    "Identity": lambda family: Identity(family, noise=Gumbel(), num_samples=2),
    "StraightThrough": lambda family: StraightThrough(family, noise=Gumbel(), num_samples=2),
    "Perturbed": lambda family: Perturbed(family, num_samples=3),
    "SparseMAP": SparseMAP,
    "RegularizedFrankWolfe": lambda family: RegularizedFrankWolfe(family, BinaryEntropy(2.0)),
    "StochasticSoftmaxTrick": lambda family: StochasticSoftmaxTrick(family, 0.7, num_samples=2),
    "GumbelSoftmax": lambda family: GumbelSoftmax(family, 0.7, num_samples=2),
    "GumbelRao": lambda family: GumbelRao(family, 0.7, num_samples=2),
    "ReinMax": lambda family: ReinMax(family, num_samples=2),
    "SoftSub": lambda family: SoftSub(family, 0.7, num_samples=2),
    "L2X": lambda family: L2X(family, 0.7, num_samples=2),
}
FAMILIES = {**FAMILIES, "solver": (as_family(opaque("max")), (5,))}
ROWS = [
    (maker, name)
    for maker in MAKERS
    for name, (family, _) in FAMILIES.items()
    if isinstance(family, METHODS[{"AIMLE": "IMLE"}.get(maker, maker).split()[0]])
]
every_row = pytest.mark.parametrize(("maker", "name"), ROWS)


def moving(layer):
    """Return a layer whose adaptive step has a length."""
    layer.target.alpha.fill_(0.5)
    return layer


def setup(maker, name, *batch, **options):
    family, event = FAMILIES[name]
    return MAKERS[maker](family), theta_of(event, *batch, **options)


def weights_of(theta, event_dim):
    """Return weights of the entries that bfloat16 holds exactly."""
    size = theta.shape[theta.ndim - event_dim :]
    cycle = torch.tensor([1.0, -2.0, 0.5, 4.0, -1.0, 2.0]).repeat(1 + size.numel() // 6)
    return cycle[: size.numel()].reshape(size).to(theta)


def run(layer, theta, scale=1.0):
    """Return samples, and the gradient by theta of a quadratic loss of them."""
    theta = theta.detach().clone().requires_grad_()
    samples = layer(theta, generator=generator(2))
    weights = weights_of(theta, layer.family.event_dim)
    (scale * (weights * samples + weights * samples.square()).mean(0)).sum().backward()
    return samples.detach(), theta.grad


def test_every_layer_has_rows():
    layers = set(imle_opt.layers.__all__) - {"BatchReduction", "Draw", "Layer"}
    assert {type(MAKERS[maker](FAMILIES[name][0])).__name__ for maker, name in ROWS} == layers
    assert {maker for maker, _ in ROWS} == set(MAKERS)


@every_row
@pytest.mark.parametrize("batch", [(), (3, 2)])
def test_batches(maker, name, batch):
    layer, theta = setup(maker, name, *batch)
    samples, gradient = run(layer, theta)
    assert samples.shape[1:] == theta.shape
    assert gradient.shape == theta.shape
    assert gradient.isfinite().all()


@every_row
def test_large_logits_in_single_precision(maker, name):
    layer, theta = setup(maker, name, 20, dtype=torch.float32)
    theta = 100 * theta.sign() * torch.linspace(0.5, 1, theta[0].numel()).reshape(theta.shape[1:])
    samples, gradient = run(layer, theta)
    assert samples.isfinite().all()
    assert gradient.isfinite().all()


@every_row
def test_ties(maker, name):
    layer, theta = setup(maker, name, 20)
    samples, gradient = run(layer, torch.zeros_like(theta))
    assert samples.isfinite().all()
    assert gradient.isfinite().all()


@every_row
def test_no_gradient_gives_exactly_none(maker, name):
    layer, theta = setup(maker, name, 4)
    _, gradient = run(layer, theta, scale=0.0)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@every_row
def test_autocast_changes_nothing_within_a_layer(maker, name):
    theta = setup(maker, name, 6, dtype=torch.float32)[1]
    exact = run(setup(maker, name)[0], theta)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(setup(maker, name)[0], theta)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("maker", sorted({maker for maker, name in ROWS if name in ("4-classes", "2-of-4")}))
@pytest.mark.parametrize("classes", [2, 1000])
def test_two_classes_and_a_thousand(maker, classes):
    family = KSubset(1) if maker in ("SoftSub", "L2X") else Categorical()
    # Entropies mix all classes that are not far below the best, with one solve each: here some eighty.
    steep = maker == "RegularizedFrankWolfe" and classes > 2
    theta = theta_of((classes,), 2, scale=20.0 if steep else 1.0)
    samples, gradient = run(MAKERS[maker](family), theta)
    torch.testing.assert_close(samples.sum(-1), torch.ones_like(samples[..., 0]))
    assert gradient.isfinite().all()


# A layer knows one family and one noise: what is set is what is used


OTHERS = {
    "3-bits": (Bernoulli(), (4,)),
    "4-classes": (Categorical(event_dim=2), (2, 3)),
    "2-of-4": (KSubset(3), (5,)),
    "tree-4": (SpanningTree(3), (3,)),
    "solver": (as_family(opaque("min", DECISIONS[:, :4])), (4,)),
}


@pytest.mark.parametrize(("maker", "name"), [row for row in ROWS if row[1] in OTHERS])
def test_a_family_that_is_replaced_is_used(maker, name):
    other, event = OTHERS[name]
    layer, fresh = MAKERS[maker](FAMILIES[name][0]), MAKERS[maker](other)
    layer.family = other
    for found, expected in zip(run(layer, theta_of(event, 3)), run(fresh, theta_of(event, 3)), strict=True):
        assert torch.equal(found, expected)


def test_a_noise_that_is_replaced_is_scored():
    layer, fresh = (Perturbed(Categorical(), noise=noise, num_samples=3) for noise in (Normal(1.0), Gumbel()))
    layer.noise.noise = Gumbel()
    theta = theta_of((4,), 3)
    for found, expected in zip(run(layer, theta), run(fresh, theta), strict=True):
        assert torch.equal(found, expected)


class Shifted(torch.nn.Module):
    """A family with a parameter: one-hot choices at shifted logits."""

    event_dim, sign = 1, 1.0

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.linspace(-1, 1, 4, dtype=torch.float64))

    def map(self, theta, *, instances=None, deterministic=True):
        return Categorical().map(theta + self.shift.detach())

    def sample(self, theta, num_samples=1, generator=None):
        return Categorical().sample(theta + self.shift.detach(), num_samples, generator)

    def marginals(self, theta, temperature=1.0):
        return Categorical().marginals(theta + self.shift, temperature)

    def log_partition(self, theta, temperature=1.0):
        return Categorical().log_partition(theta + self.shift, temperature)


@pytest.mark.parametrize(
    "make",
    [
        StochasticSoftmaxTrick,
        lambda family: StraightThrough(family, exact=True, through="mean"),
        lambda family: IMLE(family, noise=Gumbel(), target=PID(1.0)),
    ],
    ids=["trick", "straight-through", "imle"],
)
def test_a_family_that_is_a_module_is_saved_once_and_moves_with_the_layer(make):
    layer = make(Shifted())
    assert set(layer.state_dict()) == {"family.shift"}
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        copied.family.shift.fill_(0.0).add_(torch.tensor([0.0, 9.0, 0.0, 0.0]))
    samples, _ = run(copied, theta_of((4,), 50))
    assert samples[..., 1].mean() > 0.9
    assert run(layer, theta_of((4,), 50))[0][..., 1].mean() < 0.6
    assert layer.float().family.shift.dtype == torch.float32
