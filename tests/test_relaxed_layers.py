"""Relaxations and straight-through layers: identities, exact expectations, finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree
from imle_opt.layers import (
    L2X,
    GumbelRao,
    GumbelSoftmax,
    ReinMax,
    SoftSub,
    StochasticSoftmaxTrick,
    StraightThrough,
)
from imle_opt.noise import Gumbel, Multiplicative, NoNoise
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError
from opaque import generator, gradient, normal, opaque

SIGMAS = 4.5
MAKERS = {
    "GumbelSoftmax": lambda **o: GumbelSoftmax(Categorical(), 0.7, **o),
    "GumbelSoftmax hard": lambda **o: GumbelSoftmax(Categorical(), 0.7, hard=True, **o),
    "GumbelSoftmax Bernoulli": lambda **o: GumbelSoftmax(Bernoulli(), 0.7, **o),
    "GumbelRao": lambda **o: GumbelRao(Categorical(), 0.7, **o),
    "GumbelRao Bernoulli": lambda **o: GumbelRao(Bernoulli(), 0.7, **o),
    "ReinMax": lambda **o: ReinMax(Categorical(), 1.3, **o),
    "SoftSub": lambda **o: SoftSub(KSubset(2), 0.7, **o),
    "SoftSub hard": lambda **o: SoftSub(KSubset(2), 0.7, hard=True, **o),
    "L2X": lambda **o: L2X(KSubset(2), 0.7, **o),
    "SST": lambda **o: StochasticSoftmaxTrick(KSubset(2), 0.7, **o),
    "SST hard": lambda **o: StochasticSoftmaxTrick(KSubset(2), 0.7, hard=True, **o),
    "SST tree": lambda **o: StochasticSoftmaxTrick(SpanningTree(4), 0.7, **o),
    "straight-through mean": lambda **o: StraightThrough(KSubset(2), exact=True, through="mean", **o),
}
SOFT = ("GumbelSoftmax", "GumbelSoftmax Bernoulli", "SoftSub", "L2X", "SST", "SST tree")
every = pytest.mark.parametrize("name", sorted(MAKERS))


# All of them


@every
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("num_samples", [1, 4])
def test_shapes_and_modes(name, batch, num_samples):
    layer = MAKERS[name](num_samples=num_samples)
    theta = normal(*batch, 6).requires_grad_()
    samples = layer(theta)
    assert samples.shape == (num_samples, *batch, 6)
    samples.square().sum().backward()
    assert theta.grad.shape == theta.shape
    assert theta.grad.isfinite().all()
    before = torch.get_rng_state()
    assert torch.equal(layer.eval()(theta), layer.family.map(theta.detach()))
    assert torch.equal(torch.get_rng_state(), before)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_and_large_logits(name, dtype):
    layer = MAKERS[name](num_samples=3)
    for scale in (1, 100):
        theta = (scale * normal(4, 6)).to(dtype).requires_grad_()
        samples = layer(theta)
        assert samples.dtype == theta.dtype
        (samples * normal(6, seed=1).to(dtype)).sum().backward()
        assert theta.grad.dtype == dtype
        assert theta.grad.isfinite().all()
        assert samples.isfinite().all()


@every
def test_the_generator_decides_and_ties_are_harmless(name):
    layer = MAKERS[name](num_samples=3)
    theta = torch.zeros(4, 6, dtype=torch.float64)
    before = torch.get_rng_state()
    first = layer(theta, generator=generator(1))
    assert torch.equal(first, layer(theta, generator=generator(1)))
    assert not torch.equal(first, layer(theta, generator=generator(2)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", SOFT)
def test_soft_forms_have_the_derivative_of_their_value(name):
    layer, step = MAKERS[name](num_samples=3), 1e-6
    theta, weight = normal(5, 6), normal(3, 5, 6, seed=1)

    def values(t):
        return (weight * layer(t, generator=generator(1)).square()).mean(0).sum(-1)

    found = gradient(lambda t: values(t).sum(), theta)
    assert found.count_nonzero() > 15
    shifts = step * torch.eye(6, dtype=torch.float64)
    sides = [torch.stack([values(theta + s * shift) for shift in shifts], -1) for s in (1, -1)]
    torch.testing.assert_close(found, (sides[0] - sides[1]) / (2 * step), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("name", ["GumbelSoftmax", "SoftSub", "SST"])
def test_hard_forms_return_decisions_with_the_soft_gradient(name):
    theta, weight = normal(5, 6), normal(5, 6, seed=1)
    soft, hard = MAKERS[name](num_samples=3), MAKERS[f"{name} hard"](num_samples=3)

    def found(layer):
        return gradient(lambda t: (weight * layer(t, generator=generator(1))).sum(), theta)

    torch.testing.assert_close(found(hard), found(soft))
    z = hard(theta, generator=generator(1))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert z.sum(-1).unique().tolist() == [1.0 if name == "GumbelSoftmax" else 2.0]
    cold = {
        "GumbelSoftmax": GumbelSoftmax(Categorical(), 1e-4, num_samples=3),
        "SoftSub": SoftSub(KSubset(2), 1e-4, num_samples=3),
        "SST": StochasticSoftmaxTrick(KSubset(2), 1e-4, num_samples=3),
    }[name]
    torch.testing.assert_close(cold(theta, generator=generator(1)), z, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["GumbelRao", "GumbelRao Bernoulli", "GumbelSoftmax hard", "ReinMax"])
def test_hardened_samples_are_exact(name):
    theta = 1.5 * normal(6)
    layer = MAKERS[name](num_samples=20_000)
    z = layer(theta, generator=generator())
    p = layer.family.marginals(theta)
    assert ((z.mean(0) - p).abs() < SIGMAS * (p * (1 - p) / len(z)).sqrt()).all()


# One class of relations each


def test_tricks_on_subsets_of_one_are_gumbel_softmax():
    theta, weight = normal(5, 6), normal(5, 6, seed=1)

    def pair(layer):
        z = layer(theta, generator=generator(1))
        return z, gradient(lambda t: (weight * layer(t, generator=generator(1)).square()).sum(), theta)

    expected = pair(GumbelSoftmax(Categorical(), 0.7, num_samples=3))
    for layer in (
        SoftSub(KSubset(1), 0.7, num_samples=3),
        L2X(KSubset(1), 0.7, num_samples=3),
        StochasticSoftmaxTrick(KSubset(1), 0.7, num_samples=3),
        StochasticSoftmaxTrick(Categorical(), 0.7, num_samples=3),
    ):
        for found, wanted in zip(pair(layer), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_l2x_is_the_largest_of_softmaxes_under_noise_of_their_own():
    theta = normal(5, 6)
    found = L2X(KSubset(3), 0.7, num_samples=2)(theta, generator=generator(1))
    noise = Gumbel().draw((3, 2, 5, 6), generator=generator(1), dtype=torch.float64, device="cpu")
    softmaxes = [torch.softmax((theta + each) / 0.7, -1) for each in noise]
    expected = torch.maximum(torch.maximum(softmaxes[0], softmaxes[1]), softmaxes[2])
    torch.testing.assert_close(found, expected)


def test_soft_subsets_take_one_entry_after_the_other():
    """As weights: `log(1 - a)` added to x / t is a factor `(1 - a)^(1 / t)` on its exponential."""
    theta, temperature = normal(5, 6), 0.7
    found = SoftSub(KSubset(3), temperature, num_samples=2)(theta, generator=generator(1))
    noise = Gumbel().draw((2, 5, 6), generator=generator(1), dtype=torch.float64, device="cpu")
    weights, expected = ((theta + noise) / temperature).exp(), 0
    for _ in range(3):
        share = weights / weights.sum(-1, keepdim=True)
        expected = expected + share
        weights = weights * (1 - share) ** (1 / temperature)
    torch.testing.assert_close(found, expected)


def test_what_relaxed_subsets_sum_to():
    theta = 2 * normal(50, 8)
    soft = SoftSub(KSubset(3), 0.5, num_samples=20)(theta, generator=generator())
    torch.testing.assert_close(soft.sum(-1), torch.full((20, 50), 3.0, dtype=torch.float64))
    assert soft.max() > 1.05  # it is not in the hull
    trick = StochasticSoftmaxTrick(KSubset(3), 0.5, num_samples=20)(theta, generator=generator())
    torch.testing.assert_close(trick.sum(-1), torch.full((20, 50), 3.0, dtype=torch.float64))
    assert trick.max() <= 1 + 1e-12
    l2x = L2X(KSubset(3), 0.5, num_samples=20)(theta, generator=generator()).sum(-1)
    assert l2x.max() <= 3 + 1e-12
    assert l2x.mean() < 2.7
    tree = StochasticSoftmaxTrick(SpanningTree(4), num_samples=5)(normal(7, 6), generator=generator())
    torch.testing.assert_close(tree.sum(-1), torch.full((5, 7), 3.0, dtype=torch.float64))


def exact_mean_gradient(layer, theta, loss, monkeypatch):
    """Return the mean over all samples of the layer's gradient at theta (C,): no Monte Carlo."""
    support = torch.eye(len(theta), dtype=torch.float64)
    monkeypatch.setattr(Categorical, "sample", lambda self, t, num_samples=1, generator=None: support)
    p = torch.softmax(theta, -1)
    draw = layer.draw(theta, None, None)
    point = draw.samples.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(loss(point).sum(), point)
    # The rule takes the mean over samples: weigh each by its probability.
    return draw.rule(len(theta) * p[:, None] * slopes)


