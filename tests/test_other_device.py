"""Families, estimators and layers compute where theta is; what a GPU gives, the tests marked cuda compare."""

from __future__ import annotations

import contextlib

import pytest
import torch

from imle_opt import (
    AR,
    ARM,
    ARS,
    ARSM,
    IMLE,
    L2X,
    PID,
    BlackBox,
    DisARM,
    Enumerate,
    GumbelRao,
    GumbelSoftmax,
    Identity,
    MovingAverage,
    Perturbed,
    Rebar,
    Reinforce,
    ReinMax,
    Relax,
    SoftSub,
    SparseMAP,
    StochasticSoftmaxTrick,
    StraightThrough,
    expectation,
)
from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree
from imle_opt.noise import Gumbel, Normal, SumOfGamma
from opaque import normal
from other_device import DEVICE, Elsewhere, OtherDevice


class Squares(torch.nn.Module):
    def forward(self, z):
        return z.square().sum(-1)


FAMILIES = [KSubset(3), KSubset(1, event_dim=2), Categorical(), Bernoulli(), SpanningTree(4)]
ESTIMATORS = [
    (Reinforce(4), KSubset(3)),
    (Reinforce(4), SpanningTree(4)),
    (Reinforce(baseline=MovingAverage()), Categorical()),
    (Rebar(), Categorical()),
    (Relax(Squares()), Bernoulli()),
    (ARM(2), Bernoulli()),
    (DisARM(2), Bernoulli()),
    (AR(2), Bernoulli()),
    (ARS(), Categorical()),
    (ARSM(), Categorical()),
    (Enumerate(), KSubset(3)),
]
LAYERS = [
    IMLE(KSubset(3), noise=Gumbel(), target=PID(1.0)),
    IMLE(KSubset(3), noise=SumOfGamma(3)),
    IMLE(SpanningTree(4), noise=Normal(1.0), target=PID(1.0), difference="central"),
    BlackBox(KSubset(3), strength=1.0),
    Identity(KSubset(3), projection="norm"),
    StraightThrough(KSubset(3), exact=True, through="mean"),
    Perturbed(KSubset(3), noise=Normal(1.0), num_samples=3),
    GumbelSoftmax(Categorical()),
    GumbelRao(Categorical()),
    ReinMax(Categorical()),
    SoftSub(KSubset(3)),
    L2X(KSubset(3)),
    StochasticSoftmaxTrick(KSubset(3)),
    StochasticSoftmaxTrick(SpanningTree(4)),
    SparseMAP(KSubset(3)),
]


def names(cases):
    return [type(case[0] if isinstance(case, tuple) else case).__name__ for case in cases]


@pytest.fixture
def theta(monkeypatch):
    # torch has no autocast for this device, which is off anyhow.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    return normal(2, 2, 6)


def loss(z):
    return (z - 0.45).square().sum(-1)


def test_mixing_devices_is_found():
    with OtherDevice():
        assert (2 * Elsewhere(torch.ones(3)) + torch.zeros(3, device=DEVICE)).numbers.tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="mixes devices"):
            Elsewhere(torch.ones(3)) + torch.zeros(3)


@pytest.mark.parametrize("family", FAMILIES, ids=names(FAMILIES))
def test_families_stay_where_theta_is(family, theta):
    for method in ("map", "log_partition", "marginals", "covariance"):
        expected = getattr(family, method)(theta)
        with OtherDevice():
            found = getattr(family, method)(Elsewhere(theta))
        assert isinstance(found, Elsewhere)
        assert torch.equal(found.numbers, expected)
    with OtherDevice():
        samples = family.sample(Elsewhere(theta), 5)
        probabilities = family.log_prob(Elsewhere(theta), samples)
    assert samples.device == probabilities.device == DEVICE
    assert torch.equal(probabilities.numbers, family.log_prob(theta, samples.numbers))
    assert probabilities.numbers.isfinite().all()


@pytest.mark.parametrize(("estimator", "family"), ESTIMATORS, ids=names(ESTIMATORS))
def test_estimators_stay_where_theta_is(estimator, family, theta):
    with OtherDevice():
        point = Elsewhere(theta).requires_grad_()
        expectation(loss, point, family, estimator).sum().backward()
    assert isinstance(point.grad, Elsewhere)
    assert point.grad.numbers.isfinite().all()


@pytest.mark.parametrize("layer", LAYERS, ids=names(LAYERS))
def test_layers_stay_where_theta_is(layer, theta):
    with OtherDevice():
        point = Elsewhere(theta).requires_grad_()
        loss(layer(point)).sum().backward()
    assert isinstance(point.grad, Elsewhere)
    assert point.grad.numbers.isfinite().all()
