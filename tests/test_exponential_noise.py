"""Exponential noise: its law, its sign, and what it does to a choice of two."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from imle_opt import Categorical, ExplicitMLE, FunctionSolver, InvalidInputError
from imle_opt.noise import Exponential
from opaque import generator


def draw(noise, shape, dtype=torch.float64, seed=0):
    return noise.draw(shape, generator=generator(seed), dtype=dtype, device="cpu")


def test_its_law():
    drawn = draw(Exponential(2.5), (20_000,))
    assert (drawn <= 0).all()
    assert stats.kstest(-drawn.numpy(), stats.expon(scale=2.5).cdf).pvalue > 0.01


def test_the_same_generator_gives_the_same_noise():
    assert torch.equal(draw(Exponential(1.0), (5, 3)), draw(Exponential(1.0), (5, 3)))
    assert not torch.equal(draw(Exponential(1.0), (5, 3)), draw(Exponential(1.0), (5, 3), seed=1))
    assert torch.equal(draw(Exponential(3.0), (5, 3)), 3 * draw(Exponential(1.0), (5, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_noise_is_at_least_single_precision(dtype):
    assert draw(Exponential(1.0), (2,), dtype).dtype == torch.float32


def test_costs_of_a_minimisation_stay_nonnegative():
    seen = []

    def cheapest(costs):
        seen.append(costs.min())
        return torch.eye(costs.shape[1])[costs.argmin(1)].numpy()

    solver = FunctionSolver(cheapest, (3,), "min", batched=True)
    costs = torch.tensor([[0.0, 0.5, 4.0]]).expand(200, 3)
    ExplicitMLE(solver, noise=Exponential(1.0))(costs, solutions=torch.eye(3)[:1].expand(200, 3))
    assert min(seen) >= 0


def test_the_choice_of_two_has_its_closed_form():
    """`P(c_1 + tau E_1 > c_2 + tau E_2) = exp(-(c_2 - c_1) / tau) / 2` for c_1 < c_2."""
    gap, temperature, draws = 0.7, 0.9, 40_000
    theta = torch.tensor([0.0, -gap], dtype=torch.float64, requires_grad=True)
    loss = ExplicitMLE(
        Categorical(), noise=Exponential(temperature), num_samples=draws, generator=generator()
    )
    loss(theta, solutions=torch.tensor([1.0, 0.0], dtype=torch.float64)).backward()
    expected = math.exp(-gap / temperature) / 2
    error = math.sqrt(expected * (1 - expected) / draws)
    assert theta.grad[1].item() == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_temperature_is_refused(temperature):
    with pytest.raises(InvalidInputError, match="`temperature` must be positive"):
        Exponential(temperature)