@pytest.mark.parametrize(
    ("name", "degree", "unbiased"),
    [
        ("straight-through", 1, True),
        ("straight-through", 2, False),
        ("ReinMax", 1, True),
        ("ReinMax", 2, True),
        ("ReinMax", 3, False),
    ],
)
def test_to_which_order_straight_through_is_unbiased(name, degree, unbiased, monkeypatch):
    theta = torch.tensor([0.3, -0.8, 1.1, 0.2], dtype=torch.float64)
    form, b = normal(4, 4, seed=3), normal(4, seed=4)

    def loss(z):
        quadratic = torch.einsum("...i,ij,...j->...", z, form, z) if degree > 1 else 0
        return (z @ b) + quadratic + ((z @ b) ** 3 if degree > 2 else 0)

    layer = (
        ReinMax(Categorical())
        if name == "ReinMax"
        else StraightThrough(Categorical(), exact=True, through="mean", num_samples=4)
    )
    found = exact_mean_gradient(layer, theta, loss, monkeypatch)
    expected = gradient(
        lambda t: (torch.softmax(t, -1) * loss(torch.eye(4, dtype=torch.float64))).sum(), theta
    )
    assert torch.allclose(found, expected, atol=1e-12) == unbiased


def test_straight_through_the_mean_is_exact_and_certain_for_linear_losses():
    theta, weight = normal(4, 6), normal(4, 6, seed=1)
    layer = StraightThrough(KSubset(2), exact=True, through="mean", num_samples=2)
    expected = gradient(lambda t: (weight * KSubset(2).marginals(t)).sum(), theta)
    for seed in range(3):
        found = gradient(
            lambda t, seed=seed: (weight * layer(t, generator=generator(seed))).mean(0).sum(), theta
        )
        torch.testing.assert_close(found, expected)


