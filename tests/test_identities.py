"""What must hold exactly, whatever the numbers: the identities of implicit MLE, and known traps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from imle_opt.estimators import pathwise
from imle_opt.expectations import expectation
from imle_opt.families import Categorical
from imle_opt.layers import IMLE, BlackBox, StraightThrough
from imle_opt.losses import ExplicitMLE, HammingLoss, RegretLoss
from imle_opt.noise import AdditiveNoise, Gumbel, Multiplicative, NoNoise, Normal, SumOfGamma
from imle_opt.targets import PID, Adaptive, Aim, Eq14, FixedTarget
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.pool import SolverPool
from imle_opt_solvers.solution import Sense, Solution, Status
from imle_opt_solvers.solver import Solver, Traits
from linear_models import knapsack
from opaque import DECISIONS, SENSES, GivenNoise, best, generator, gradient, normal, opaque, sign_of

NOISES = [NoNoise(), Gumbel(0.8), SumOfGamma(2.5, 0.8), Normal(0.8), Multiplicative(0.8)]
noises = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
senses = pytest.mark.parametrize("sense", SENSES)
ROWS = 12


def adaptive(alpha=1.0):
    target = Adaptive().double()
    target.alpha.fill_(alpha)
    return target


# Facts 1 and 2


@senses
def test_fact_1_eq14_with_the_hamming_loss_is_the_maximum_likelihood_rule(sense):
    solver, costs = opaque(sense), normal(ROWS, 5)
    theta, y = sign_of(sense) * costs, best(normal(ROWS, 5, seed=2))
    hamming = HammingLoss(solver)
    layer = IMLE(solver, noise=NoNoise(), target=Eq14())
    found = gradient(lambda c: hamming(layer(c), y).sum(), costs)
    expected = sign_of(sense) * (best(theta) - y)
    assert expected.count_nonzero() > ROWS
    assert torch.equal(found, expected)
    explicit = ExplicitMLE(solver)
    assert torch.equal(gradient(lambda c: explicit(c, solutions=y).sum(), costs), expected)
    # The second solve is free: its answer is y, however the loss is reduced.
    assert torch.equal(best(2 * y - 1), y)
    assert torch.equal(gradient(lambda c: hamming(layer(c), y).mean(), costs), expected)


@noises
@senses
def test_fact_2_eq14_with_the_regret_loss_is_maximum_likelihood_against_true_costs(noise, sense):
    solver, costs, true = opaque(sense), normal(ROWS, 5).abs(), normal(ROWS, 5, seed=2).abs()
    regret = RegretLoss(solver)
    layer = IMLE(solver, noise=noise, target=Eq14(), num_samples=3)
    found = gradient(lambda c: regret(layer(c, generator=generator(1)), true).mean(0).sum(), costs)
    drawn = noise.draw((3, ROWS, 5), generator=generator(1), dtype=torch.float64, device="cpu")
    sign = sign_of(sense)
    maps = [best(noise.perturb(sign * c, drawn)).mean(0) for c in (costs, true)]
    expected = sign * (maps[0] - maps[1])
    assert expected.count_nonzero() > ROWS / 2
    torch.testing.assert_close(found, expected)
    if not isinstance(noise, Multiplicative):  # there ExplicitMLE weighs decisions by the factors
        explicit = ExplicitMLE(solver, noise, num_samples=3)
        by_loss = gradient(lambda c: explicit(c, costs=true, generator=generator(1)).sum(), costs)
        torch.testing.assert_close(by_loss, found)


def fact_2_gap(true, reduce, **options):
    """How far Eq. 14 with a regret loss is from maximum likelihood against the true costs."""
    solver, costs = opaque(), normal(len(true), 5)
    layer = IMLE(solver, noise=Gumbel(2.0), target=Eq14(), num_samples=40, **options)
    regret, explicit = RegretLoss(solver), ExplicitMLE(solver, Gumbel(2.0), num_samples=40)
    by_layer = gradient(lambda c: reduce(regret(layer(c, generator=generator(1)), true)), costs)
    by_loss = gradient(lambda c: reduce(explicit(c, costs=true, generator=generator(1))[None]), costs)
    return (by_layer - by_loss).abs().max()


def test_fact_2_breaks_where_a_true_cost_is_zero():
    true = normal(ROWS, 5, seed=2)
    assert fact_2_gap(true, lambda v: v.mean(0).sum()) < 1e-12
    true[:, 2] = 0
    assert fact_2_gap(true, lambda v: v.mean(0).sum()) > 0.05


def test_fact_2_breaks_under_a_mean_over_the_batch_and_is_mended_by_undoing_it():
    true = normal(ROWS, 5, seed=2)
    assert fact_2_gap(true, lambda v: v.mean()) > 0.05
    assert fact_2_gap(true, lambda v: v.mean(), batch_reduction="mean") < 1e-12


# Relations between methods


@senses
def test_black_box_is_imle_without_noise_over_lambda(sense):
    costs, weight, strength = normal(ROWS, 5), normal(ROWS, 5, seed=1), 1.7
    imle = IMLE(opaque(sense), noise=NoNoise(), target=PID(strength), scale="1")
    by_imle = gradient(lambda c: (weight * imle(c)).sum(), costs)
    black_box = BlackBox(opaque(sense), strength)
    assert by_imle.count_nonzero() > ROWS
    assert torch.equal(gradient(lambda c: (weight * black_box(c)).sum(), costs), by_imle / strength)


@senses
def test_from_some_strength_on_black_box_compares_with_the_solution_of_a_hamming_loss(sense):
    """From max over z of <theta, z - y> / Hamming(z, y); just below it with another decision."""
    costs, y = normal(ROWS, 5), best(normal(ROWS, 5, seed=2))
    theta, table = sign_of(sense) * costs, torch.as_tensor(DECISIONS)
    away = (table - y[:, None]).abs().sum(-1)
    gain = ((table - y[:, None]) * theta[:, None]).sum(-1)
    needed = (gain / away.masked_fill(away == 0, torch.inf)).amax(-1)
    wrong = (best(theta) != y).any(-1)
    assert wrong.sum() > ROWS / 2
    for row in wrong.nonzero().squeeze(-1).tolist():
        for share, enough in ((1.001, True), (0.999, False)):
            strength = share * needed[row].item()
            layer, hamming = BlackBox(opaque(sense), strength), HammingLoss(opaque(sense))
            found = gradient(lambda c, h=hamming, la=layer, r=row: h(la(c), y[r]).sum(), costs[row])
            expected = sign_of(sense) * (best(theta[row]) - y[row]) / strength
            assert torch.allclose(found, expected) == enough


@pytest.mark.parametrize(
    "make",
    [
        lambda solver: IMLE(solver, noise=Gumbel(), target=PID(2.0), num_samples=3),
        lambda solver: IMLE(solver, noise=SumOfGamma("auto"), target=PID(2.0), difference="central"),
        lambda solver: IMLE(solver, noise=Multiplicative(0.5), target=adaptive()),
        lambda solver: IMLE(solver, noise=Normal(0.5), target=Eq14()),
        lambda solver: BlackBox(solver, 2.0),
        lambda solver: StraightThrough(solver, noise=Gumbel(), num_samples=3),
    ],
)
def test_a_minimisation_is_the_maximisation_of_the_negative_with_negated_gradients(make):
    costs, weight = normal(ROWS, 5), normal(ROWS, 5, seed=1)
    results = {}
    for sense, sign in (("min", 1), ("max", -1)):
        layer, given = make(opaque(sense)), (sign * costs).requires_grad_()
        samples = layer(given, generator=generator(4))
        (weight * samples).sum(-1).mean(0).sum().backward()
        results[sense] = samples.detach(), given.grad
    assert torch.equal(results["min"][0], results["max"][0])
    assert results["min"][1].count_nonzero() > ROWS
    assert torch.equal(results["min"][1], -results["max"][1])


@noises
def test_losses_of_a_minimisation_are_those_of_the_negated_maximisation(noise):
    costs, true = normal(ROWS, 5).abs(), normal(ROWS, 5, seed=1).abs()
    y = best(true)
    for label in ("solutions", "costs"):
        values, gradients = [], []
        for sense, sign in (("min", 1), ("max", -1)):
            loss = ExplicitMLE(opaque(sense), noise, num_samples=2)
            given = (sign * costs).requires_grad_()
            value = loss(given, **{label: y if label == "solutions" else sign * true}, generator=generator(4))
            value.sum().backward()
            values.append(value.detach())
            gradients.append(sign * given.grad)
        assert torch.equal(*values)
        assert torch.equal(*gradients)
    z = torch.as_tensor(DECISIONS)[torch.arange(ROWS) % 7]
    assert torch.equal(RegretLoss(opaque("min"))(z, true), RegretLoss(opaque("max"))(z, -true))


# The gradient itself


class Fickle(Solver):
    """Breaks ties one way, then the other, unless it is asked to be deterministic."""

    def __init__(self):
        super().__init__((2,), Sense.MAX, Traits())
        self.solved = 0

    def solve_rows(self, costs, instances, deterministic):
        order = 0 if deterministic else self.solved % 2
        self.solved += 1
        decisions = np.eye(2)[[order if a == b else int(b > a) for a, b in costs]]
        rows = len(costs)
        return Solution(decisions, (costs * decisions).sum(1), (Status.OPTIMAL,) * rows, np.zeros(rows), 0.0)


@noises
@pytest.mark.parametrize("difference", ["forward", "central"])
def test_no_step_gives_exactly_no_gradient(noise, difference):
    layer = IMLE(opaque(), noise=noise, target=adaptive(0.0), num_samples=3, difference=difference)
    weight = normal(ROWS, 5, seed=1)
    found = gradient(lambda c: (weight * layer(c)).sum(), normal(ROWS, 5).abs())
    assert torch.equal(found, torch.zeros_like(found))


def test_no_step_gives_no_gradient_where_optima_tie_and_the_solver_depends_on_its_history():
    layer = IMLE(Fickle(), noise=GivenNoise(torch.zeros(1, 2)), target=adaptive(0.0))
    found = gradient(lambda c: (layer(c) * torch.tensor([1.0, 2.0])).sum(), torch.ones(3, 2))
    assert torch.equal(found, torch.zeros(3, 2))
    # The test means something: solving again gives the other optimum.
    assert not torch.equal(layer(torch.ones(3, 2)), layer(torch.ones(3, 2)))


@noises
def test_what_all_decisions_satisfy_is_orthogonal_to_the_gradient(noise):
    # A z = b for all z: a vector of quantities and the sum of three entries.
    equations = np.array([[2, 1, 1, 3, 2, 1], [1, 1, 1, 0, 0, 0]])
    binary = np.array(list(itertools.product((0, 1), repeat=6)))
    region = binary[(binary @ equations.T == (5, 1)).all(1)]
    assert len(region) >= 4
    A = torch.as_tensor(equations).double()
    costs, weight = normal(ROWS, 6).abs(), 3 * normal(ROWS, 6, seed=1)
    for layer in (
        IMLE(opaque("max", region), noise=noise, target=PID(1.0), num_samples=3),
        IMLE(opaque("max", region), noise=noise, target=adaptive(), difference="central"),
        BlackBox(opaque("max", region), 1.0),
    ):
        found = gradient(lambda c, layer=layer: (weight * layer(c, generator=generator(3))).sum(), costs)
        assert found.count_nonzero() > ROWS
        torch.testing.assert_close(found @ A.T, torch.zeros(ROWS, 2, dtype=torch.float64), atol=1e-12, rtol=0)


@noises
@senses
@pytest.mark.parametrize(
    "target", [PID(0.37), adaptive(0.7), Eq14()], ids=lambda target: type(target).__name__
)
def test_one_sample_of_unit_scale_has_entries_of_minus_one_zero_and_one(noise, sense, target):
    layer = IMLE(opaque(sense), noise=noise, target=target, scale="1")
    weight = 10 * normal(200, 5, seed=1)
    found = gradient(lambda c: (weight * layer(c)).sum(), normal(200, 5).abs())
    assert set(found.unique().tolist()) == {-1.0, 0.0, 1.0}


@noises
@pytest.mark.parametrize("target", [PID(0.9), adaptive(0.7)], ids=["PID", "Adaptive"])
@pytest.mark.parametrize("difference", ["forward", "central"])
def test_every_sample_descends(noise, target, difference):
    layer = IMLE(opaque("max"), noise=noise, target=target, scale="1", difference=difference)
    g = normal(1, 300, 5, seed=1)
    draw = layer.draw(normal(300, 5), None, generator(2))
    step = g[0]
    if isinstance(noise, Multiplicative):  # scales the step, entry by entry
        step = step * noise.draw(g.shape, generator=generator(2), dtype=g.dtype, device="cpu")[0]
    descent = (step * draw.rule(g)).sum(-1)
    assert (descent >= 0).all()
    assert (descent > 0).sum() > 20


@pytest.mark.parametrize(
    ("difference", "target"),
    [
        ("forward", lambda: PID(2.0)),
        ("central", lambda: PID(2.0)),
        ("forward", lambda: adaptive(2.0)),
        ("central", lambda: adaptive(2.0)),
        ("forward", Eq14),
    ],
)
def test_a_row_does_not_depend_on_its_neighbours(difference, target):
    costs, weight, eps = normal(ROWS, 5), normal(2, ROWS, 5, seed=1), normal(2, ROWS, 5, seed=2)
    weight *= torch.logspace(-3, 3, ROWS, dtype=torch.float64)[:, None]

    def found(rows):
        layer = IMLE(
            opaque(), noise=GivenNoise(eps[:, rows]), target=target(), num_samples=2, difference=difference
        )
        return gradient(lambda c: (weight[:, rows] * layer(c)).sum(), costs[rows])

    together = found(torch.arange(ROWS))
    assert together.count_nonzero() > ROWS
    for row in range(ROWS):
        torch.testing.assert_close(found(torch.tensor([row]))[0], together[row], rtol=1e-12, atol=0)


class NormsOverTheBatch(FixedTarget):
    """A mutant of `Adaptive`, as a peer has it: one norm for all rows."""

    two_sided = True

    def aim(self, theta, gradient, family):
        strength = (2.0 * theta.norm() / gradient.norm()).item()
        return Aim(theta=theta - strength * gradient, strength=strength)


def test_a_norm_over_the_batch_is_caught():
    costs, weight, eps = normal(ROWS, 5), normal(1, ROWS, 5, seed=1), normal(1, ROWS, 5, seed=2)
    weight *= torch.logspace(-3, 3, ROWS, dtype=torch.float64)[:, None]

    def found(rows, target):
        layer = IMLE(opaque(), noise=GivenNoise(eps[:, rows]), target=target)
        return gradient(lambda c: (weight[:, rows] * layer(c)).sum(), costs[rows])

    def largest_change(target):
        together = found(torch.arange(ROWS), target)
        alone = torch.cat([found(torch.tensor([row]), target) for row in range(ROWS)])
        return ((together - alone).abs() / (alone.abs() + 1e-12)).max()

    assert largest_change(adaptive(2.0).eval()) < 1e-9
    assert largest_change(NormsOverTheBatch()) > 0.5


@noises
@pytest.mark.parametrize("difference", ["forward", "central"])
def test_adaptive_gradients_scale_with_the_loss(noise, difference):
    costs, weight = normal(ROWS, 5).abs(), normal(ROWS, 5, seed=1)

    def found(scale):
        layer = IMLE(opaque("max"), noise=noise, target=adaptive(), num_samples=3, difference=difference)
        return gradient(lambda c: (scale * weight * layer(c, generator=generator(1))).sum(), costs)

    once = found(1.0)
    assert once.count_nonzero() > ROWS
    assert torch.equal(found(2.0**-20), once * 2.0**-20)
    torch.testing.assert_close(found(1234.5), once * 1234.5, rtol=1e-12, atol=0)


# Gradients of mean zero: a forward difference makes something of them, a central one nothing


@noises
@pytest.mark.parametrize("target", [PID(2.0), adaptive(1.5).eval()], ids=["PID", "Adaptive"])
def test_a_central_difference_is_odd_in_the_gradient(noise, target):
    def found(difference):
        layer = IMLE(opaque("max"), noise=noise, target=target, num_samples=3, difference=difference)
        g = normal(3, ROWS, 5, seed=1)
        draw = layer.draw(normal(ROWS, 5).abs(), None, generator(2))
        return draw.rule(g), draw.rule(-g)

    toward, away = found("central")
    assert toward.count_nonzero() > ROWS
    torch.testing.assert_close(away, -toward)
    toward, away = found("forward")
    assert (toward + away).abs().max() > 0.1


def test_a_forward_difference_drops_the_entries_whose_gradient_is_mostly_noise():
    """Where a class is taken the loss has slope +3 or -3 by it, elsewhere none: its logit must not move."""
    rows = 4000
    theta = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    slope = 3.0 * (torch.arange(rows) % 2 * 2 - 1)

    def mean(difference):
        layer = IMLE(Categorical(), noise=Gumbel(), target=PID(1.0), difference=difference)
        loss = lambda t: (slope / 2 * layer(t, generator=generator(1))[..., 1].square()).sum()  # noqa: E731
        return gradient(loss, theta.expand(rows, 3)).mean(0)

    # A step up changes nothing where the class is taken, a step down takes it out: down it goes.
    lowered = torch.softmax(theta - torch.tensor([0.0, 3.0, 0.0]), -1)
    expected = (torch.softmax(theta, -1) - lowered) / 2
    assert expected[1] > 0.25
    error = 4.5 * (0.25 / rows) ** 0.5
    torch.testing.assert_close(mean("forward"), expected, atol=error, rtol=0)
    torch.testing.assert_close(mean("central"), torch.zeros_like(theta), atol=error, rtol=0)


# The limit: Domke's gradient


class Quantiles(AdditiveNoise):
    """Two classes whose noise differs by a logistic variable, as two Gumbels do: its S quantiles, in order.

    The mean over samples is then a quadrature, exact to 1 / (2 S).
    """

    def draw(self, shape, *, generator=None, dtype, device):
        samples = shape[0]
        levels = (torch.arange(samples, dtype=dtype, device=device) + 0.5) / samples
        drawn = torch.zeros(tuple(shape), dtype=dtype, device=device)
        drawn[..., 0] = torch.logit(levels).reshape(samples, *(1,) * (len(shape) - 2))
        return drawn


@pytest.mark.parametrize(
    ("difference", "strengths", "ratio"),
    [("forward", (0.2, 0.1, 0.05), 2.0), ("central", (0.4, 0.2, 0.1), 4.0)],
)
def test_the_bias_falls_with_lambda_or_its_square(difference, strengths, ratio):
    theta = torch.tensor([1.2, -0.5], dtype=torch.float64)
    g = torch.tensor([1.0, -0.5], dtype=torch.float64)
    p = torch.softmax(theta, -1)
    exact = p * g - p * (p @ g)  # Cov(z) g
    biases = []
    for strength in strengths:
        layer = IMLE(
            Categorical(),
            noise=Quantiles(),
            target=PID(strength),
            num_samples=1_000_000,
            difference=difference,
        )
        found = gradient(lambda t, layer=layer: (layer(t) * g).sum(-1).mean(0), theta)
        moved = [torch.softmax(theta - sign * strength * g, -1) for sign in (1, -1)]
        analytic = (p - moved[0]) / strength
        if difference == "central":
            analytic = (moved[1] - moved[0]) / (2 * strength)
        torch.testing.assert_close(found, analytic, atol=2e-6 / strength, rtol=0)
        biases.append((found - exact).norm().item())
    assert biases[0] / biases[1] == pytest.approx(ratio, rel=0.1)
    assert biases[1] / biases[2] == pytest.approx(ratio, rel=0.1)


# Traps


def one_hot_minimiser(costs):
    return np.eye(4)[costs.argmin(axis=1)]


@pytest.mark.parametrize("make", [IMLE, StraightThrough])
def test_trap_noise_is_added_to_theta_not_to_the_costs_of_a_minimisation(make):
    solver = FunctionSolver(one_hot_minimiser, 4, "min", batched=True)
    costs = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    samples = 40_000
    frequencies = make(solver, noise=Gumbel(), num_samples=samples)(costs, generator=generator()).mean(0)
    p = torch.softmax(-costs, -1)
    error = (p * (1 - p) / samples).sqrt()
    assert ((frequencies - p).abs() < 4.5 * error).all()
    # Noise on the costs gives another law, 40 standard errors away.
    drawn = Gumbel().draw((samples, 4), generator=generator(), dtype=torch.float64, device="cpu")
    wrong = torch.as_tensor(one_hot_minimiser((costs + drawn).numpy())).mean(0)
    assert ((wrong - p).abs() / error).max() > 20


@pytest.mark.parametrize("noise", NOISES[1:], ids=lambda noise: type(noise).__name__)
def test_trap_forward_and_backward_share_their_noise(noise):
    # Under a step this small nothing changes, unless the backward pass draws its own noise.
    layer = IMLE(opaque(), noise=noise, target=PID(1e-9), num_samples=500, scale="1")
    weight = normal(500, ROWS, 5, seed=1)
    found = gradient(lambda c: (weight * layer(c)).sum(-1).mean(0).sum(), normal(ROWS, 5).abs())
    assert found.count_nonzero() == 0
    loss = ExplicitMLE(opaque(), noise, num_samples=500)
    true = normal(ROWS, 5).abs()
    found = gradient(lambda c: loss(c, costs=true).sum(), true)
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-13, rtol=0)


def test_trap_a_mean_over_samples_is_divided_by_their_number_once():
    # S times the same sample, through the layer and through the expectation, against one sample.
    costs, eps, weight = normal(ROWS, 5), normal(1, ROWS, 5, seed=1), normal(ROWS, 5, seed=2)
    solver = opaque("max")

    def layer(samples):
        noise = GivenNoise(eps.expand(samples, ROWS, 5))
        return IMLE(solver, noise=noise, target=PID(1.5), num_samples=samples)

    once = gradient(lambda c: (weight * layer(1)(c)).sum(), costs)
    assert once.count_nonzero() > ROWS
    many = gradient(lambda c: (weight * layer(6)(c)).sum(-1).mean(0).sum(), costs)
    torch.testing.assert_close(many, once)
    lifted = gradient(
        lambda c: expectation(lambda z: (weight * z).sum(-1), c, solver, pathwise(layer(6))).sum(), costs
    )
    torch.testing.assert_close(lifted, once)


@pytest.mark.parametrize("backend", ["thread", "process"])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_bit(backend, workers):
    # Noise is drawn before the rows are dealt out: neither samples nor gradients depend on who solves them.
    costs = normal(ROWS, 6, seed=4)
    weights = normal(4, ROWS, 6, seed=5)

    def outcome(solver):
        layer = IMLE(solver, noise=Gumbel(0.8), target=PID(2.0), num_samples=4, generator=generator(6))
        point = costs.clone().requires_grad_()
        samples = layer(point)
        (samples * weights).sum().backward()
        return samples.detach(), point.grad

    alone = outcome(HighsSolver(knapsack()))
    with SolverPool(HighsSolver(knapsack()), workers=workers, backend=backend, chunk=5) as pool:
        shared = outcome(pool)
    assert alone[1].abs().sum() > 0
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(shared, alone, strict=True))
