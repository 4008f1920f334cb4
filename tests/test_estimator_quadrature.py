from __future__ import annotations

import math

import pytest
import torch

from cases_estimators import (
    FAMILIES,
    LARGEST_Z,
    REPLICATES,
    Surrogate,
    exact_gradient,
    smooth,
    theta_of,
)
from imle_opt.estimators import (
    MovingAverage,
)
from imle_opt.estimators.arm import antithetic_pairs, arm_gradient
from imle_opt.estimators.ars import ars_gradient
from imle_opt.estimators.arsm import all_pairs, arsm_gradient
from imle_opt.estimators.augment import ar_binary, ar_categorical
from imle_opt.estimators.control_variate import CoupledDraw, control_variate_gradient
from imle_opt.estimators.disarm import disarm_gradient
from imle_opt.estimators.reinforce import leave_one_out_gradient, score_function_gradient
from imle_opt.estimators.swaps import swapped_choices, values_of_choices
from imle_opt.families import Bernoulli, Categorical, conditional
from opaque import generator

# The deterministic versions: low-discrepancy points through the pure functions.


def sobol(dimensions, number=2**16):
    points = torch.quasirandom.SobolEngine(dimensions).draw(number + 1, dtype=torch.float64)[1:]
    return points.clamp(1e-12, 1 - 1e-12)


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
