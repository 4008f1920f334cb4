from __future__ import annotations

import math

import pytest
import torch

import imle_opt.estimators
from cases_estimators import CASES, FAMILIES, IDS, ROWS, Mean, Surrogate, smooth, theta_of
from imle_opt.diagnostics import gradient_stats, markdown_table
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
    pathwise,
)
from imle_opt.estimators.arm import antithetic_pairs, arm_gradient
from imle_opt.estimators.ars import ars_gradient
from imle_opt.estimators.arsm import all_pairs, arsm_gradient
from imle_opt.estimators.augment import ar_binary, ar_categorical
from imle_opt.estimators.control_variate import CoupledDraw, control_variate_gradient
from imle_opt.estimators.disarm import disarm_gradient
from imle_opt.estimators.estimator import Estimate
from imle_opt.estimators.reinforce import leave_one_out_gradient, score_function_gradient
from imle_opt.estimators.swaps import swapped_choices, values_of_choices
from imle_opt.expectations import estimate, expectation
from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree, applicable, conditional
from imle_opt.families.capabilities import METHODS
from imle_opt.layers import StraightThrough
from imle_opt.noise import Gumbel, Logistic
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError
from opaque import generator, gradient, opaque

# The largest of 300 independent normal variables is above it with probability 2e-3; seeds are fixed.
LARGEST_Z = 4.5
REPLICATES = 20_000

every_row = pytest.mark.parametrize(("case", "name"), ROWS, ids=IDS)


def setup(case, name, *batch, **options):
    family, event = FAMILIES[name]
    return case.make(event), smooth(event), theta_of(event, *batch, **options), family


@every_row
def test_the_mean_gradient_is_the_exact_one(case, name):
    estimator, f, theta, family = setup(case, name)
    stats = gradient_stats(estimator, f, theta, family, REPLICATES, generator=generator(11))
    assert stats.exact.abs().max() > 0.05
    assert stats.largest_z < LARGEST_Z, stats
    assert stats.evaluations <= case.evaluations


@every_row
def test_the_mean_value_is_the_exact_one(case, name):
    estimator, f, theta, family = setup(case, name)
    exact = expectation(f, theta, family, Enumerate())
    values = expectation(f, theta.expand(REPLICATES, *theta.shape), family, estimator, generator=generator(5))
    with_gradient = theta.expand(REPLICATES, *theta.shape).clone().requires_grad_()
    again = expectation(f, with_gradient, family, estimator, generator=generator(6)).detach()
    for drawn in (values, again):
        error = drawn.std() / math.sqrt(REPLICATES)
        assert (drawn.mean() - exact).abs() <= LARGEST_Z * error + 1e-12


@every_row
@pytest.mark.parametrize("batch", [(), (3, 2), (0,)])
def test_shapes_and_calls_of_f(case, name, batch):
    """One call at the samples, and one more where the gradient needs f at other points too."""
    estimator, f, theta, family = setup(case, name, *batch)
    shapes = []

    def recorded(z):
        shapes.append(z.shape)
        return f(z)

    theta.requires_grad_()
    value = expectation(recorded, theta, family, estimator, generator=generator())
    assert value.shape == batch
    value.sum().backward()
    assert theta.grad.shape == theta.shape
    assert theta.grad.isfinite().all()
    assert len(shapes) == (
        2 if case.samples < case.evaluations and (value.numel() or case.differentiates) else 1
    )
    assert all(shape[1:] == theta.shape for shape in shapes)
    assert shapes[0][0] == case.samples or case.name == "enumerate"


@every_row
def test_the_generator_decides_and_global_state_does_not(case, name):
    estimator, f, theta, family = setup(case, name, 3)
    estimator = estimator.eval() if isinstance(estimator, torch.nn.Module) else estimator

    def run(seed):
        return gradient(
            lambda t: expectation(f, t, family, estimator, generator=generator(seed)).sum(), theta
        )

    state = torch.get_rng_state()
    first = run(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(run(1), first)
    assert case.name == "enumerate" or not torch.equal(run(2), first)


@every_row
def test_large_logits_in_single_precision(case, name):
    estimator, f, theta, family = setup(case, name, 50, dtype=torch.float32, scale=1.0)
    theta = 100 * theta.sign()
    if isinstance(family, SpanningTree):
        theta = theta * torch.linspace(0.5, 1, 6)
    result = estimate(f, theta.requires_grad_(), family, estimator, generator=generator())
    result.value.sum().backward()
    assert result.value.isfinite().all()
    assert theta.grad.isfinite().all()
    if result.variance_loss is not None:
        result.variance_loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in estimator.parameters())


@every_row
def test_ties(case, name):
    estimator, f, theta, family = setup(case, name, 20)
    found = gradient(
        lambda t: expectation(f, t, family, estimator, generator=generator()).sum(), torch.zeros_like(theta)
    )
    assert found.isfinite().all()


@every_row
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward-backward"])
def test_under_autocast_only_f_is_less_precise(case, name, backward):
    estimator, _, theta, family = setup(case, name, 4, dtype=torch.float32)
    event = FAMILIES[name][1]
    # Products of these weights are exact in bfloat16.
    weights = torch.tensor([1.0, 2.0, -1.0, 0.5, 4.0, -2.0])[: torch.Size(event).numel()]

    def f(z):
        return (z.flatten(z.ndim - len(event)) @ weights[:, None]).squeeze(-1)

    def run(enabled):
        leaf = theta.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = expectation(f, leaf, family, estimator, generator=generator())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled and backward):
            value.sum().backward()
        return leaf.grad

    estimator = estimator.eval() if isinstance(estimator, torch.nn.Module) else estimator
    expected, found = run(False), run(True)
    assert found.dtype == torch.float32
    if case.differentiates:  # relaxed decisions are not exact in bfloat16
        assert found.isfinite().all()
        return
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@every_row
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(case, name, dtype):
    estimator, f, theta, family = setup(case, name, 4, dtype=dtype)
    theta.requires_grad_()
    seen = []
    expectation(lambda z: seen.append(z.dtype) or f(z), theta, family, estimator).sum().backward()
    assert set(seen) == {dtype}
    assert theta.grad.dtype == dtype
    assert theta.grad.isfinite().all()