def test_straight_through_keeps_its_perturbed_form():
    theta, weight = normal(4, 6), normal(4, 6, seed=1)
    layer = StraightThrough(KSubset(2), noise=Gumbel(), through="mean", temperature=0.5, num_samples=3)
    z = layer(theta, generator=generator(1))
    noise = Gumbel().draw((3, 4, 6), generator=generator(1), dtype=torch.float64, device="cpu")
    assert torch.equal(z, KSubset(2).map(theta + noise))
    expected = gradient(lambda t: (weight * KSubset(2).marginals(t, 0.5)).sum(), theta)
    found = gradient(lambda t: (weight * layer(t, generator=generator(1))).mean(0).sum(), theta)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_reinmax_is_two_softmax_jacobians(temperature):
    """With `J(p) = diag(p) - p p^T`: `2 J(p1) g - J(p0) g / 2`, p1 between sample and tempered mean."""
    theta, weight = normal(5, 6), normal(3, 5, 6, seed=1)
    layer = ReinMax(Categorical(), temperature, num_samples=3)
    z = layer(theta, generator=generator(1))
    found = gradient(lambda t: (weight * layer(t, generator=generator(1))).sum(-1).mean(0).sum(), theta)

    def jacobian(p):
        return p * weight - p * (p * weight).sum(-1, keepdim=True)

    between = (z + torch.softmax(theta / temperature, -1)) / 2
    expected = 2 * jacobian(between) - jacobian(torch.softmax(theta, -1)) / 2
    torch.testing.assert_close(found, expected.mean(0))


class DifferentiatesTheConditional(GumbelRao.__mro__[1]):
    """A mutant: the gradient flows through the law of the noise given the decision."""

    def __init__(self, family, temperature, num_conditional, num_samples):
        super().__init__(family, num_samples=num_samples)
        self.temperature, self.num_conditional = temperature, num_conditional

    def draw(self, theta, instances, generator):
        from imle_opt.layers._relaxed import relaxed_draw

        z = self.family.sample(theta, self.num_samples, generator)
        repeated = z.expand(self.num_conditional, *z.shape)

        def relaxation(point):
            zeta = self.family.rsample_given(point, repeated, generator)
            return self.family.relax(zeta, self.temperature).mean(0)

        return relaxed_draw(theta, relaxation, z)


