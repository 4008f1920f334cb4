from __future__ import annotations

import math

import pytest
import torch

from cases_estimators import (
    exact_gradient,
    smooth,
    theta_of,
)
from imle_opt.diagnostics import gradient_stats, markdown_table
from imle_opt.estimators import (
    ARM,
    ARSM,
    DisARM,
    Enumerate,
    pathwise,
)
from imle_opt.expectations import expectation
from imle_opt.families import Bernoulli, Categorical
from imle_opt.layers import StraightThrough
from imle_opt.noise import Logistic
from imle_opt_solvers.errors import InvalidInputError
from one_bit import SLOPE, P, one_bit, two_values
from opaque import generator, gradient, opaque

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
