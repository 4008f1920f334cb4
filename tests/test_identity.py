"""The identity layer: its rule is the derivative of the projection."""

from __future__ import annotations

import pytest
import torch

from imle_opt.families import Categorical, KSubset, SolutionPool, SpanningTree
from imle_opt.layers import Identity, StraightThrough
from imle_opt.noise import Gumbel
from imle_opt_solvers.errors import InvalidInputError
from opaque import SENSES, Recorder, best, generator, gradient, normal, opaque, sign_of

senses = pytest.mark.parametrize("sense", SENSES)
PROJECTIONS = {
    "none": lambda theta: theta,
    "norm": lambda theta: theta / theta.norm(dim=-1, keepdim=True),
    "mean": lambda theta: theta - theta.mean(-1, keepdim=True),
    "standard": lambda theta: PROJECTIONS["norm"](PROJECTIONS["mean"](theta)),
}
every = pytest.mark.parametrize("projection", sorted(PROJECTIONS))


@every
@senses
def test_the_gradient_is_that_of_the_projection(projection, sense):
    costs, weight = 3 * normal(6, 5), normal(6, 5, seed=1)
    solver = Recorder(sense, cardinality=2)
    layer = Identity(solver, projection=projection)
    found = gradient(lambda c: (weight * layer(c)[0]).sum(), costs)
    expected = gradient(lambda c: (weight * PROJECTIONS[projection](sign_of(sense) * c)).sum(), costs)
    torch.testing.assert_close(found, expected)
    assert torch.equal(layer(costs)[0], best(sign_of(sense) * costs))


@every
def test_the_projected_directions_have_no_gradient(projection):
    costs, weight = normal(6, 5), normal(6, 5, seed=1)
    found = gradient(lambda c: (weight * Identity(KSubset(2), projection=projection)(c)).sum(), costs)
    centred = costs - costs.mean(-1, keepdim=True) if projection == "standard" else costs
    along = (found * centred).sum(-1).abs().max() < 1e-12
    level = found.sum(-1).abs().max() < 1e-12
    assert along == (projection in ("norm", "standard"))
    assert level == (projection in ("mean", "standard"))


def test_no_projection_is_straight_through():
    costs, weight = normal(6, 5), normal(3, 6, 5, seed=1)

    def found(layer):
        return gradient(lambda c: (weight * layer(c, generator=generator(1))).sum(), costs)

    one = Identity(opaque(), projection="none", noise=Gumbel(), num_samples=3)
    assert torch.equal(found(one), found(StraightThrough(opaque(), noise=Gumbel(), num_samples=3)))


def test_decisions_of_any_rank_and_costs_of_zero():
    layer = Identity(opaque("max", torch.tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]]]).numpy()))
    costs = torch.zeros(2, 2, 2, dtype=torch.float64)
    costs[0] = normal(2, 2)
    found = gradient(lambda c: (layer(c) * normal(2, 2, seed=1)).sum(), costs)
    assert found[0].count_nonzero() > 0
    assert torch.equal(found[1], torch.zeros(2, 2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_small_costs_in_low_precision(dtype):
    costs = (1e-6 * normal(3, 5)).to(dtype).requires_grad_()
    Identity(KSubset(2), projection="standard")(costs)[0, :, 0].sum().backward()
    assert costs.grad.dtype == dtype


@pytest.mark.parametrize("projection", ["mean", "standard"])
def test_a_mean_needs_decisions_of_one_sum(projection):
    with pytest.raises(InvalidInputError, match=r"same sum.*Use projection='norm'"):
        Identity(opaque(), projection=projection)
    for family in (KSubset(2), Categorical(), SpanningTree(4), SolutionPool(Recorder(cardinality=2))):
        Identity(family, projection=projection)
    with pytest.raises(InvalidInputError, match="`projection` must be one of 'none'"):
        Identity(opaque(), projection="std")


def test_rows_without_a_decision_have_no_gradient():
    allowed = torch.ones(3, 7)
    allowed[1] = 0
    costs = normal(3, 5).requires_grad_()
    z = Identity(Recorder(on_failure="nan"))(costs, instances={"allowed": allowed})
    z.nansum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    assert costs.grad[0].count_nonzero() > 0
