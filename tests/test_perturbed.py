"""The perturbed layer: values and Jacobians against closed forms, scores against densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from imle_opt.families import Categorical
from imle_opt.layers import Perturbed
from imle_opt.layers.perturbed import perturbed_gradient
from imle_opt.noise import (
    Exponential,
    Gumbel,
    Logistic,
    Multiplicative,
    NoNoise,
    Normal,
    SmoothNoise,
    SumOfGamma,
)
from imle_opt_solvers.errors import InvalidInputError
from opaque import SENSES, GivenNoise, Recorder, best, generator, gradient, normal, opaque, sign_of

senses = pytest.mark.parametrize("sense", SENSES)
SIGMAS = 5.0
ROWS, SAMPLES = 4000, 25
SMOOTH = [Normal(0.7), Gumbel(0.7), Multiplicative(0.7)]
smooth = pytest.mark.parametrize("noise", SMOOTH, ids=lambda noise: type(noise).__name__)


def two_classes(noise, theta):
    """Return the probability of the first of two classes, differentiable in theta (2,)."""
    if isinstance(noise, Gumbel):
        return torch.sigmoid((theta[0] - theta[1]) / noise.temperature)
    distance = theta[0].log() - theta[1].log() if isinstance(noise, Multiplicative) else theta[0] - theta[1]
    return torch.special.ndtr(distance / (noise.temperature * math.sqrt(2)))


@smooth
@pytest.mark.parametrize("baseline", ["leave-one-out", "optimum", "none"])
def test_two_classes_match_the_closed_form(noise, baseline):
    theta = torch.tensor([1.3, 0.9], dtype=torch.float64)
    layer = Perturbed(Categorical(), noise=noise, num_samples=SAMPLES, baseline=baseline)
    costs = theta.expand(ROWS, 2).clone().requires_grad_()
    z = layer(costs, generator=generator())[0]
    expected = two_classes(noise, theta)
    error = math.sqrt(expected * (1 - expected) / (ROWS * SAMPLES))
    assert z[:, 0].mean().item() == pytest.approx(expected.item(), abs=SIGMAS * error)

    z[:, 0].sum().backward()
    slope = torch.autograd.functional.jacobian(lambda t: two_classes(noise, t), theta)
    spread = costs.grad.std(0) / math.sqrt(ROWS)
    assert ((costs.grad.mean(0) - slope).abs() < SIGMAS * spread).all()
    # The estimate is good enough for that to mean something.
    assert (spread < 0.05 * slope.abs()).all()


def test_gumbel_noise_on_one_hot_decisions_has_the_jacobian_of_the_softmax():
    theta, temperature = torch.tensor([0.3, -0.4, 0.8, 0.0], dtype=torch.float64), 0.7
    layer = Perturbed(Categorical(), noise=Gumbel(temperature), num_samples=SAMPLES)
    costs = theta.expand(ROWS, 4).clone().requires_grad_()
    weight = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    (layer(costs, generator=generator())[0] * weight).sum().backward()
    p = torch.softmax(theta / temperature, -1)
    expected = (p * weight - p * (p @ weight)) / temperature
    error = costs.grad.std(0) / math.sqrt(ROWS)
    assert ((costs.grad.mean(0) - expected).abs() < SIGMAS * error).all()


@smooth
@senses
def test_the_gradient_is_its_formula(noise, sense):
    costs, weight = normal(6, 5).abs() + 0.1, normal(6, 5, seed=1)
    theta = sign_of(sense) * costs
    drawn = noise.draw((3, 6, 5), generator=generator(1), dtype=torch.float64, device="cpu")
    z = best(noise.perturb(theta, drawn))
    others = torch.stack([z[[1, 2]].mean(0), z[[0, 2]].mean(0), z[[0, 1]].mean(0)])
    for baseline, b in (
        ("none", 0),
        ("optimum", best(theta)),
        ("leave-one-out", others),
        ("auto", others),
    ):
        layer = Perturbed(opaque(sense), noise=noise, num_samples=3, baseline=baseline)
        assert torch.equal(layer(costs, generator=generator(1))[0], z.mean(0))
        along = (weight * (z - b)).sum(-1, keepdim=True)
        expected = sign_of(sense) * (along * noise.score(theta, drawn)).mean(0)
        found = gradient(lambda c, layer=layer: (weight * layer(c, generator=generator(1))[0]).sum(), costs)
        torch.testing.assert_close(found, expected)
        assert found.count_nonzero() >= 10


@pytest.mark.parametrize("noise", [Normal(0.3), Gumbel(0.3), Multiplicative(0.3)], ids=repr)
def test_baselines_lower_the_variance(noise):
    costs, weight = normal(5).expand(ROWS, 5), normal(5, seed=1)

    def variance(baseline):
        layer = Perturbed(opaque(), noise=noise, num_samples=4, baseline=baseline)
        found = gradient(lambda c: (weight * layer(c, generator=generator(2))).sum(), costs)
        return found.var(0).sum().item()

    assert variance("leave-one-out") < 0.8 * variance("none")
    assert variance("optimum") < 0.8 * variance("none")


@pytest.mark.parametrize(
    ("noise", "log_density"),
    [
        (Normal(0.7), lambda x, theta: stats.norm.logpdf(x, theta, 0.7)),
        (Gumbel(0.7), lambda x, theta: stats.gumbel_r.logpdf(x, theta, 0.7)),
        (Logistic(0.7), lambda x, theta: stats.logistic.logpdf(x, theta, 0.7)),
        (Multiplicative(0.7), lambda x, theta: stats.lognorm.logpdf(x, 0.7, scale=theta * np.exp(-0.245))),
    ],
    ids=["Normal", "Gumbel", "Logistic", "Multiplicative"],
)
def test_scores_are_derivatives_of_log_densities(noise, log_density):
    theta = torch.tensor([0.4, 1.0, 2.5], dtype=torch.float64)
    drawn = noise.draw((50, 3), generator=generator(), dtype=torch.float64, device="cpu")
    x, at, step = noise.perturb(theta, drawn).numpy(), theta.numpy(), 1e-6
    difference = (log_density(x, at + step) - log_density(x, at - step)) / (2 * step)
    np.testing.assert_allclose(noise.score(theta, drawn).numpy(), difference, rtol=1e-5, atol=1e-6)


def test_entries_of_zero_are_not_perturbed_by_factors_and_have_no_score():
    theta = torch.tensor([0.0, 1.0], dtype=torch.float64)
    drawn = Multiplicative(0.5).draw((9, 2), generator=generator(), dtype=torch.float64, device="cpu")
    score = Multiplicative(0.5).score(theta, drawn)
    assert (score[:, 0] == 0).all()
    assert score.isfinite().all()


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shapes_modes_and_dtypes(batch, dtype):
    layer = Perturbed(opaque(), num_samples=4)
    costs = normal(*batch, 5).to(dtype).requires_grad_()
    samples = layer(costs)
    assert samples.shape == (1, *batch, 5)
    assert samples.dtype == dtype
    samples.square().sum().backward()
    assert costs.grad.dtype == dtype
    assert costs.grad.isfinite().all()
    assert layer.eval()(costs).shape == costs.shape


def test_the_number_of_samples_does_not_scale_the_gradient():
    # The layer has one output, whatever S is.
    eps = normal(1, 6, 5, seed=1)
    costs, weight = normal(6, 5), normal(6, 5, seed=2)

    def found(samples):
        layer = Perturbed(
            opaque(), noise=Repeated(eps.expand(samples, 6, 5)), num_samples=samples, baseline="none"
        )
        return gradient(lambda c: (weight * layer(c)).sum(), costs)

    assert found(1).count_nonzero() > 10
    torch.testing.assert_close(found(4), found(1))


class Repeated(GivenNoise):
    def score(self, theta, drawn):
        return drawn


def test_rows_without_a_decision_are_nan_and_have_no_gradient():
    allowed = torch.ones(3, 7)
    allowed[1] = 0
    costs = normal(3, 5).requires_grad_()
    z = Perturbed(Recorder(on_failure="nan"), num_samples=3)(costs, instances={"allowed": allowed})
    assert z[0].isnan().all(-1).tolist() == [False, True, False]
    z.nansum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    assert costs.grad.isfinite().all()


def test_one_failed_sample_is_enough_for_a_row_without_a_gradient():
    compared, score = normal(3, 2, 5), normal(3, 2, 5, seed=1)
    compared[1, 0] = torch.nan
    found = perturbed_gradient(normal(2, 5, seed=2), compared, score, 1)
    assert torch.equal(found[0], torch.zeros(5, dtype=torch.float64))
    along = (normal(2, 5, seed=2)[1] * compared[:, 1]).sum(-1, keepdim=True)
    torch.testing.assert_close(found[1], (along * score[:, 1]).mean(0))


def test_one_sample_is_compared_with_the_optimum():
    solver = Recorder()
    assert Perturbed(solver).baseline == "optimum"
    Perturbed(solver)(normal(3, 5))
    assert solver.rows == [3, 3]
    Perturbed(solver, num_samples=4)(normal(3, 5))
    assert solver.rows == [3, 3, 12]


@pytest.mark.parametrize("noise", [SumOfGamma(2), Exponential(1.0), NoNoise()], ids=repr)
def test_noise_without_a_smooth_density_is_refused(noise):
    assert not isinstance(noise, SmoothNoise)
    with pytest.raises(InvalidInputError, match="`noise` must have a smooth density"):
        Perturbed(opaque(), noise=noise)


def test_bad_options_are_refused():
    with pytest.raises(InvalidInputError, match="`baseline='leave-one-out'` is the mean of the other"):
        Perturbed(opaque(), baseline="leave-one-out")
    with pytest.raises(InvalidInputError, match="`baseline` must be one of 'auto'"):
        Perturbed(opaque(), baseline="mean")