def test_gumbel_rao_has_the_mean_of_straight_through_and_less_variance():
    rows = 20_000
    theta = torch.tensor([0.5, -0.3, 0.1], dtype=torch.float64).expand(rows, 3)
    b = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def found(layer):
        return gradient(lambda t: ((layer(t, generator=generator(5)) @ b) ** 2).sum(), theta)

    straight = found(GumbelSoftmax(Categorical(), 0.5, hard=True))
    averaged = found(GumbelRao(Categorical(), 0.5, num_conditional=10))
    mutant = found(DifferentiatesTheConditional(Categorical(), 0.5, 10, 1))

    def z_score(other):
        error = ((straight.var(0) + other.var(0)) / rows).sqrt()
        return ((straight.mean(0) - other.mean(0)) / error).abs().max()

    assert z_score(averaged) < SIGMAS
    assert averaged.var(0).sum() < 0.7 * straight.var(0).sum()
    assert z_score(mutant) > 10


def test_stochastic_softmax_takes_any_noise():
    theta = normal(4, 6).abs()
    still = StochasticSoftmaxTrick(KSubset(2), 0.5, noise=NoNoise())(theta)
    torch.testing.assert_close(still[0], KSubset(2).marginals(theta, 0.5))
    factors = Multiplicative(0.3)
    drawn = factors.draw((1, 4, 6), generator=generator(1), dtype=torch.float64, device="cpu")
    found = StochasticSoftmaxTrick(KSubset(2), 0.5, noise=factors)(theta, generator=generator(1))
    torch.testing.assert_close(found, KSubset(2).marginals(theta * drawn, 0.5))


def test_many_classes_and_two():
    for classes in (2, 1000):
        theta = normal(3, classes)
        for layer in (GumbelSoftmax(Categorical()), GumbelRao(Categorical()), ReinMax(Categorical())):
            z = layer(theta)
            torch.testing.assert_close(z.sum(-1), torch.ones(1, 3, dtype=torch.float64))
            assert gradient(lambda t, layer=layer: layer(t)[..., 0].sum(), theta).isfinite().all()


def test_families_that_lack_something_are_refused_with_what_would_work():
    solver = opaque()
    for make, needs in (
        (lambda: GumbelSoftmax(solver), "reparameterised samples"),
        (lambda: GumbelSoftmax(KSubset(2)), "reparameterised samples"),
        (lambda: GumbelRao(KSubset(2)), "reparameterised samples"),
        (lambda: ReinMax(Bernoulli()), "independent one-hot choices"),
        (lambda: SoftSub(Categorical()), "KSubset"),
        (lambda: L2X(solver), "KSubset"),
        (lambda: StochasticSoftmaxTrick(solver), "exact marginals"),
        (lambda: StraightThrough(solver, through="mean"), "exact marginals"),
        (lambda: StraightThrough(solver, exact=True), "exact sampling"),
    ):
        with pytest.raises(MissingCapabilityError, match=needs):
            make()


@every
def test_instances_are_refused_not_ignored(name):
    theta = normal(3, 6)
    for layer in (MAKERS[name]().train(), MAKERS[name]().eval()):
        with pytest.raises(InvalidInputError, match="instances"):
            layer(theta, instances={"rhs": torch.ones(3)})


def test_bad_options_are_refused():
    for make, message in (
        (lambda: GumbelSoftmax(Categorical(), 0.0), "`temperature` must be positive"),
        (lambda: GumbelRao(Categorical(), num_conditional=0), "`num_conditional` must be at least 1"),
        (lambda: SoftSub(KSubset(2), -1.0), "`temperature` must be positive"),
        (lambda: L2X(KSubset(2), math.inf), "`temperature` must be positive"),
        (lambda: ReinMax(Categorical(), 0.0), "`temperature` must be positive"),
        (lambda: StochasticSoftmaxTrick(KSubset(2), 0.0), "`temperature` must be positive"),
        (lambda: StraightThrough(KSubset(2), exact=True, noise=Gumbel()), "`exact` samples need no noise"),
        (lambda: StraightThrough(KSubset(2), through="mu"), "`through` must be one of 'identity', 'mean'"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            make()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every
def test_layers_stay_on_the_device(name):
    theta = normal(4, 6).cuda().requires_grad_()
    samples = MAKERS[name](num_samples=2)(theta)
    samples.square().sum().backward()
    assert samples.device == theta.grad.device == theta.device
