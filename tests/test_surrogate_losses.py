"""SPO+, the structured hinge and directional gradients, against enumeration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import linear_models as models
from imle_opt.families import Categorical, Polytope
from imle_opt.losses import DirectionalGradient, SPOPlus, StructuredHinge
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.errors import InvalidInputError, SolveError
from imle_opt_solvers.solution import Sense
from opaque import DECISIONS, SENSES, Recorder, best, gradient, normal, opaque, sign_of

senses = pytest.mark.parametrize("sense", SENSES)
TABLE = torch.as_tensor(DECISIONS)
MAKERS = {
    "SPO+": (SPOPlus, "costs"),
    "hinge": (lambda solver: StructuredHinge(solver, 0.7), "solutions"),
    "directional": (lambda solver: DirectionalGradient(solver, 0.4), "costs"),
    "central": (lambda solver: DirectionalGradient(solver, 0.4, direction="central"), "costs"),
    "forward": (lambda solver: DirectionalGradient(solver, 0.4, direction="forward"), "costs"),
}
every = pytest.mark.parametrize("name", sorted(MAKERS))


def label_of(name, batch=(), seed=2):
    """Return what the loss learns from: costs, or feasible decisions that are not optimal."""
    if MAKERS[name][1] == "costs":
        return normal(*batch, 5, seed=seed)
    return best(normal(*batch, 5, seed=seed))


def regret(costs_hat, costs, sign):
    """Return the regret of deciding by costs_hat, by enumeration."""
    theta_hat, theta = sign * costs_hat, sign * costs
    return (theta * (best(theta) - best(theta_hat))).sum(-1)


# All of them


@every
@senses
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_one_value_per_row(name, sense, batch):
    costs = normal(*batch, 5).requires_grad_()
    value = MAKERS[name][0](opaque(sense))(costs, label_of(name, batch))
    assert value.shape == batch
    assert value.dtype == torch.float64
    value.sum().backward()
    assert costs.grad.isfinite().all()


@every
@senses
def test_the_gradient_is_that_of_the_value(name, sense):
    # Piecewise linear: finite differences are exact between the kinks.
    costs, label, step = normal(12, 5), label_of(name, (12,)), 1e-7
    loss = MAKERS[name][0](opaque(sense))
    found = gradient(lambda c: loss(c, label).sum(), costs)
    assert found.count_nonzero() > 2
    for index in np.ndindex(12, 5):
        shift = torch.zeros(12, 5, dtype=torch.float64)
        shift[index] = step
        difference = (loss(costs + shift, label).sum() - loss(costs - shift, label).sum()) / (2 * step)
        assert found[index].item() == pytest.approx(difference.item(), abs=1e-6)


@every
def test_a_minimisation_is_a_maximisation_of_the_negative(name):
    costs, label = normal(6, 5), label_of(name, (6,))
    other = -label if MAKERS[name][1] == "costs" else label
    make = MAKERS[name][0]
    assert torch.equal(make(opaque("min"))(costs, label), make(opaque("max"))(-costs, other))


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_gives_single_precision_values(name, dtype):
    costs = normal(4, 5).to(dtype).requires_grad_()
    value = MAKERS[name][0](opaque())(costs, label_of(name, (4,)).to(dtype))
    assert value.dtype == torch.float32
    value.sum().backward()
    assert costs.grad.dtype == dtype


@every
def test_rows_without_a_decision_have_value_nan_and_no_gradient(name):
    allowed = torch.ones(3, 7)
    allowed[1] = 0
    make = MAKERS[name][0]
    costs = normal(3, 5).requires_grad_()
    value = make(Recorder(on_failure="nan"))(costs, label_of(name, (3,)), instances={"allowed": allowed})
    assert value.isnan().tolist() == [False, True, False]
    # Not by nansum, whose gradient in such rows is zero whatever the loss does.
    value.sum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    assert costs.grad.isfinite().all()
    with pytest.raises(SolveError):
        make(Recorder())(costs, label_of(name, (3,)), instances={"allowed": allowed})


@every
def test_instances_reach_every_solve_and_each_row_starts_afresh(name):
    solver = Recorder()
    allowed = torch.zeros(3, 7)
    allowed[:, 2] = 1
    MAKERS[name][0](solver)(normal(3, 5), label_of(name, (3,)), instances={"allowed": allowed})
    assert all(torch.equal(torch.as_tensor(given["allowed"]), allowed) for _, given, _ in solver.calls)
    assert all(deterministic for _, _, deterministic in solver.calls)


@every
def test_bad_input_is_refused_by_name(name):
    loss, costs, label = MAKERS[name][0](opaque()), normal(3, 5), label_of(name, (3,))
    kind = MAKERS[name][1]
    nan = torch.full_like(costs, torch.nan)
    for arguments, message in (
        ((nan, label), "`costs_hat` must be finite"),
        ((costs, nan), f"`{kind}` must be finite"),
        ((costs, label[:2]), rf"`{kind}` must have the shape of .*\(3, 5\), not \(2, 5\)"),
        ((costs, label.numpy()), f"`{kind}` must be a torch.Tensor"),
        ((costs[:, :4], label[:, :4]), "`costs_hat`"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            loss(*arguments)


class FailsAt(Recorder):
    """Has no decision for row 1 in one of its calls, counted from 0."""

    def __init__(self, call):
        super().__init__(on_failure="nan")
        self.call = call

    def solve(self, costs, *, instances=None, deterministic=False):
        allowed = np.ones((len(costs), 7))
        if len(self.calls) == self.call:
            allowed[1] = 0
        return super().solve(costs, instances={"allowed": allowed}, deterministic=deterministic)


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("name", ["SPO+", "directional", "central", "forward"])
def test_one_failure_of_two_solves_is_enough(name, call):
    costs = normal(3, 5).requires_grad_()
    value = MAKERS[name][0](FailsAt(call))(costs, label_of(name, (3,)))
    assert value.isnan().tolist() == [False, True, False]
    value.sum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))


# SPO+


@senses
def test_spo_plus_is_its_formula(sense):
    costs, true = normal(8, 5), normal(8, 5, seed=2)
    # As the paper prints it, for a minimisation: max over z of <c - 2 c_hat, z> + 2 <c_hat, z*> - <c, z*>.
    c_hat, c = -sign_of(sense) * costs, -sign_of(sense) * true
    optimum = best(-c)
    expected = ((c - 2 * c_hat) @ TABLE.T).amax(-1) + 2 * (c_hat * optimum).sum(-1) - (c * optimum).sum(-1)
    loss = SPOPlus(opaque(sense))
    torch.testing.assert_close(loss(costs, true), expected)
    torch.testing.assert_close(loss(costs, true, solutions=optimum), expected)
    found = gradient(lambda x: loss(x, true).sum(), costs)
    torch.testing.assert_close(found, sign_of(sense) * 2 * (best(c - 2 * c_hat) - optimum))


@senses
def test_spo_plus_bounds_the_regret_and_is_zero_at_the_truth(sense):
    true, loss = normal(200, 5, seed=2), SPOPlus(opaque(sense))
    for seed in range(5):
        costs = normal(200, 5, seed=seed + 10)
        slack = loss(costs, true) - regret(costs, true, sign_of(sense))
        assert slack.min() > -1e-12
        assert slack.max() > 0.1
    torch.testing.assert_close(loss(true, true), torch.zeros(200, dtype=torch.float64))


@senses
def test_spo_plus_is_convex(sense):
    true, loss = normal(50, 5, seed=2), SPOPlus(opaque(sense))
    one, other = normal(50, 5), 3 * normal(50, 5, seed=1)
    middle = loss((one + other) / 2, true)
    assert ((loss(one, true) + loss(other, true)) / 2 - middle).min() > -1e-12


def facility_location(sense):
    model = models.facility_location()
    return HighsSolver(
        model if sense == "min" else replace(model, sense=Sense.MAX, fixed_costs=-model.fixed_costs)
    )


@senses
def test_spo_plus_counts_fixed_costs(sense):
    solver, sign = facility_location(sense), sign_of(sense)
    costs, true = normal(20, 2, 3), normal(20, 2, 3, seed=1)
    optimum = solver.solve(true.numpy())
    decided = torch.as_tensor(solver.solve(costs.numpy()).decisions)
    # The regret in all costs: by the objective of the site charges that go with the predicted decision.
    _, fixed = Polytope(solver).map_with_fixed(sign * costs)
    worth = sign * (true * decided).sum((-2, -1)) + fixed
    regret = sign * torch.as_tensor(optimum.objectives) - worth
    loss = SPOPlus(solver)
    value = loss(costs, true)
    assert (value - regret).min() > -1e-12
    torch.testing.assert_close(loss(true, true), torch.zeros(20, dtype=torch.float64))
    solutions, objectives = torch.as_tensor(optimum.decisions), torch.as_tensor(optimum.objectives)
    torch.testing.assert_close(loss(costs, true, solutions=solutions, objectives=objectives), value)
    short = loss(costs, true, solutions=solutions) - value
    assert short.std() > 0.01  # F(z*), which nobody gave
    with pytest.raises(InvalidInputError, match=r"`objectives` must have one entry per row, shape \(20,\)"):
        loss(costs, true, solutions=solutions, objectives=objectives[:3])


def test_known_solutions_save_a_solve():
    solver, true = Recorder(), normal(3, 5, seed=1)
    SPOPlus(solver)(normal(3, 5), true)
    assert solver.rows == [3, 3]
    SPOPlus(solver)(normal(3, 5), true, solutions=best(-true))
    assert solver.rows == [3, 3, 3]


# The structured hinge


@senses
def test_the_hinge_is_its_formula(sense):
    costs = normal(8, 5)
    theta, y = sign_of(sense) * costs, best(normal(8, 5, seed=2))
    distance = (TABLE - y[:, None]).abs().sum(-1)
    expected = (theta @ TABLE.T + 0.7 * distance).amax(-1) - (theta * y).sum(-1)
    torch.testing.assert_close(StructuredHinge(opaque(sense), 0.7)(costs, y), expected)
    assert expected.min() >= 0


def test_costs_of_zero_do_not_satisfy_the_hinge():
    y = best(normal(8, 5, seed=2))
    zero = torch.zeros(8, 5, dtype=torch.float64)
    loss = StructuredHinge(opaque(), 2.0)
    assert loss(zero, y).min() >= 2.0
    assert gradient(lambda c: loss(c, y).sum(), zero).abs().sum(-1).min() > 0
    # y beats all others by 4 an entry: more than the margin.
    assert loss(4 * (1 - 2 * y), y).abs().max() == 0


def test_the_hinge_of_one_hot_decisions_is_the_multiclass_hinge():
    theta, y = normal(6, 5), torch.eye(5, dtype=torch.float64)[[0, 1, 2, 3, 4, 0]]
    right = (theta * y).sum(-1, keepdim=True)
    expected = (theta - right + 2 * (1 - y)).amax(-1)
    torch.testing.assert_close(StructuredHinge(Categorical())(theta, y), expected)


def test_the_hinge_refuses_what_is_not_zero_or_one():
    with pytest.raises(InvalidInputError, match=r"`solutions` must be 0 or 1 .*from 2 to 2.*SPOPlus"):
        StructuredHinge(opaque())(normal(3, 5), torch.full((3, 5), 2.0))
    with pytest.raises(InvalidInputError, match="`margin` must be positive"):
        StructuredHinge(opaque(), 0.0)


# Directional gradients


def value_of(theta):
    return (theta @ TABLE.T).amax(-1)


@senses
@pytest.mark.parametrize(
    ("direction", "ahead", "behind"), [("backward", 0.0, 0.4), ("central", 0.4, 0.4), ("forward", 0.4, 0.0)]
)
def test_directional_gradients_are_their_formula(sense, direction, ahead, behind):
    costs, true = normal(8, 5), normal(8, 5, seed=2)
    theta_hat, theta = sign_of(sense) * costs, sign_of(sense) * true
    loss = DirectionalGradient(opaque(sense), 0.4, direction=direction)
    expected = (value_of(theta_hat - behind * theta) - value_of(theta_hat + ahead * theta)) / (ahead + behind)
    torch.testing.assert_close(loss(costs, true), expected)
    difference = best(theta_hat - behind * theta) - best(theta_hat + ahead * theta)
    found = gradient(lambda c: loss(c, true).sum(), costs)
    torch.testing.assert_close(found, sign_of(sense) * difference / (ahead + behind))


def test_they_bracket_the_true_cost_of_the_decision_and_meet_it():
    costs, true = normal(200, 5), normal(200, 5, seed=2)
    decided = (true * best(-costs)).sum(-1)

    def value(direction, step):
        return DirectionalGradient(opaque("min"), step, direction=direction)(costs, true)

    assert (value("backward", 0.3) - decided).min() > -1e-12
    assert (decided - value("forward", 0.3)).min() > -1e-12
    assert (value("backward", 0.3) - value("forward", 0.3)).max() > 0.1
    for direction in ("backward", "central", "forward"):
        torch.testing.assert_close(value(direction, 1e-6), decided, atol=1e-8, rtol=0)


def test_directional_gradients_refuse_bad_options():
    for options, message in (
        ({"step": 0.0}, "`step` must be positive"),
        ({"direction": "both"}, "`direction` must be one of 'backward'"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            DirectionalGradient(opaque(), **options)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every
def test_losses_stay_on_the_device(name):
    costs = normal(6, 5).cuda().requires_grad_()
    value = MAKERS[name][0](opaque())(costs, label_of(name, (6,)).cuda())
    value.sum().backward()
    assert value.device == costs.grad.device == costs.device