@every_row
def test_a_constant_has_no_gradient_where_it_is_compared(case, name):
    """Estimators that compare values of f give exactly zero where f is constant."""
    estimator, _, theta, family = setup(case, name, 5)
    if case.name in ("leave-one-out", "arm", "disarm", "ars", "ars-pivot", "arsm"):
        dim = family.event_dim

        def constant(z):
            return torch.full(z.shape[: z.ndim - dim], 0.1, dtype=z.dtype)

        found = gradient(lambda t: expectation(constant, t, family, estimator).sum(), theta)
        assert found.abs().max() <= 1e-16
    zero = gradient(lambda t: 0 * expectation(smooth(theta.shape[1:]), t, family, estimator).sum(), theta)
    assert torch.equal(zero, torch.zeros_like(theta))


@every_row
def test_f_learns_from_the_samples_only(case, name):
    """The parameters of f get the gradient of the value: points that are no samples are not in its graph."""
    estimator, _, theta, family = setup(case, name, 6)
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    dims = tuple(range(-family.event_dim, 0))
    size = torch.Size(theta.shape[1:]).numel()
    code = torch.linspace(0.3, 2.0, size, dtype=torch.float64).reshape(theta.shape[1:])
    passed, called, graphs = [], [], []

    def f(z):
        values = weight * (z * code).sum(dims)
        called.append(values.detach())
        if values.requires_grad:
            graphs.append(len(values))
            values.register_hook(lambda grad: passed.append(len(grad)))
        return values

    result = estimate(f, theta.requires_grad_(), family, estimator, generator=generator())
    passed.clear()
    result.value.sum().backward()
    samples = len(family.support(theta.shape[1:])) if case.name == "enumerate" else case.samples
    assert sum(passed) == samples
    assert sum(graphs) == samples + (2 * samples if case.differentiates else 0)
    if case.name != "enumerate":  # both of a pair, and no choice after a swap
        torch.testing.assert_close(result.value, called[0].mean(0))
    # Linear in the weight: its gradient is the value over the weight.
    torch.testing.assert_close(weight.grad * 0.7, result.value.sum().detach())
    if result.variance_loss is not None:
        before, there = weight.grad.clone(), theta.grad.clone()
        result.variance_loss.backward()
        assert torch.equal(weight.grad, before)
        assert torch.equal(theta.grad, there)
        tuned = [p.grad for p in estimator.parameters() if p.grad is not None]
        assert any(g.abs().max() > 0 for g in tuned)


@pytest.mark.parametrize("estimator", [ARS(), ARSM()], ids=["ARS", "ARSM"])
def test_f_learns_under_autocast_though_it_is_called_again_without_a_graph(estimator):
    network = torch.nn.Linear(12, 1)
    seen = []

    def f(z):
        seen.append(z)
        return network(z.flatten(-2))[..., 0]

    theta = torch.zeros(1, 3, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = expectation(f, theta, Categorical(event_dim=2), estimator, generator=generator())
    value.sum().backward()
    assert len(seen) == 2
    assert torch.equal(network.weight.grad, seen[0].flatten(-2)[0])


@every_row
def test_what_f_learns_is_unbiased(case, name):
    """A parameter of f for each replicate, against enumeration."""
    estimator, f, theta, family = setup(case, name)
    weight = torch.full((REPLICATES,), 0.7, dtype=torch.float64, requires_grad=True)
    many = theta.expand(REPLICATES, *theta.shape).clone().requires_grad_()
    value = expectation(lambda z: torch.cos(weight * f(z)), many, family, estimator, generator=generator(12))
    (found,) = torch.autograd.grad(value.sum(), weight)
    exact = gradient(
        lambda w: expectation(lambda z: torch.cos(w * f(z)), theta, family, Enumerate()), weight.detach()[0]
    )
    assert exact.abs() > 0.02
    assert (found.mean() - exact).abs() <= LARGEST_Z * found.std() / math.sqrt(REPLICATES) + 1e-12


@pytest.mark.parametrize("estimator", [ARS(pivot=1), ARSM()], ids=["ars", "arsm"])
def test_what_f_has_no_slope_at_spoils_nothing_unless_it_is_drawn(estimator):
    """0 times the infinite slope of a choice that was only compared with would be NaN."""
    theta = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64).expand(200, 3).clone().requires_grad_()
    weight = torch.ones(200, dtype=torch.float64, requires_grad=True)
    calls = []

    def f(z):
        calls.append(z)
        return torch.sqrt(weight * (z * torch.arange(3.0, dtype=z.dtype)).sum(-1))

    expectation(f, theta, Categorical(), estimator, generator=generator()).sum().backward()
    drawn = calls[0][0, :, 0] == 1
    assert 0 < drawn.sum() < (calls[1][..., 0] == 1).any(0).sum()
    assert torch.equal(weight.grad.isnan(), drawn)
    assert theta.grad.isfinite().all()


@every_row
def test_what_f_does_with_theta_itself_is_differentiated_too(case, name):
    estimator, _, theta, family = setup(case, name, 3)
    dims = tuple(range(-family.event_dim, 0))

    def f(z, t):
        return (0 * z).sum(dims) + t.square().sum(dims)

    seed = generator(4).get_state()
    plain = gradient(
        lambda t: expectation(lambda z: f(z, theta), t, family, estimator, generator=state(seed)).sum(), theta
    )
    if isinstance(estimator, torch.nn.Module) and case.name == "moving-average":
        estimator = case.make(theta.shape[1:])
    both = gradient(
        lambda t: expectation(lambda z: f(z, t), t, family, estimator, generator=state(seed)).sum(), theta
    )
    torch.testing.assert_close(both, plain + 2 * theta)


def state(saved):
    source = torch.Generator()
    source.set_state(saved)
    return source


@every_row
def test_integers_will_do(case, name):
    estimator, _, theta, family = setup(case, name, 3)
    if case.differentiates:
        return
    dims = tuple(range(-family.event_dim, 0))
    found = gradient(
        lambda t: expectation(lambda z: (z.long() * 3).sum(dims), t, family, estimator).sum(), theta
    )
    assert found.isfinite().all()


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_applicable_works_and_the_rest_says_why(name):
    family, event = FAMILIES[name]
    theta = theta_of(event, 2).requires_grad_()
    names = {"reinforce": "Reinforce", "rebar": "Rebar", "relax": "Relax", "disarm": "DisARM"}
    for case in CASES:
        method = names.get(case.name, type(case.make(event)).__name__)
        if method in applicable(family):
            expectation(smooth(event), theta, family, case.make(event))
        else:
            with pytest.raises(MissingCapabilityError, match=f"`{method}` needs .* What works with this one"):
                expectation(smooth(event), theta, family, case.make(event))


def test_a_solver_has_optima_only():
    solver = opaque("max")
    theta = theta_of((5,), 2).requires_grad_()
    for case in CASES:
        method = type(case.make((5,))).__name__
        assert method not in applicable(solver)
        with pytest.raises(MissingCapabilityError, match=f"`{method}` needs"):
            expectation(smooth((5,)), theta, solver, case.make((5,)))


