from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from imle_opt import IMLE, PID, BlackBox, ExplicitMLE, InvalidInputError, KSubset, Normal, SolutionPool
from imle_opt.families import FixedPart, MAPOracle
from imle_opt_solvers import HighsSolver
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import Sense
from opaque import DECISIONS, Recorder, best, generator, normal, opaque

TABLE = torch.as_tensor(DECISIONS)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def filled(count=4, **options):
    options = {"solve_ratio": 0.0, "solutions": TABLE[:count]} | options
    return SolutionPool(opaque("max"), **options)


def rows_of(tensor):
    return {tuple(row) for row in tensor.tolist()}


# What is in the pool


def test_decisions_are_there_once():
    pool = SolutionPool(opaque("max"))
    assert pool.add(TABLE[[0, 1, 0, 2, 1]]) == 3
    assert pool.add(TABLE[[2, 3]].reshape(2, 1, 5)) == 1
    assert pool.add(-0.0 * TABLE[:1] + TABLE[:1] + 1e-9) == 0  # a solver's rounding, and zeros with a sign
    assert pool.size == 4
    assert torch.equal(pool.members(TABLE), TABLE[[1, 2, 3, 0]])  # the one found last comes last


def test_what_was_found_longest_ago_goes_first():
    pool = filled(3, capacity=3)
    pool.add(TABLE[[0]])
    pool.add(TABLE[[3]])
    assert rows_of(pool.members(TABLE)) == rows_of(TABLE[[0, 2, 3]])


def test_rows_without_a_decision_are_passed_over():
    pool = filled(1)
    assert pool.add(torch.stack([TABLE[1], torch.full((5,), torch.nan, dtype=torch.float64)])) == 1
    assert pool.size == 2


# Look-up


def test_a_look_up_is_in_full_precision_under_autocast():
    """In bfloat16 the two decisions are worth the same, and the first would win."""
    pool = filled(4)
    theta = torch.tensor([[100.0, 100.0, 100.0, 0.0, 0.25]])
    assert (theta.double() @ TABLE[:4].T).tolist() == [[200.0, 200.25, 100.0, 100.25]]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pool.map(theta)
    assert torch.equal(found, TABLE[[1]].float())
    assert pool.lookups == 1


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_look_up_is_the_best_of_the_pool(batch, dtype):
    pool, theta = filled(4), normal(*batch, 5).to(dtype)
    found = pool.map(theta)
    assert found.dtype == dtype
    assert torch.equal(found.double(), best(theta.double(), DECISIONS[:4]))
    assert (pool.solves, pool.lookups) == (0, 1)


def test_decisions_of_any_rank():
    table = np.random.default_rng(0).integers(0, 2, size=(6, 2, 3)).astype(float)
    pool = SolutionPool(opaque("min", table), solutions=torch.as_tensor(table[:3]), solve_ratio=0.0)
    theta = normal(7, 2, 3)
    expected = best(theta.reshape(7, 6), table[:3]).reshape(7, 2, 3)
    assert torch.equal(pool.map(theta), expected)
    assert pool.members(theta).shape == (3, 2, 3)


def test_fixed_costs_count():
    # max <c, x> + 5 y with x1 + x2 + y <= 1: the pool must know that x = 0 is worth 5.
    model = LinearModel(
        sense=Sense.MAX,
        row_starts=np.array([0, 3]),
        row_columns=np.arange(3),
        row_values=np.ones(3),
        row_lower=np.array([-np.inf]),
        row_upper=np.array([1.0]),
        column_lower=np.zeros(3),
        column_upper=np.ones(3),
        integrality=np.ones(3, dtype=np.bool_),
        fixed_costs=np.array([0.0, 0.0, 5.0]),
        offset=0.0,
        predicted=Selection(np.arange(2), (2,)),
        column_names=("a", "b", "y"),
        row_names=("one",),
    )
    solver = HighsSolver(model)
    pool, theta = SolutionPool(solver, solve_ratio=1.0), torch.tensor([[9.0, 1.0], [1.0, 9.0], [1.0, 2.0]])
    pool.map(theta)
    pool.solve_ratio = 0.0
    asked = torch.tensor([[4.0, 3.0], [6.0, 3.0], [3.0, 7.0]])
    decisions, fixed = pool.map_with_fixed(asked)
    assert decisions.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert fixed.tolist() == [5, 0, 0]
    assert isinstance(pool, FixedPart)


# When it solves


def test_the_first_call_is_solved_and_then_a_share_of_them():
    inner = Recorder("max")
    pool = SolutionPool(inner, solve_ratio=0.25, generator=generator())
    for call in range(400):
        pool.map(normal(3, 5, seed=call))
    assert len(inner.calls) == pool.solves
    assert pool.solves + pool.lookups == 400
    # 1 + Binomial(399, 1/4): 4.5 standard deviations of 8.6.
    assert abs(pool.solves - 100.75) < 4.5 * 8.65
    assert rows_of(pool.members(TABLE)) <= rows_of(TABLE)


def test_the_same_generator_solves_the_same_calls():
    def solved():
        inner = Recorder("max")
        pool = SolutionPool(inner, solve_ratio=0.5, generator=generator(3))
        answers = [pool.map(normal(3, 5, seed=call)) for call in range(20)]
        return torch.stack(answers), pool.solves

    (first, count), (second, again) = solved(), solved()
    assert torch.equal(first, second)
    assert 1 < count == again < 20


