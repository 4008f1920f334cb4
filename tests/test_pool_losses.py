"""Contrastive and ranking losses on a pool of solutions, against their formulas by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imle_opt.families import SolutionPool
from imle_opt.losses import CMAP, NCE, ListwiseRanking, PairwiseRanking, PointwiseRanking
from imle_opt_solvers.errors import InvalidInputError
from opaque import DECISIONS, SENSES, Recorder, best, generator, gradient, normal, opaque, sign_of
from test_likelihood_with_fixed_costs import in_shape, maximum, solver, table

senses = pytest.mark.parametrize("sense", SENSES)
POOL = torch.as_tensor(DECISIONS[:5])
MAKERS = {
    "NCE": (NCE, "solutions"),
    "NCE with costs": (lambda pool: lambda c, y: NCE(pool)(c, y, normal(*y.shape, seed=9)), "solutions"),
    "CMAP": (CMAP, "solutions"),
    "CMAP with costs": (lambda pool: lambda c, y: CMAP(pool)(c, y, normal(*y.shape, seed=9)), "solutions"),
    "pointwise": (PointwiseRanking, "costs"),
    "pairwise": (lambda pool: PairwiseRanking(pool, 0.3), "costs"),
    "listwise": (lambda pool: ListwiseRanking(pool, 0.7), "costs"),
}
every = pytest.mark.parametrize("name", sorted(MAKERS))


def pool_of(sense="min", **options):
    return SolutionPool(opaque(sense), solutions=POOL, solve_ratio=0.0, **options)


def label_of(name, batch=(), seed=2):
    return (
        best(normal(*batch, 5, seed=seed)) if MAKERS[name][1] == "solutions" else normal(*batch, 5, seed=seed)
    )


def expected_of(name, costs, label, sign):
    """Return the loss of each row of (rows, 5), by loops over rows and decisions."""
    values = []
    for row in range(len(costs)):
        theta_hat = sign * costs[row]
        shift = sign * normal(len(costs), 5, seed=9)[row] if "with costs" in name else 0
        if MAKERS[name][1] == "solutions":
            excess = torch.stack([((theta_hat - shift) * (z - label[row])).sum() for z in POOL])
            values.append(excess.mean() if "NCE" in name else excess.max().clamp(min=0))
            continue
        true = torch.stack([(sign * label[row] * z).sum() for z in POOL])
        found = torch.stack([(theta_hat * z).sum() for z in POOL])
        if name == "pointwise":
            values.append(((found - true) ** 2).mean())
        elif name == "pairwise":
            top = true.argmax()
            others = [i for i in range(len(POOL)) if i != top]
            values.append(torch.stack([(0.3 + found[i] - found[top]).clamp(min=0) for i in others]).mean())
        else:
            values.append(-(torch.softmax(true / 0.7, 0) * torch.log_softmax(found / 0.7, 0)).sum())
    return torch.stack(values)


@every
@senses
def test_losses_are_their_formulas(name, sense):
    costs, label = normal(8, 5), label_of(name, (8,))
    loss = MAKERS[name][0](pool_of(sense))
    torch.testing.assert_close(loss(costs, label), expected_of(name, costs, label, sign_of(sense)))


@every
@senses
def test_the_gradient_is_that_of_the_value(name, sense):
    costs, label, step = normal(8, 5), label_of(name, (8,)), 1e-6
    loss = MAKERS[name][0](pool_of(sense))
    found = gradient(lambda c: loss(c, label).sum(), costs)
    assert found.count_nonzero() > 10
    shifts = step * torch.eye(5, dtype=torch.float64)
    values = [torch.stack([loss(costs + s * shift, label) for shift in shifts], -1) for s in (1, -1)]
    torch.testing.assert_close(found, (values[0] - values[1]) / (2 * step), atol=1e-7, rtol=1e-6)


@every
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_one_value_per_row(name, batch, dtype):
    costs = normal(*batch, 5).to(dtype).requires_grad_()
    value = MAKERS[name][0](pool_of())(costs, label_of(name, batch).to(dtype))
    assert value.shape == batch
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    value.sum().backward()
    assert costs.grad.isfinite().all()
    assert costs.grad.dtype == dtype


@every
def test_autocast_does_not_make_values_less_precise(name):
    costs, label, loss = normal(4, 5).float(), label_of(name, (4,)).float(), MAKERS[name][0](pool_of())
    expected = loss(costs, label)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(costs, label)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@every
def test_bad_input_is_refused_by_name(name):
    costs, label = normal(3, 5), label_of(name, (3,))
    kind = MAKERS[name][1]
    nan = torch.full_like(costs, torch.nan)
    loss = MAKERS[name][0](pool_of())
    for arguments, message in (
        ((nan, label), "`costs_hat` must be finite"),
        ((costs, nan), f"`{kind}` must be finite"),
        ((costs, label[:2]), rf"`{kind}` must have the shape of"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            loss(*arguments)
    empty = SolutionPool(opaque()).eval()
    with pytest.raises(InvalidInputError, match=r"The pool is empty: call the loss in train\(\)"):
        MAKERS[name][0](empty)(costs, label)


@pytest.mark.parametrize("make", [NCE, CMAP, PointwiseRanking, PairwiseRanking, ListwiseRanking])
def test_a_solver_is_no_pool(make):
    with pytest.raises(InvalidInputError, match=r"`pool` must be a SolutionPool, for example"):
        make(opaque())


def test_bad_options_are_refused():
    with pytest.raises(InvalidInputError, match="`margin` must be 0 or more"):
        PairwiseRanking(pool_of(), -1.0)
    with pytest.raises(InvalidInputError, match="`temperature` must be positive"):
        ListwiseRanking(pool_of(), 0.0)


@every
def test_the_pool_grows_in_train_and_not_in_eval(name):
    solver = Recorder()
    pool = SolutionPool(solver, solutions=POOL[:1], solve_ratio=1.0)
    loss, costs, label = MAKERS[name][0](pool), normal(30, 5), label_of(name, (30,))
    pool.eval()
    loss(costs, label)
    assert (pool.size, solver.rows) == (1, [])
    pool.train()
    loss(costs, label)
    assert pool.size > 3
    assert solver.rows == [30]
    assert not np.isnan(pool.members(costs).numpy()).any()


def test_a_pool_of_all_decisions_makes_cmap_the_perceptron():
    pool = SolutionPool(opaque(), solutions=torch.as_tensor(DECISIONS), solve_ratio=0.0)
    costs, y = normal(8, 5), best(normal(8, 5, seed=2))
    z = best(-costs)
    torch.testing.assert_close(CMAP(pool)(costs, y), (costs * (y - z)).sum(-1))
    assert torch.equal(gradient(lambda c: CMAP(pool)(c, y).sum(), costs), y - z)


@senses
def test_a_solution_that_beats_the_whole_pool_has_no_cmap_loss(sense):
    costs = normal(200, 5)
    y = best(sign_of(sense) * costs)
    outside = ~(y[:, None] == POOL).all(-1).any(-1)
    costs, y = costs[outside], y[outside]
    assert len(y) > 20
    loss, nothing = CMAP(pool_of(sense)), torch.zeros_like(costs)
    true = nothing  # the second form is the first one there
    assert (loss(costs, y) == 0).all()
    assert (loss(costs, y, true) == 0).all()
    assert torch.equal(gradient(lambda c: loss(c, y).sum(), costs), nothing)
    assert torch.equal(gradient(lambda c: loss(c, y, true).sum(), costs), nothing)


def test_the_listwise_loss_is_smallest_where_the_laws_agree():
    true = normal(6, 5, seed=2)
    loss = ListwiseRanking(pool_of(), 0.7)
    at_truth = gradient(lambda c: loss(c, true).sum(), true)
    torch.testing.assert_close(at_truth, torch.zeros_like(at_truth), atol=1e-14, rtol=0)
    for seed in range(5):
        assert (loss(normal(6, 5, seed=seed + 20), true) > loss(true, true)).all()


def test_ties_of_the_best_decision_are_not_compared():
    pool = SolutionPool(opaque(), solutions=torch.eye(5, dtype=torch.float64), solve_ratio=0.0)
    true = torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0], dtype=torch.float64)
    costs = torch.tensor([0.0, 5.0, 3.0, 3.0, 3.0], dtype=torch.float64)
    # The second ties with the first: that it is predicted worst does not count.
    assert PairwiseRanking(pool, 1.0)(costs, true).item() == 0
    assert PairwiseRanking(pool, 1.0)(costs, torch.ones(5, dtype=torch.float64)).item() == 0


@senses
def test_fixed_costs_of_the_model_count(sense):
    wrapped, (decisions, fixed) = solver(sense), table(sense)
    pool = SolutionPool(wrapped, solve_ratio=1.0)
    costs, true = normal(40, 6), normal(40, 6, seed=1)
    pool.grow(sign_of(sense) * in_shape(costs))
    members = pool.members(costs).reshape(-1, 6)
    parts = torch.stack([fixed[(decisions == z).all(1)].max() for z in members])
    torch.testing.assert_close(pool.fixed_parts(costs), parts)
    pool.solve_ratio = 0.0
    theta_hat, theta = sign_of(sense) * costs, sign_of(sense) * true
    p, t = theta_hat @ members.T + parts, theta @ members.T + parts
    expected = -(t.softmax(-1) * p.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(ListwiseRanking(pool)(in_shape(costs), in_shape(true)), expected)
    _, y, _ = maximum(theta, sense)
    excess = p - (theta_hat * y).sum(-1, keepdim=True)
    torch.testing.assert_close(CMAP(pool)(in_shape(costs), in_shape(y)), excess.amax(-1))
    torch.testing.assert_close(NCE(pool)(in_shape(costs), in_shape(y)), excess.mean(-1))


def test_the_seed_decides_when_the_pool_solves():
    def solves(seed):
        pool = SolutionPool(opaque(), solutions=POOL, solve_ratio=0.5, generator=generator(seed))
        loss = PointwiseRanking(pool)
        history = []
        for step in range(20):
            loss(normal(3, 5, seed=step), normal(3, 5))
            history.append(pool.solves)
        return history

    first = solves(0)
    assert first == solves(0) != solves(1)