def test_every_estimator_has_rows_and_is_in_the_table():
    public = set(imle_opt.estimators.__all__) - {
        "Estimate",
        "Estimator",
        "Values",
        "Pathwise",
        "MovingAverage",
    }
    assert public <= set(METHODS)
    assert public - {"pathwise"} == {type(case.make((3,))).__name__ for case in CASES}


# Variances against closed forms: one variable, so that the sums are short.

P, SLOPE = 0.71, 1.7
F0, F1 = -0.4, -0.4 + SLOPE


def two_values(z):
    return F0 + SLOPE * z[..., 0]


def one_bit():
    return torch.tensor([math.log(P / (1 - P))], dtype=torch.float64)


def reinforce_variance(baseline, samples=1):
    mean = P * (1 - P) * SLOPE
    second = P * ((F1 - baseline) * (1 - P)) ** 2 + (1 - P) * ((F0 - baseline) * P) ** 2
    return (second - mean**2) / samples


def arm_variance():
    top = max(P, 1 - P)
    second = SLOPE**2 * 2 / 3 * (1 / 8 - (top - 0.5) ** 3)
    return second - (P * (1 - P) * SLOPE) ** 2


def disarm_variance():
    top = max(P, 1 - P)
    return SLOPE**2 / 4 * top**2 * 2 * (1 - top) - (P * (1 - P) * SLOPE) ** 2


def ar_variance():
    # The integral of (1 - 2u)^2 to p is (1 - (1 - 2p)^3) / 6.
    below = (1 - (1 - 2 * P) ** 3) / 6
    return F1**2 * below + F0**2 * (1 / 3 - below) - (P * (1 - P) * SLOPE) ** 2


def leave_one_out_variance():
    # Two samples: g = (f1 - f2)(z1 - z2) / 2 is SLOPE / 2 where they differ, and 0 elsewhere.
    differ = 2 * P * (1 - P)
    return (SLOPE / 2) ** 2 * differ * (1 - differ)


class Constant(torch.nn.Module):
    """A surrogate, and with one dimension less a baseline, that is a constant."""

    def __init__(self, value, event_dim):
        super().__init__()
        self.value, self.event_dim = value, event_dim

    def forward(self, tensor):
        return torch.full(tensor.shape[: tensor.ndim - self.event_dim], self.value, dtype=tensor.dtype)


@pytest.mark.parametrize(
    ("estimator", "variance"),
    [
        (Reinforce(1, "none"), reinforce_variance(0.0)),
        (Reinforce(5, "none"), reinforce_variance(0.0, 5)),
        (Reinforce(1, Constant(0.3, 1)), reinforce_variance(0.3)),
        (Reinforce(2), leave_one_out_variance()),
        (ARM(), arm_variance()),
        (ARM(3), arm_variance() / 3),
        (DisARM(), disarm_variance()),
        (AR(), ar_variance()),
        (Relax(Constant((1 - P) * F1 + P * F0, 1)), 0.0),
    ],
    ids=["reinforce", "reinforce-5", "baseline", "leave-one-out", "arm", "arm-3", "disarm", "ar", "optimal"],
)
def test_variances_against_closed_forms(estimator, variance):
    stats = gradient_stats(estimator, two_values, one_bit(), Bernoulli(), 200_000, generator=generator(2))
    assert stats.total_variance == pytest.approx(variance, rel=0.03, abs=1e-12)


# Identities.


def rows(event, number=40):
    return theta_of(event, number, scale=1.5)


def gradients_of(estimator, f, theta, family, seed=3):
    return gradient(lambda t: expectation(f, t, family, estimator, generator=generator(seed)).sum(), theta)


@pytest.mark.parametrize("name", ["3-bits", "4-classes", "2x3-classes"])
def test_rebar_without_eta_and_relax_with_a_constant_are_reinforce(name):
    """On the same variables: z is the hardened zeta of the first draw."""
    family, event = FAMILIES[name]
    f, theta = smooth(event), rows(event)
    dims = len(event)
    z = family.harden(family.rsample(theta.expand(1, *theta.shape), 1, generator(3))[0])
    for beta, estimator in ((0.0, Rebar(eta=0.0)), (0.8, Relax(Constant(0.8, dims)))):
        expected = ((f(z) - beta).reshape(1, -1, *(1,) * dims) * family.score(theta, z))[0]
        torch.testing.assert_close(gradients_of(estimator, f, theta, family), expected)


def test_relax_subtracts_the_surrogate_at_the_second_draw():
    """At the first draw it would be unbiased too, but another estimator."""
    theta, weight = rows((1,)), 0.8
    surrogate = Surrogate((1,))
    surrogate.weights.data.fill_(weight)
    found = gradients_of(Relax(surrogate), two_values, theta, Bernoulli())
    source = generator(3)
    leaf = theta[None].clone().requires_grad_()
    zeta = Bernoulli().rsample(leaf, 1, source)[0]
    z = Bernoulli().harden(zeta)
    again = Bernoulli().rsample_given(leaf, z, source)
    (moved,) = torch.autograd.grad(again.sum(), leaf)
    slope = weight / torch.cosh(weight * zeta) ** 2 - weight / torch.cosh(weight * again) ** 2 * moved
    learned = torch.tanh(weight * again) + 0.3
    expected = (two_values(z)[..., None] - learned) * (z - torch.sigmoid(theta)) + slope
    torch.testing.assert_close(found, expected[0].detach())


def each_gradient(f, theta, family, samples, surrogate):
    """The gradients of RELAX, sample by sample, for c = surrogate and the noise of `generator(3)`."""
    source = generator(3)
    leaf = theta.expand(samples, *theta.shape).clone().requires_grad_()
    zeta = family.rsample(leaf, 1, source)[0]
    z = family.harden(zeta)
    again = family.rsample_given(leaf, z, source)
    (slope,) = torch.autograd.grad((surrogate(zeta) - surrogate(again)).sum(), leaf)
    size = (1,) * family.event_dim
    advantage = (f(z) - surrogate(again).detach()).reshape(samples, -1, *size)
    return (advantage * family.score(theta, z) + slope).detach()


