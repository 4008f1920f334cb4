from __future__ import annotations

import math

import pytest
import torch

from cases_estimators import (
    CASES,
    FAMILIES,
    Constant,
    Surrogate,
    gradients_of,
    rows,
    smooth,
)
from imle_opt.diagnostics import gradient_stats
from imle_opt.estimators import (
    AR,
    ARM,
    ARS,
    ARSM,
    DisARM,
    Rebar,
    Reinforce,
    Relax,
)
from imle_opt.estimators.arm import antithetic_pairs, arm_gradient
from imle_opt.estimators.arsm import all_pairs
from imle_opt.estimators.disarm import disarm_gradient
from imle_opt.estimators.reinforce import leave_one_out_gradient, score_function_gradient
from imle_opt.estimators.swaps import swapped_choices
from imle_opt.expectations import estimate, expectation
from imle_opt.families import Bernoulli, Categorical, KSubset
from imle_opt.noise import Gumbel
from imle_opt_solvers.errors import MissingCapabilityError
from one_bit import F0, F1, SLOPE, P, one_bit, two_values
from opaque import generator, gradient

# Variances against closed forms: one variable, so that the sums are short.


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