@pytest.mark.parametrize(("ratio", "solves"), [(0.0, 1), (1.0, 5)])
def test_certain_ratios_use_no_randomness(ratio, solves):
    source = generator()
    before = source.get_state()
    pool = SolutionPool(opaque("max"), solve_ratio=ratio, generator=source)
    for call in range(5):
        pool.map(normal(3, 5, seed=call))
    assert pool.solves == solves
    assert torch.equal(source.get_state(), before)


def test_a_call_that_is_solved_answers_exactly():
    pool, theta = filled(2, solve_ratio=1.0), normal(50, 5)
    assert torch.equal(pool.map(theta), best(theta))
    assert rows_of(pool.members(theta)) == rows_of(best(theta)) | rows_of(TABLE[:2])


def test_in_eval_every_call_is_solved_and_nothing_joins():
    pool, theta = filled(2).eval(), normal(20, 5)
    assert torch.equal(pool.map(theta), best(theta))
    assert not pool.grow(theta)
    assert pool.size == 2


def test_grow_only_adds():
    pool = filled(1, solve_ratio=1.0)
    assert pool.grow(normal(20, 5))
    assert rows_of(pool.members(TABLE)) == rows_of(best(normal(20, 5))) | rows_of(TABLE[:1])
    assert not filled(1).grow(normal(20, 5))


# In layers and losses


def test_layers_train_on_the_pool_and_decide_by_the_solver():
    layer = IMLE(filled(3), noise=Normal(1.0), target=PID(1.0), num_samples=4)
    costs = normal(6, 5).requires_grad_()
    samples = layer(costs)
    assert rows_of(samples.reshape(-1, 5)) <= rows_of(TABLE[:3])
    samples.square().sum().backward()
    assert torch.equal(layer.eval()(costs), best(costs.detach()))
    assert not rows_of(best(costs.detach())) <= rows_of(TABLE[:3])


def test_a_pool_of_all_decisions_trains_as_the_solver_does():
    costs, solutions = normal(6, 5), TABLE[[0, 1, 2, 3, 4, 5]]

    def results(model):
        point = costs.clone().requires_grad_()
        loss = ExplicitMLE(model, Normal(1.0), num_samples=3, generator=generator())
        value = loss(point, solutions=solutions) + BlackBox(model, 1.0)(point).square().sum((0, 2))
        value.sum().backward()
        return value, point.grad

    for found, expected in zip(results(filled(7)), results(opaque("max")), strict=True):
        torch.testing.assert_close(found, expected)


def test_families_have_pools_too():
    pool = SolutionPool(KSubset(2), solve_ratio=0.0)
    assert isinstance(pool, MAPOracle)
    theta = normal(8, 6)
    assert torch.equal(pool.map(theta), KSubset(2).map(theta))
    assert torch.equal(pool.map(theta), KSubset(2).map(theta))
    assert pool.traits.engine.startswith("pool:")


def test_it_says_what_it_is():
    pool = SolutionPool(Recorder(cardinality=2))
    assert not pool.traits.exact
    assert pool.traits.takes_instances == ()
    assert pool.traits.cardinality == 2
    assert (pool.event_dim, pool.sign, pool.shape) == (1, -1.0, (5,))


def test_the_members_travel_with_the_state():
    layer = BlackBox(filled(3), 1.0)
    other = BlackBox(SolutionPool(opaque("max"), solve_ratio=0.0), 1.0)
    other.load_state_dict(copy.deepcopy(layer.state_dict()))
    theta = normal(9, 5)
    assert torch.equal(other(theta), layer(theta))
    assert other.family.solves == 0


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SolutionPool(opaque(), capacity=0), "`capacity` must be at least 1"),
        (lambda: SolutionPool(opaque(), solve_ratio=1.5), r"`solve_ratio` must lie in \[0, 1\]"),
        (lambda: SolutionPool(3), "expected a solver or a family"),
        (lambda: SolutionPool(opaque(), solutions=torch.zeros(2, 4)), r"`decisions` has shape \(2, 4\)"),
        (lambda: SolutionPool(opaque(), solutions=torch.zeros(2, 5).long()), "must be floating point"),
        (lambda: filled().add(torch.full((5,), torch.inf)), "`decisions` must be finite"),
        (lambda: filled().map(torch.zeros(2, 4)), r"must have shape \(\*batch, 5\)"),
        (lambda: filled().map(torch.full((2, 5), torch.nan)), "must be finite"),
        (lambda: filled().map(torch.zeros(2, 5), instances={"rhs": 1}), "takes no `instances`.*CachedSolver"),
        (lambda: filled().grow(torch.zeros(2, 5), instances={"rhs": 1}), "takes no `instances`"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_a_pool_holds_decisions_of_one_shape():
    pool = SolutionPool(KSubset(2))
    pool.map(normal(3, 6))
    with pytest.raises(InvalidInputError, match=r"the decisions of this pool have \(6,\)"):
        pool.map(normal(3, 7))


@pytest.mark.cuda
@needs_cuda
def test_look_ups_are_on_the_device_of_theta():
    pool, theta = filled(4), normal(30, 5)
    found = pool.map(theta.cuda())
    assert found.device.type == "cuda"
    assert pool.members(found).device.type == "cuda"
    assert torch.equal(found.cpu(), pool.map(theta))