@pytest.mark.parametrize("name", ["3-bits", "4-classes", "2x3-classes"])
@pytest.mark.parametrize("with_network", [False, True], ids=["rebar", "relax-and-relaxation"])
def test_control_variates_and_the_loss_that_tunes_them_are_their_formulas(name, with_network):
    """Its value is the mean over samples and rows of ||g||^2, its derivative that by finite differences."""
    family, event = FAMILIES[name]
    f, theta, network = smooth(event), rows(event, 7), Surrogate(event)

    def gradients(parameters):
        eta, log_temperature = parameters
        network.weights.data.fill_(eta)

        def c(zeta):
            relaxed = f(family.relax(zeta, math.exp(log_temperature)))
            return relaxed + network(zeta) if with_network else eta * relaxed

        return each_gradient(f, theta, family, 5, c)

    start, step = (0.6, math.log(0.4)), 1e-6
    expected = gradients(start)
    network.weights.data.fill_(start[0])
    options = {"num_samples": 5, "temperature": 0.4}
    tuned = Relax(network, with_relaxation=True, **options) if with_network else Rebar(eta=0.6, **options)
    tuned = tuned.double()
    tuned.log_temperature.data.fill_(start[1])
    if not with_network:
        tuned.eta.data.fill_(start[0])
    point = theta.clone().requires_grad_()
    result = estimate(f, point, family, tuned, generator=generator(3))
    result.value.sum().backward()
    torch.testing.assert_close(point.grad, expected.mean(0))
    dims = tuple(range(-family.event_dim, 0))
    torch.testing.assert_close(result.variance_loss.detach(), expected.square().sum(dims).mean())
    result.variance_loss.backward()
    found = [network.weights.grad.sum() if with_network else tuned.eta.grad, tuned.log_temperature.grad]
    for which in (0, 1):
        sides = [gradients([p + side * step * (k == which) for k, p in enumerate(start)]) for side in (1, -1)]
        losses = [side.square().sum(dims).mean() for side in sides]
        difference = (losses[0] - losses[1]) / (2 * step)
        assert difference.abs() > 1e-3
        # Rounding over the step is 1e-16 / 1e-6 of a loss below 1; the rest is room for the steps before it.
        torch.testing.assert_close(found[which], difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("variables", [1, 3])
def test_arsm_with_two_classes_is_arm(variables):
    """With phi = phi_1 - phi_2 and u = pi_1, sample by sample."""
    theta = rows((variables, 2))
    family, bits = Categorical(event_dim=2), Bernoulli()
    weights = torch.linspace(0.5, 2, variables, dtype=torch.float64)

    def on_bits(b):
        return torch.sin((b * weights).sum(-1)) + 0.3 * b[..., 0]

    found = gradients_of(ARSM(), lambda z: on_bits(z[..., 0]), theta, family)
    noise = -Gumbel().draw((1, *theta.shape), generator=generator(3), dtype=theta.dtype, device="cpu")
    logit = noise[..., 0] - noise[..., 1]
    logits = theta[..., 0] - theta[..., 1]
    values = on_bits(antithetic_pairs(logits, logit))
    expected = arm_gradient(values, logit, bits.event_dim)
    torch.testing.assert_close(found[..., 0], expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(found[..., 1], -expected, rtol=0, atol=1e-14)
    assert found.count_nonzero() > 10


@pytest.mark.parametrize("event", [(5,), (3, 4), (2, 2, 3)])
def test_the_entries_of_swapped_gradients_sum_to_zero(event):
    family, f, theta = Categorical(event_dim=len(event)), smooth(event), rows(event)
    for estimator in (ARSM(2), ARS(2), ARS(1, pivot=2)):
        found = gradients_of(estimator, f, theta, family)
        assert found.abs().max() > 0.01
        torch.testing.assert_close(found.sum(-1), torch.zeros_like(found[..., 0]), rtol=0, atol=1e-13)


def test_arsm_is_the_mean_of_ars_over_pivots_and_equal_logits_have_a_closed_form():
    family, f, theta = Categorical(), smooth((4,)), torch.zeros(30, 4, dtype=torch.float64)
    arsm = gradients_of(ARSM(), f, theta, family)
    pivots = [gradients_of(ARS(pivot=j), f, theta, family) for j in range(4)]
    torch.testing.assert_close(torch.stack(pivots).mean(0), arsm)
    noise = -Gumbel().draw((1, *theta.shape), generator=generator(3), dtype=theta.dtype, device="cpu")[0]
    simplex = noise.softmax(-1)
    m = simplex.argmin(-1, keepdim=True)
    values = f(torch.eye(4, dtype=torch.float64)).expand(30, 4)
    lowest = simplex.gather(-1, m)
    sums = ((values - values.gather(-1, m)) * (0.25 - simplex)).sum(-1, keepdim=True)
    is_lowest = torch.zeros_like(simplex).scatter(-1, m, 1.0)
    expected = (values - values.mean(-1, keepdim=True)) * (0.25 - lowest) + (is_lowest - 0.25) * sums
    torch.testing.assert_close(arsm, expected)


@pytest.mark.parametrize(("number", "classes"), [(1, 2), (1, 5), (3, 4), (2, 7)])
def test_swaps_against_swapping(number, classes):
    theta = rows((number, classes), 20)
    noise = -Gumbel().draw((2, *theta.shape), generator=generator(3), dtype=theta.dtype, device="cpu")
    i, j = all_pairs(classes, theta.device)
    found = swapped_choices(theta, noise, i, j)
    for pair, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
        order = list(range(classes))
        order[a], order[b] = order[b], order[a]
        assert torch.equal(found[..., pair], (noise[..., order] - theta).argmin(-1))


@pytest.mark.parametrize("estimator", [ARS(2, pivot=1), ARSM(2)], ids=["ars", "arsm"])
@pytest.mark.parametrize("number", [2, 80])
def test_the_value_of_swaps_is_that_of_the_sample(estimator, number):
    event = (number, 3)
    theta, f, seen = rows(event, 5), smooth(event), []
    value = expectation(
        lambda z: seen.append(z) or f(z),
        theta.requires_grad_(),
        Categorical(event_dim=2),
        estimator,
        generator=generator(3),
    )
    noise = -Gumbel().draw((2, *theta.shape), generator=generator(3), dtype=theta.dtype, device="cpu")
    drawn = torch.nn.functional.one_hot((noise - theta).argmin(-1), 3).double()
    assert torch.equal(seen[0], drawn)
    assert not torch.equal(seen[1][:2], drawn)
    torch.testing.assert_close(value, f(drawn).mean(0))


def test_the_pivot_is_drawn():
    theta, f, pivots = rows((4,)), smooth((4,)), set()
    for seed in range(12):
        source = generator(seed)
        pivot = int(torch.randint(4, (), generator=source))
        expected = gradient(
            lambda t, j=pivot, s=source: expectation(f, t, Categorical(), ARS(pivot=j), generator=s).sum(),
            theta,
        )
        assert torch.equal(gradients_of(ARS(), f, theta, Categorical(), seed), expected)
        pivots.add(pivot)
    assert pivots == {0, 1, 2, 3}


@pytest.mark.parametrize(("number", "scale"), [(2, 3), (80, 300)])
def test_equal_choices_are_evaluated_once(number, scale):
    """Both ways of telling choices apart: by a number, and where that has no room, by rows."""
    theta = scale * rows((number, 3), 5)
    family, f = Categorical(event_dim=2), smooth((number, 3))
    seen = []
    theta.requires_grad_()
    expectation(
        lambda z: seen.append(z) or f(z), theta, family, ARSM(), generator=generator()
    ).sum().backward()
    evaluated = torch.cat(seen)
    distinct = [len(evaluated[:, row].unique(dim=0)) for row in range(5)]
    assert len(evaluated) == max(distinct)
    assert min(distinct) < 4
    family_one, many = Categorical(), rows((40,), 3)
    calls = []
    gradient(
        lambda t: expectation(
            lambda z: calls.append(len(z)) or smooth((40,))(z), t, family_one, ARSM(), generator=generator()
        ).sum(),
        many,
    )
    assert sum(calls) <= 40


@pytest.mark.parametrize(
    "case", [case for case in CASES if "4-classes" in case.families], ids=lambda case: case.name
)
@pytest.mark.parametrize("classes", [2, 1000])
def test_two_classes_and_a_thousand(case, classes):
    if case.name == "ars-pivot" and classes > 2:
        pytest.skip("the same as ars")
    theta = rows((classes,), 40 if classes == 2 else 2).float()
    found = gradients_of(case.make((classes,)), smooth((classes,)), theta, Categorical())
    assert found.isfinite().all()
    assert found.abs().max() > 0


def test_disarm_is_the_mean_of_arm_given_the_samples():
    """Noise within an interval that leaves both samples as they are averages to DisARM's weight."""
    theta = torch.tensor([0.8], dtype=torch.float64)
    u = torch.linspace(0, 1, 2_000_002, dtype=torch.float64)[1:-1, None]
    noise = torch.logit(u)
    pairs = antithetic_pairs(theta, noise)
    first, second = pairs.chunk(2)
    values = two_values(pairs)
    one, other = values.chunk(2)
    arm = (one - other)[:, None] * (u - 0.5)
    for kind in ((1, 0), (0, 1)):
        same = (first[:, 0] == kind[0]) & (second[:, 0] == kind[1])
        chosen = torch.cat([same, same])
        expected = disarm_gradient(values[chosen], pairs[chosen], theta, 1)
        torch.testing.assert_close(arm[same].mean(0), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(arm.mean(0), arm_gradient(values, noise, 1))
    exact = torch.sigmoid(theta) * torch.sigmoid(-theta) * SLOPE
    torch.testing.assert_close(arm_gradient(values, noise, 1), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(disarm_gradient(values, pairs, theta, 1), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_leave_one_out_is_the_score_with_the_others_as_baseline(name):
    family, event = FAMILIES[name]
    theta, f = rows(event, 4), smooth(event)
    z = family.sample(theta, 5, generator())
    values = f(z)
    others = (values.sum(0) - values) / 4
    expected = score_function_gradient(values, others, family.score(theta, z), len(event))
    torch.testing.assert_close(leave_one_out_gradient(values, z, len(event)), expected)


# The deterministic versions: low-discrepancy points through the pure functions.


def sobol(dimensions, number=2**16):
    points = torch.quasirandom.SobolEngine(dimensions).draw(number + 1, dtype=torch.float64)[1:]
    return points.clamp(1e-12, 1 - 1e-12)


def exact_gradient(f, theta, family):
    return gradient(lambda t: expectation(f, t, family, Enumerate()), theta)


def control_variate_mean(f, theta, family, given, surrogate=None):
    """The mean of RELAX's gradient, with `given(theta, z, noise)` as conditional law."""
    size = theta.numel()
    points = sobol(2 * size).reshape(-1, 2, *theta.shape)
    bits = isinstance(family, Bernoulli)
    first, second = (torch.logit(points) if bits else -torch.log(-torch.log(points))).unbind(1)
    leaf = theta.expand(len(points), *theta.shape).clone().requires_grad_()
    zeta = (leaf if bits else torch.log_softmax(leaf, -1)) + first
    z = family.harden(zeta)
    again = given(leaf if bits else torch.log_softmax(leaf, -1), z, second)
    draw = CoupledDraw(leaf, zeta, z, again, family.score(leaf.detach(), z))
    surrogate = surrogate or Surrogate(theta.shape)
    found = control_variate_gradient(f(z), surrogate(zeta), surrogate(again), draw, family.event_dim)
    return found.detach().mean(0)


CONDITIONED = [(Bernoulli(), (2,)), (Categorical(), (3,)), (Categorical(event_dim=2), (2, 2))]


def conditional_law(family):
    return conditional.logistic_given if isinstance(family, Bernoulli) else conditional.gumbel_given


@pytest.mark.parametrize(("family", "event"), CONDITIONED, ids=["bits", "classes", "2x2-classes"])
def test_relax_by_quadrature(family, event):
    theta, f = theta_of(event), smooth(event)
    found = control_variate_mean(f, theta, family, conditional_law(family))
    torch.testing.assert_close(found, exact_gradient(f, theta, family), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("family", "event"), CONDITIONED, ids=["bits", "classes", "2x2-classes"])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_rebar_by_quadrature(family, event, temperature):
    theta, f = theta_of(event), smooth(event)
    found = control_variate_mean(
        f, theta, family, conditional_law(family), lambda zeta: 0.7 * f(family.relax(zeta, temperature))
    )
    torch.testing.assert_close(found, exact_gradient(f, theta, family), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("baseline", [0.0, 0.8])
def test_the_score_function_by_enumeration(name, baseline):
    family, event = FAMILIES[name]
    theta, f, dims = theta_of(event), smooth(event), len(event)
    support = family.support(event, dtype=torch.float64)
    weights = family.log_prob(theta, support).exp().reshape(-1, *(1,) * dims)
    each = score_function_gradient(f(support)[None], baseline, family.score(theta, support)[None], dims)
    torch.testing.assert_close((weights * each).sum(0), exact_gradient(f, theta, family))


@pytest.mark.parametrize("name", FAMILIES)
def test_leave_one_out_by_enumeration_of_pairs(name):
    family, event = FAMILIES[name]
    theta, f, dims = theta_of(event), smooth(event), len(event)
    support = family.support(event, dtype=torch.float64)
    weights = family.log_prob(theta, support).exp()
    first, second = torch.cartesian_prod(torch.arange(len(support)), torch.arange(len(support))).T
    pairs = torch.stack([support[first], support[second]])
    found = leave_one_out_gradient(f(pairs), pairs, dims)
    weight = (weights[first] * weights[second]).reshape(-1, *(1,) * dims)
    torch.testing.assert_close((weight * found).sum(0), exact_gradient(f, theta, family))


def test_pairs_by_quadrature():
    theta, f, family = theta_of((3,)), smooth((3,)), Bernoulli()
    noise = torch.logit(sobol(3))
    exact = exact_gradient(f, theta, family)
    pairs = antithetic_pairs(theta, noise)
    values = f(pairs)
    for found in (arm_gradient(values, noise, 1), disarm_gradient(values, pairs, theta, 1)):
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-3)
    samples, weights = ar_binary(theta, noise)
    torch.testing.assert_close((f(samples)[:, None] * weights).mean(0), exact, rtol=0, atol=2e-3)


def test_swaps_by_quadrature():
    theta, family = theta_of((2, 3)), Categorical(event_dim=2)
    f = smooth((2, 3))
    noise = torch.log(-torch.log(sobol(6).reshape(-1, 2, 3)))
    exact = exact_gradient(f, theta, family)
    _, values = values_of_choices(
        f, swapped_choices(theta, noise, *all_pairs(3, theta.device)), 0, (2, 3), theta.dtype
    )
    torch.testing.assert_close(arsm_gradient(values, noise.softmax(-1)), exact, rtol=0, atol=2e-3)
    for pivot in range(3):
        classes = torch.arange(3)
        choices = swapped_choices(theta, noise, classes, torch.full_like(classes, pivot))
        _, swapped = values_of_choices(f, choices, pivot, (2, 3), theta.dtype)
        torch.testing.assert_close(ars_gradient(swapped, noise.softmax(-1), pivot), exact, rtol=0, atol=2e-3)
    samples, weights = ar_categorical(theta, -noise)
    torch.testing.assert_close((f(samples)[:, None, None] * weights).mean(0), exact, rtol=0, atol=2e-3)


# Known wrong variants: the proofs above must not let them pass.


def own_noise_in_place_of_the_winners(log_probabilities, z, noise):
    winner = (z * noise).sum(-1, keepdim=True)
    others = -torch.log(torch.exp(-noise) / log_probabilities.exp() + torch.exp(-noise))
    return torch.where(z > 0, winner, others)


def log_of_one_plus(theta, z, noise):
    """`log p + log1p(p)` in place of `log p - log1p(-p)`, and so for v."""
    p, v = torch.sigmoid(theta), torch.sigmoid(noise)
    moved = torch.where(z > 0, v * p + 1 - p, v * (1 - p))
    return p.log() + torch.log1p(p) + moved.log() + torch.log1p(moved)


@pytest.mark.parametrize(("family", "event"), CONDITIONED, ids=["bits", "classes", "2x2-classes"])
def test_the_other_conditional_law_is_caught(family, event):
    theta, f = theta_of(event, scale=0.3), smooth(event)
    wrong = log_of_one_plus if isinstance(family, Bernoulli) else own_noise_in_place_of_the_winners
    error = control_variate_mean(f, theta, family, wrong) - exact_gradient(f, theta, family)
    assert error.abs().max() > 0.01


def test_a_baseline_updated_before_use_is_caught():
    family, event = FAMILIES["3-bits"]
    f, theta = smooth(event), theta_of(event)
    many = theta.expand(REPLICATES, *theta.shape)
    exact = exact_gradient(f, theta, family)

    def largest_z(baseline_of):
        z = family.sample(many, 1, generator(1))
        found = score_function_gradient(f(z), baseline_of(f(z)), family.score(many, z), 1)
        return ((found.mean(0) - exact) / (found.std(0) / math.sqrt(REPLICATES))).abs().max()

    def warm():
        average = MovingAverage(0.9, (REPLICATES,)).double()
        for seed in range(2, 12):
            average(f(family.sample(many, 1, generator(seed))))
        return average

    def updated_first(values):
        average = warm()
        average(values)
        return average.eval()(values)

    assert largest_z(warm()) < LARGEST_Z
    assert largest_z(updated_first) > 2 * LARGEST_Z


@pytest.mark.parametrize("wrong", ["sign", "no-absolute", "no-half"])
def test_a_wrong_weight_of_pairs_is_caught(wrong):
    family, event = FAMILIES["3-bits"]
    f, theta = smooth(event), -theta_of(event)
    noise = torch.logit(sobol(3))
    pairs = antithetic_pairs(theta, noise)
    one, other = f(pairs).chunk(2)
    first, second = pairs.chunk(2)
    slope = torch.sigmoid(theta if wrong == "no-absolute" else theta.abs())
    found = ((one - other)[:, None] * (first - second)).mean(0) * slope / (1 if wrong == "no-half" else 2)
    found = -found if wrong == "sign" else found
    exact = exact_gradient(f, theta, family)
    assert (found - exact).abs().max() > 0.02


@pytest.mark.parametrize("wrong", ["per-variable", "sign"])
def test_wrong_swaps_are_caught(wrong):
    """Swapping each variable alone, or adding noise to the wrong side of the race."""
    theta, family = theta_of((2, 3)), Categorical(event_dim=2)
    f = smooth((2, 3))
    noise = torch.log(-torch.log(sobol(6).reshape(-1, 2, 3)))
    exact = exact_gradient(f, theta, family)
    if wrong == "sign":
        choice = (noise - theta).argmax(-1)
        values = f(torch.nn.functional.one_hot(choice, 3).double())
        found = (values[:, None, None] * (1 - 3 * noise.softmax(-1))).mean(0)
    else:
        # f after the swap of the first variable only, used for both.
        simplex, found = noise.softmax(-1), 0
        for j in range(3):
            swapped = []
            for c in range(3):
                order = list(range(3))
                order[c], order[j] = j, c
                race = torch.stack([noise[:, 0, order], noise[:, 1]], 1)
                swapped.append(f(torch.nn.functional.one_hot((race - theta).argmin(-1), 3).double()))
            values = torch.stack(swapped, -1)
            centred = values - values.mean(-1, keepdim=True)
            found = found + (centred[:, None, :] * (1 / 3 - simplex[:, :, j : j + 1])).mean(0)
    assert (found - exact).abs().max() > 0.02


# State and tuning.


def test_the_moving_average_reads_then_updates():
    average = MovingAverage(0.5)
    first = torch.tensor([[1.0, 3.0]])
    assert average(first).item() == 0
    assert average(first * 2).item() == pytest.approx(2.0)
    expected = (0.5 * 0.5 * 2 + 0.5 * 4) / (1 - 0.25)
    assert average.eval()(first).item() == pytest.approx(expected)
    assert average(first).item() == pytest.approx(expected)
    assert set(average.state_dict()) == {"average", "count"}


def test_a_moving_average_per_row():
    average = MovingAverage(0.5, (2,))
    average(torch.tensor([[1.0, 3.0], [3.0, 5.0]]))
    average(torch.tensor([[math.nan, 3.0], [3.0, 4.0]]))
    assert average.eval()(torch.zeros(1, 2)).tolist() == pytest.approx([2.0, (1 + 1.75) / 0.75])
    with pytest.raises(InvalidInputError, match=r"`batch_shape` is \(2,\)"):
        average(torch.zeros(1, 3))


def test_no_baseline_moves_without_a_gradient():
    estimator = Reinforce(1, MovingAverage())
    f, theta = smooth((3,)), theta_of((3,), 2)
    expectation(f, theta, Bernoulli(), estimator)
    assert estimator.baseline.count.item() == 0
    expectation(f, theta.requires_grad_(), Bernoulli(), estimator)
    assert estimator.baseline.count.item() == 1
    estimator.eval()
    expectation(f, theta, Bernoulli(), estimator)
    assert estimator.baseline.count.item() == 1


def test_a_network_learns_the_mean():
    net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Flatten(0))
    estimator = Reinforce(4, net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    theta = one_bit().float().expand(200, 1).clone().requires_grad_()
    source = generator()
    for _ in range(60):
        optimizer.zero_grad()
        estimate(two_values, theta, Bernoulli(), estimator, generator=source).variance_loss.backward()
        optimizer.step()
    # 800 values of f a step, of deviation 0.77.
    assert net(theta[:1]).item() == pytest.approx(P * F1 + (1 - P) * F0, abs=0.1)


def trained_variance(estimator, f, theta, family, steps=150, lr=0.05):
    optimizer = torch.optim.Adam(estimator.parameters(), lr=lr)
    source = generator()
    many = theta.expand(256, *theta.shape).clone().requires_grad_()
    before = gradient_stats(estimator, f, theta, family, 4000, generator=generator(1)).total_variance
    for _ in range(steps):
        optimizer.zero_grad()
        estimate(f, many, family, estimator, generator=source).variance_loss.backward()
        optimizer.step()
    after = gradient_stats(estimator, f, theta, family, 4000, generator=generator(1))
    assert after.largest_z < LARGEST_Z
    return before, after.total_variance


def test_rebar_tunes_itself():
    """From a bad start, to a variance below that of no control variate at all."""
    f, theta = smooth((3,)), theta_of((3,))
    before, after = trained_variance(Rebar(eta=-1.0, temperature=3.0), f, theta, Bernoulli())
    plain = gradient_stats(Reinforce(1, "none"), f, theta, Bernoulli(), 4000, generator=generator(1))
    assert after < 0.5 * before
    assert after < 0.7 * plain.total_variance


def test_relax_learns_its_surrogate():
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 8, dtype=torch.float64),
        torch.nn.Tanh(),
        torch.nn.Linear(8, 1, dtype=torch.float64),
        torch.nn.Flatten(-2),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in net:
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()
    before, after = trained_variance(Relax(net), two_values, one_bit(), Bernoulli())
    assert after < 0.1 * before


def test_parameters_are_saved_and_moved():
    assert set(Rebar().state_dict()) == {"eta", "log_temperature"}
    relax = Relax(Surrogate((3,)), with_relaxation=True)
    assert set(relax.state_dict()) == {"surrogate.weights", "log_temperature"}
    assert set(Reinforce(1, MovingAverage()).state_dict()) == {"baseline.average", "baseline.count"}


def test_nothing_to_tune_has_no_loss():
    theta = theta_of((3,), 2).requires_grad_()
    frozen = Rebar().requires_grad_(False)
    assert estimate(smooth((3,)), theta, Bernoulli(), frozen).variance_loss is None
    for estimator in (
        Reinforce(),
        ARM(),
        Relax(Constant(1.0, 1)),
        Reinforce(1, Mean((3,)).requires_grad_(False)),
    ):
        result = estimate(smooth((3,)), theta, Bernoulli(), estimator)
        assert isinstance(result, Estimate)
        assert result.variance_loss is None


# Lifts.


def test_straight_through_lifts_on_exact_samples():
    """On a linear f, the mean of the identity rule is the slope itself; the value is exact in the mean."""
    theta = theta_of((3,)).expand(REPLICATES, 3)
    weights = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    for family, noise in ((Bernoulli(), Logistic()), (Categorical(), Gumbel())):
        estimator = pathwise(StraightThrough(family, noise=noise))
        found = gradient(
            lambda t, family=family, estimator=estimator: expectation(
                lambda z: z @ weights, t, family, estimator, generator=generator()
            ).sum(),
            theta,
        )
        torch.testing.assert_close(found, weights.expand_as(found))
        values = expectation(lambda z: z @ weights, theta, family, estimator, generator=generator())
        exact = family.marginals(theta[0]) @ weights
        assert (values.mean() - exact).abs() < LARGEST_Z * values.std() / math.sqrt(REPLICATES)


# Wrong input.


def test_bad_options_are_refused_by_name():
    for make in (Reinforce, ARM, DisARM, AR, ARS, ARSM, Rebar):
        with pytest.raises(InvalidInputError, match="`num_samples` must be"):
            make(0)
    with pytest.raises(InvalidInputError, match="needs `num_samples` of at least 2"):
        Reinforce(1)
    with pytest.raises(InvalidInputError, match=r"`baseline` must be one of .* not 'ema'"):
        Reinforce(2, "ema")
    with pytest.raises(InvalidInputError, match="`decay` must be between 0 and 1"):
        MovingAverage(1.0)
    with pytest.raises(InvalidInputError, match="`temperature` must be positive"):
        Rebar(temperature=0.0)
    with pytest.raises(InvalidInputError, match="`eta` must be finite"):
        Rebar(eta=math.nan)
    with pytest.raises(InvalidInputError, match="`surrogate` must be a Module"):
        Relax(torch.tanh)
    with pytest.raises(InvalidInputError, match="`pivot` must be a class"):
        ARS(pivot=-1)
    with pytest.raises(InvalidInputError, match="`pivot` is 4, and there are 4 classes"):
        gradients_of(ARS(pivot=4), smooth((4,)), rows((4,)), Categorical())


@every_row
def test_wrong_values_and_instances_are_refused(case, name):
    estimator, f, theta, family = setup(case, name, 3)
    theta.requires_grad_()
    with pytest.raises(InvalidInputError, match=r"`f` must return one value per sample and row"):
        expectation(lambda z: f(z).sum(), theta, family, estimator)
    with pytest.raises(InvalidInputError, match=r"takes no `instances` \(got 'rhs'\)"):
        expectation(f, theta, family, estimator, instances={"rhs": [1.0, 2.0, 3.0]})
    if case.differentiates:
        weight = torch.ones((), requires_grad=True)  # with it the values have a graph, but not of z
        for detached in (lambda z: f(z.detach()), lambda z: weight * f(z.detach())):
            with pytest.raises(InvalidInputError, match="`f` must be differentiable at relaxed decisions"):
                expectation(detached, theta, family, estimator)


def test_wrong_networks_are_refused():
    theta = theta_of((3,), 2).requires_grad_()
    f = smooth((3,))
    with pytest.raises(InvalidInputError, match=r"`baseline` must return one value per row, \(2,\)"):
        expectation(f, theta, Bernoulli(), Reinforce(1, torch.nn.Linear(3, 1, dtype=torch.float64)))
    with pytest.raises(InvalidInputError, match=r"`surrogate` must return one value per sample"):
        expectation(f, theta, Bernoulli(), Relax(torch.nn.Linear(3, 1, dtype=torch.float64)))
    with pytest.raises(InvalidInputError, match="`estimator` is the class ARM: call it"):
        expectation(f, theta, Bernoulli(), ARM)


# Diagnostics.


def test_stats_are_moments():
    stats = gradient_stats(DisARM(), two_values, one_bit(), Bernoulli(), 70_000, generator=generator())
    exact = P * (1 - P) * SLOPE
    assert stats.exact.item() == pytest.approx(exact)
    assert stats.standard_error.item() == pytest.approx((stats.total_variance / 70_000) ** 0.5)
    assert stats.z.item() == pytest.approx((stats.mean.item() - exact) / stats.standard_error.item())
    assert stats.evaluations == 2
    assert stats.replicates == 70_000
    assert stats.seconds > 0
    table = markdown_table({"DisARM": stats})
    assert table.splitlines()[2].startswith(
        f"| DisARM | {stats.largest_z:.1f} | {stats.relative_error:.3g} | {stats.total_variance:.3g} | 2 |"
    )


def test_stats_of_several_calls_are_those_of_all_replicates():
    f, theta, family, sizes = smooth((2, 3)), theta_of((2, 3)), Categorical(event_dim=2), (4096, 4096, 808)
    stats = gradient_stats(ARSM(), f, theta, family, 9000, generator=generator(3))
    source = generator(3)
    parts = [
        gradient(
            lambda t: expectation(f, t, family, ARSM(), generator=source).sum(), theta.expand(size, 2, 3)
        )
        for size in sizes
    ]
    every = torch.cat(parts)
    torch.testing.assert_close(stats.mean, every.mean(0))
    torch.testing.assert_close(stats.variance, every.var(0))
    exact = exact_gradient(f, theta, family)
    assert stats.relative_error == pytest.approx(((every.mean(0) - exact).norm() / exact.norm()).item())
    assert stats.replicates == 9000


def test_the_time_of_a_replicate_is_that_of_most_calls(monkeypatch):
    # Five calls of one second a replicate, and one that was held up.
    clock = iter([0, 4096, 0, 4096, 0, 4096, 0, 9e9, 0, 4096, 0, 10])
    monkeypatch.setattr("imle_opt.diagnostics.time.perf_counter", lambda: next(clock))
    stats = gradient_stats(ARM(), two_values, one_bit(), Bernoulli(), 5 * 4096 + 10, generator=generator())
    assert stats.seconds == 1


def test_the_table_says_what_has_no_variance_and_is_off():
    theta, weights = theta_of((3,)), torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    lift = pathwise(StraightThrough(Bernoulli(), noise=Logistic()))
    made = {
        name: gradient_stats(estimator, lambda z: z @ weights, theta, Bernoulli(), 10, generator=generator())
        for name, estimator in (("lift", lift), ("exact", Enumerate()))
    }
    assert math.isinf(made["lift"].largest_z)
    off = ((weights - made["lift"].exact).norm() / made["lift"].exact.norm()).item()
    lines = markdown_table(made).splitlines()
    assert lines[2].startswith(f"| lift | ∞ | {off:.3g} | 0 | 1 |")
    assert lines[3].startswith("| exact | 0.0 | 0 | 0 | 8 |")
    assert [line.count("|") for line in lines] == [7] * 4


def test_stats_of_a_biased_estimator_show_it():
    estimator = pathwise(StraightThrough(Bernoulli(), noise=Logistic()))
    stats = gradient_stats(estimator, lambda z: z[..., 0] ** 3, one_bit(), Bernoulli(), 1000)
    assert stats.largest_z > 20
    exact = gradient_stats(Enumerate(), two_values, one_bit(), Bernoulli(), 10)
    assert exact.largest_z == 0
    assert exact.total_variance < 1e-30


def test_stats_without_enumeration_and_with_bad_input():
    solver = opaque("max")
    stats = gradient_stats(pathwise(StraightThrough(solver)), lambda z: z.sum(-1), theta_of((5,)), solver, 5)
    assert stats.z is None
    assert math.isnan(stats.largest_z)
    with pytest.raises(InvalidInputError, match="`theta` must be one row"):
        gradient_stats(ARM(), two_values, one_bit()[None], Bernoulli(), 5)
    with pytest.raises(InvalidInputError, match="`n` must be at least 2"):
        gradient_stats(ARM(), two_values, one_bit(), Bernoulli(), 1)


def test_a_large_subset_needs_no_marginals():
    """Leave-one-out asks for samples only."""

    class SamplesOnly:
        event_dim, sign = 1, 1.0

        def map(self, theta, *, instances=None, deterministic=True):
            return KSubset(2).map(theta)

        def sample(self, theta, num_samples=1, generator=None):
            return KSubset(2).sample(theta, num_samples, generator)

    theta, f = rows((4,)), smooth((4,))
    found = gradients_of(Reinforce(3), f, theta, SamplesOnly())
    torch.testing.assert_close(found, gradients_of(Reinforce(3), f, theta, KSubset(2)))
    with pytest.raises(MissingCapabilityError, match="Reinforce without the leave-one-out baseline` needs"):
        gradients_of(Reinforce(3, "none"), f, theta, SamplesOnly())
