"""The value of ExplicitMLE where the model has costs that nobody predicts, against enumeration."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import linear_models as models
from imle_opt.families import FixedPart, KSubset, Polytope
from imle_opt.losses import ExplicitMLE
from imle_opt.noise import Gumbel, Multiplicative, NoNoise
from imle_opt_solvers.cache import CachedSolver
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.pool import SolverPool
from imle_opt_solvers.solution import Sense
from opaque import SENSES, GivenNoise, generator, gradient, normal, opaque, sign_of

senses = pytest.mark.parametrize("sense", SENSES)
labels = pytest.mark.parametrize("label", ["solutions", "costs"])


def facility_location(sense):
    """Two sites, three customers; a maximisation pays the charges of its sites, too."""
    model = models.facility_location()
    return model if sense == "min" else replace(model, sense=Sense.MAX, fixed_costs=-model.fixed_costs)


def table(sense):
    """Return every decision (N, 6), and F of each (N,): what its charges and the offset add to a maximum."""
    decisions, fixed = [], []
    charges = np.array([0.7, 0.4])
    for opened in itertools.product([0, 1], repeat=2):
        for sites in itertools.product(np.flatnonzero(opened), repeat=3):
            shares = np.zeros((2, 3))
            shares[sites, range(3)] = 1
            decisions.append(shares.ravel())
            fixed.append(-charges @ opened - 3.0 * sign_of(sense))
    return torch.as_tensor(np.array(decisions)), torch.as_tensor(np.array(fixed))


def maximum(theta, sense):
    """Return the optimum, its decision and its F at theta (..., 6), by enumeration."""
    decisions, fixed = table(sense)
    values = theta @ decisions.T + fixed
    best = values.argmax(-1)
    return values.max(-1).values, decisions[best], fixed[best]


def solver(sense):
    return HighsSolver(facility_location(sense))


def in_shape(tensor):
    return tensor.reshape(*tensor.shape[:-1], 2, 3)


@senses
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)])
def test_a_polytope_tells_the_fixed_part_of_each_optimum(sense, batch):
    theta = normal(*batch, 6)
    value, decision, fixed = maximum(theta, sense)
    found, share = Polytope(solver(sense)).map_with_fixed(in_shape(theta))
    torch.testing.assert_close(found, in_shape(decision))
    torch.testing.assert_close(share, fixed)
    torch.testing.assert_close((in_shape(theta) * found).sum((-2, -1)) + share, value)


@senses
@pytest.mark.parametrize("noise", ["none", "additive", "multiplicative"])
def test_the_value_counts_fixed_costs(sense, noise):
    costs, true = normal(6, 6) + 1, normal(6, 6, seed=2) + 1
    theta, true_theta = sign_of(sense) * costs, sign_of(sense) * true
    if noise == "additive":
        law = GivenNoise(normal(3, 6, 2, 3, seed=1))
        perturbed, perturbed_true = (t + law.drawn.reshape(3, 6, 6) for t in (theta, true_theta))
    elif noise == "multiplicative":
        law = Multiplicative(0.8)
        factors = law.draw((3, 6, 2, 3), generator=generator(1), dtype=torch.float64, device="cpu")
        perturbed, perturbed_true = (t * factors.reshape(3, 6, 6) for t in (theta, true_theta))
    else:
        law, perturbed, perturbed_true = NoNoise(), theta[None], true_theta[None]
    loss = ExplicitMLE(solver(sense), law, num_samples=3)

    optimum, z, _ = maximum(perturbed, sense)
    _, target, target_fixed = maximum(perturbed_true, sense)
    y = target[0]
    by_solutions = optimum.mean(0) - (theta * y).sum(-1)
    by_costs = optimum.mean(0) - ((perturbed_over(theta, perturbed, law) * target).sum(-1)).mean(0)
    by_costs -= target_fixed.mean(0)

    found = loss(in_shape(costs), solutions=in_shape(y), generator=generator(1))
    torch.testing.assert_close(found, by_solutions)
    found = loss(in_shape(costs), costs=in_shape(true), generator=generator(1))
    torch.testing.assert_close(found, by_costs)
    assert len(torch.unique(target_fixed)) > 1, "the instances must differ in what they open"
    assert noise == "none" or z.std(0).sum() > 0


def perturbed_over(theta, perturbed, law):
    """Return what the label is weighed by: theta itself, or theta times the factor of each sample."""
    return perturbed if isinstance(law, Multiplicative) else theta


@senses
@labels
def test_the_value_is_convex_and_its_gradient_is_the_difference_of_decisions(sense, label):
    loss = ExplicitMLE(solver(sense), Gumbel(0.5), num_samples=4)
    given = in_shape(
        maximum(normal(1, 6, seed=3), sense)[1] if label == "solutions" else normal(1, 6, seed=3)
    )
    ends = in_shape(2 * normal(2, 6))

    def value(costs):
        return loss(costs, **{label: given.expand_as(costs)}, generator=generator(1)).sum()

    along = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None, None]
    values = torch.stack([value(point[None]) for point in ends[:1] * along + ends[1:] * (1 - along)])
    assert (values[:-2] + values[2:] - 2 * values[1:-1]).min() > -1e-12
    assert values.diff().abs().max() > 1e-3

    costs, step = ends[:1], 1e-6
    found = gradient(value, costs)
    for index in np.ndindex(1, 2, 3):
        shift = torch.zeros(1, 2, 3, dtype=torch.float64)
        shift[index] = step
        difference = (value(costs + shift) - value(costs - shift)) / (2 * step)
        assert found[index].item() == pytest.approx(difference.item(), abs=1e-7)


@senses
def test_without_noise_the_value_from_costs_is_the_regret_of_the_true_decisions(sense):
    costs, true = normal(8, 6), normal(8, 6, seed=2)
    optimum, _, _ = maximum(sign_of(sense) * costs, sense)
    _, y, fixed = maximum(sign_of(sense) * true, sense)
    regret = optimum - (sign_of(sense) * costs * y).sum(-1) - fixed
    value = ExplicitMLE(solver(sense))(in_shape(costs), costs=in_shape(true))
    torch.testing.assert_close(value, regret)
    assert value.min() >= -1e-14
    assert value.max() > 0.1
    at_truth = ExplicitMLE(solver(sense))(in_shape(true), costs=in_shape(true))
    torch.testing.assert_close(at_truth, torch.zeros_like(at_truth))


def test_pools_and_caches_pass_the_fixed_part_on():
    theta = in_shape(normal(5, 6))
    expected = Polytope(solver("min")).map_with_fixed(theta)
    cached = CachedSolver(solver("min"))
    with SolverPool(solver("min"), workers=2, backend="thread") as pool:
        for composed in (pool, cached, cached):
            found = Polytope(composed).map_with_fixed(theta)
            for got, wanted in zip(found, expected, strict=True):
                assert torch.equal(got, wanted)


def test_rows_without_a_decision_have_no_fixed_part_and_value_nan():
    instances = {"row_upper": {"r3": torch.tensor([0.0, -2.0])}}  # more than both sites can give
    failing = HighsSolver(facility_location("min"), on_failure="nan")
    costs = in_shape(normal(2, 6)).requires_grad_()
    value = ExplicitMLE(failing, Gumbel(), num_samples=2)(
        costs, costs=in_shape(normal(2, 6, seed=1)), instances=instances
    )
    assert value.isnan().tolist() == [False, True]
    value.sum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(2, 3, dtype=torch.float64))
    assert costs.grad[0].isfinite().all()


def test_a_family_without_a_fixed_part_is_one_of_zero():
    assert not isinstance(KSubset(2), FixedPart)
    costs = normal(4, 5)
    y = KSubset(2).map(normal(4, 5, seed=1))
    found = ExplicitMLE(KSubset(2), GivenNoise(normal(3, 4, 5, seed=2)), num_samples=3)(costs, solutions=y)
    perturbed = costs + normal(3, 4, 5, seed=2)
    expected = perturbed.topk(2).values.sum(-1).mean(0) - (costs * y).sum(-1)
    torch.testing.assert_close(found, expected)
    assert isinstance(Polytope(opaque()), FixedPart)
