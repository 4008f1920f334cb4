from __future__ import annotations

import math

import pytest
import torch

from cases_estimators import (
    LARGEST_Z,
    Constant,
    Mean,
    Surrogate,
    smooth,
    theta_of,
)
from imle_opt.diagnostics import gradient_stats
from imle_opt.estimators import (
    ARM,
    MovingAverage,
    Rebar,
    Reinforce,
    Relax,
)
from imle_opt.estimators.estimator import Estimate
from imle_opt.expectations import estimate, expectation
from imle_opt.families import Bernoulli
from imle_opt_solvers.errors import InvalidInputError
from one_bit import F0, F1, P, one_bit, two_values
from opaque import generator

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
