from __future__ import annotations

import numpy as np
import pytest
import torch

from imle_opt.families import Categorical, KSubset
from imle_opt.layers import IMLE
from imle_opt.losses import ExplicitMLE, HammingLoss, RegretLoss
from imle_opt.noise import Gumbel, Multiplicative, NoNoise, Normal, SumOfGamma
from imle_opt.targets import Costs, Solution
from imle_opt_solvers.errors import InvalidInputError, SolveError
from imle_opt_solvers.function_solver import FunctionSolver
from opaque import (
    DECISIONS,
    SENSES,
    GivenNoise,
    Recorder,
    best,
    generator,
    gradient,
    normal,
    opaque,
    sign_of,
)

EULER_GAMMA = 0.57721566490153286
NOISES = [NoNoise(), Gumbel(0.8), SumOfGamma(2.5, 0.8), Normal(0.8), Multiplicative(0.8)]
noises = pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
senses = pytest.mark.parametrize("sense", SENSES)


def labels(theta):
    """Feasible solutions that are not the optima at theta."""
    return best(theta.flip(0) + 1)


# ExplicitMLE


@noises
@senses
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_explicit_mle_gives_one_value_per_row(noise, sense, batch):
    loss = ExplicitMLE(opaque(sense), noise, num_samples=2)
    costs = normal(*batch, 5).abs().requires_grad_()
    for label in ({"solutions": torch.ones(*batch, 5)}, {"costs": normal(*batch, 5, seed=1)}):
        value = loss(costs, **label)
        assert value.shape == batch
        assert value.dtype == torch.float64
        value.sum().backward()
        assert costs.grad.isfinite().all()


@senses
def test_mu_m_is_perturbed_optimum_minus_label(sense):
    costs, eps = normal(6, 5), normal(3, 6, 5, seed=1)
    theta = sign_of(sense) * costs
    y = labels(theta)
    loss = ExplicitMLE(opaque(sense), GivenNoise(eps), num_samples=3)
    z = best(theta + eps)
    expected = ((theta + eps) * z).sum(-1).mean(0) - (theta * y).sum(-1)
    torch.testing.assert_close(loss(costs, solutions=y), expected)
    found = gradient(lambda c: loss(c, solutions=y).sum(), costs)
    assert found.count_nonzero() > 5
    torch.testing.assert_close(found, sign_of(sense) * (z.mean(0) - y))


@senses
def test_mu_mu_shares_its_noise_with_the_true_costs(sense):
    costs, true, eps = normal(6, 5), normal(6, 5, seed=2), normal(3, 6, 5, seed=1)
    theta, true_theta = sign_of(sense) * costs, sign_of(sense) * true
    loss = ExplicitMLE(opaque(sense), GivenNoise(eps), num_samples=3)
    z, t = best(theta + eps), best(true_theta + eps).mean(0)
    expected = ((theta + eps) * z).sum(-1).mean(0) - (theta * t).sum(-1)
    torch.testing.assert_close(loss(costs, costs=true), expected)
    found = gradient(lambda c: loss(c, costs=true).sum(), costs)
    assert found.count_nonzero() > 5
    torch.testing.assert_close(found, sign_of(sense) * (z.mean(0) - t))


@senses
def test_m_m_is_the_perceptron(sense):
    costs, true = normal(6, 5), normal(6, 5, seed=2)
    theta = sign_of(sense) * costs
    loss = ExplicitMLE(opaque(sense), num_samples=4)
    y = best(sign_of(sense) * true)
    expected = sign_of(sense) * (best(theta) - y)
    assert expected.count_nonzero() > 5
    for label in ({"solutions": y}, {"costs": true}):
        torch.testing.assert_close(gradient(lambda c, label=label: loss(c, **label).sum(), costs), expected)
        value = (theta * (best(theta) - y)).sum(-1)
        torch.testing.assert_close(loss(costs, **label), value)


@noises
@pytest.mark.parametrize("kind", ["solutions", "costs"])
def test_the_gradient_is_that_of_the_value_at_fixed_noise(noise, kind):
    # Piecewise linear in theta: finite differences are exact between the kinks.
    costs, true = normal(4, 5).abs() + 0.1, normal(4, 5, seed=2).abs()
    label = {"solutions": labels(-costs)} if kind == "solutions" else {"costs": true}
    loss = ExplicitMLE(opaque("min"), noise, num_samples=3)

    def value(c):
        return loss(c, **label, generator=generator(1)).sum()

    found, step = gradient(value, costs), 1e-7
    for index in np.ndindex(4, 5):
        shift = torch.zeros(4, 5, dtype=torch.float64)
        shift[index] = step
        difference = (value(costs + shift) - value(costs - shift)) / (2 * step)
        assert found[index].item() == pytest.approx(difference.item(), abs=1e-6)


@noises
@senses
def test_true_costs_are_a_minimum_under_shared_noise(noise, sense):
    true = normal(6, 5).abs()
    loss = ExplicitMLE(opaque(sense), noise, num_samples=5)

    def value(c):
        return loss(c, costs=true, generator=generator(1))

    at_truth = gradient(lambda c: value(c).sum(), true)
    torch.testing.assert_close(at_truth, torch.zeros_like(at_truth), atol=1e-15, rtol=0)
    for seed in range(5):
        assert (value(true) <= value(normal(6, 5, seed=seed).abs()) + 1e-12).all()


def test_multiplicative_noise_weighs_the_decisions_by_its_factors():
    costs = normal(6, 5).abs()
    y = labels(costs)
    loss = ExplicitMLE(opaque("max"), Multiplicative(0.8), num_samples=3)
    factors = Multiplicative(0.8).draw((3, 6, 5), generator=generator(1), dtype=torch.float64, device="cpu")
    expected = (factors * best(costs * factors)).mean(0) - y
    found = gradient(lambda c: loss(c, solutions=y, generator=generator(1)).sum(), costs)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_value_and_gradient_match_the_closed_form_of_gumbel_noise_on_one_hot(temperature):
    theta = torch.tensor([[0.3, -1.0, 0.8, 0.0], [2.0, 0.1, 0.2, -0.3]], dtype=torch.float64)
    y = torch.eye(4, dtype=torch.float64)[[1, 0]]
    samples = 40_000
    loss = ExplicitMLE(Categorical(), Gumbel(temperature), num_samples=samples)
    expected = temperature * (torch.logsumexp(theta / temperature, -1) + EULER_GAMMA) - (theta * y).sum(-1)
    # The maximum of the perturbed theta is Gumbel: its standard deviation is pi / sqrt(6) temperatures.
    error = 5 * temperature * np.pi / np.sqrt(6 * samples)
    value = loss(theta, solutions=y, generator=generator())
    torch.testing.assert_close(value, expected, atol=error, rtol=0)
    found = gradient(lambda t: loss(t, solutions=y, generator=generator()).sum(), theta)
    p = torch.softmax(theta / temperature, -1)
    assert ((found - (p - y)).abs() <= 5 * (p * (1 - p) / samples).sqrt()).all()


@senses
def test_it_is_imle_with_known_targets(sense):
    costs, true = normal(6, 5), normal(6, 5, seed=2)
    y, noise = labels(sign_of(sense) * costs), Gumbel(0.8)
    loss = ExplicitMLE(opaque(sense), noise, num_samples=3)
    for label, target in (({"solutions": y}, Solution(y)), ({"costs": true}, Costs(true))):
        layer = IMLE(opaque(sense), noise=noise, target=target, num_samples=3)
        by_layer = gradient(lambda c, layer=layer: layer(c, generator=generator(1)).mean(0).sum(), costs)
        by_loss = gradient(lambda c, label=label: loss(c, **label, generator=generator(1)).sum(), costs)
        assert by_loss.count_nonzero() > 5
        torch.testing.assert_close(by_layer, by_loss)


def test_fixed_costs_that_a_function_hides_count_in_the_gradient_and_are_missing_from_the_value():
    fixed = np.linspace(-3.0, 3.0, len(DECISIONS))

    def search(costs):
        return DECISIONS[(costs @ DECISIONS.T + fixed).argmin(axis=1)]

    costs = normal(6, 5)
    y = labels(-costs)
    z = torch.as_tensor(search(costs.numpy()))
    assert not torch.equal(z, best(-costs))
    loss = ExplicitMLE(FunctionSolver(search, 5, "min", batched=True))
    torch.testing.assert_close(gradient(lambda c: loss(c, solutions=y).sum(), costs), y - z)
    value = loss(costs, solutions=y)
    torch.testing.assert_close(value, (costs * (y - z)).sum(-1))
    assert value.min() < 0


def test_weights_of_rows_count():
    costs, y = normal(3, 5), labels(normal(3, 5))
    loss = ExplicitMLE(opaque(), Gumbel())
    weights = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    once = gradient(lambda c: loss(c, solutions=y, generator=generator(1)).sum(), costs)
    weighted = gradient(lambda c: (weights * loss(c, solutions=y, generator=generator(1))).sum(), costs)
    torch.testing.assert_close(weighted, weights[:, None] * once)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_values_are_not_in_half_precision_and_gradients_have_the_dtype_of_the_predictions(dtype):
    # Labels whose objectives overflow in float16, and whose differences vanish in bfloat16.
    true = torch.tensor([[4e5, 4e5 + 100, 4e5 + 200, 4e5 + 300, 4e5 + 400]])
    y = best(-true.double())
    costs = torch.full((1, 5), 3e4).to(dtype).requires_grad_()
    samples = torch.as_tensor(DECISIONS[:1]).to(dtype).requires_grad_()
    found = (
        ExplicitMLE(opaque())(costs, solutions=y.long()),
        RegretLoss(opaque())(samples, true),
        HammingLoss(opaque())(samples, y),
    )
    optimum = (true.double() * y).sum(-1)
    expected = (
        -(costs.detach().double() * (best(-costs.detach().double()) - y)).sum(-1),
        (true.double() * samples.detach()).sum(-1) - optimum,
        (samples.detach().double() != y).sum(-1),
    )
    for value, wanted in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, wanted.float(), atol=0.1, rtol=1e-6)
        value.sum().backward()
    assert costs.grad.dtype == samples.grad.dtype == dtype


def test_true_costs_are_solved_in_their_own_precision():
    true = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0]], dtype=torch.float64) - 1e-12 * torch.arange(5)
    solver = Recorder()
    RegretLoss(solver)(torch.zeros(1, 5), true)
    assert np.array_equal(solver.calls[0][0], true.numpy())


@pytest.mark.parametrize(("kind", "rows"), [("solutions", [12]), ("costs", [12, 12])])
def test_solves_per_row_and_the_order_of_costs_first(kind, rows):
    solver = Recorder("max")
    costs, true = normal(4, 5), normal(4, 5, seed=1) + 100
    label = torch.as_tensor(DECISIONS[:4]) if kind == "solutions" else true
    ExplicitMLE(solver, Gumbel(), num_samples=3)(costs, **{kind: label})
    assert solver.rows == rows
    if kind == "costs":  # they do not depend on the network
        assert solver.calls[0][0].min() > 50 > solver.calls[1][0].max()
    assert all(deterministic is False for _, _, deterministic in solver.calls)


def test_instances_reach_both_solves():
    solver = Recorder()
    allowed = torch.zeros(3, 7)
    allowed[:, 2] = 1
    value = ExplicitMLE(solver, Gumbel(), num_samples=2)(
        normal(3, 5), costs=normal(3, 5, seed=1), instances={"allowed": allowed}
    )
    assert all(instances["allowed"].shape == (6, 7) for _, instances, _ in solver.calls)
    assert value.isfinite().all()


@pytest.mark.parametrize("kind", ["solutions", "costs"])
def test_rows_without_a_decision_have_value_nan_and_no_gradient(kind):
    allowed = torch.ones(3, 7)
    allowed[1] = 0
    costs = normal(3, 5).requires_grad_()
    loss = ExplicitMLE(Recorder(on_failure="nan"), Gumbel(), num_samples=2)
    label = {kind: torch.as_tensor(DECISIONS[[2, 5, 6]])}
    value = loss(costs, **label, instances={"allowed": allowed})
    assert value.isnan().tolist() == [False, True, False]
    value.sum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    assert costs.grad.isfinite().all()
    with pytest.raises(SolveError):
        ExplicitMLE(Recorder())(costs, **label, instances={"allowed": allowed})


def test_kappa_is_settled_and_saved():
    loss = ExplicitMLE(opaque(), SumOfGamma("auto"))
    loss(normal(3, 5), solutions=torch.ones(3, 5))
    expected = best(-normal(3, 5)).sum(-1).mean()
    assert loss.state_dict()["noise.kappa"].item() == pytest.approx(expected.item())


def test_explicit_mle_refuses_bad_input_by_name():
    loss = ExplicitMLE(opaque())
    costs, y = normal(3, 5), torch.ones(3, 5)
    nan = costs.clone()
    nan[2, 1] = torch.nan
    for arguments, message in (
        ({}, "none were given. Give exactly one"),
        ({"solutions": y, "costs": costs}, "`solutions` and `costs` were given"),
        (
            {"solutions": y[0]},
            r"`solutions` must have the shape of .*, \(3, 5\), not \(5,\)",
        ),
        ({"costs": nan}, r"`costs` must be finite: 1 of 15 .*row 2, entry 1"),
        ({"solutions": nan}, "`solutions` must be finite"),
        ({"solutions": DECISIONS[:3]}, "`solutions` must be a torch.Tensor, not ndarray"),
        ({"costs": torch.ones(3, 5).long()}, "`costs` must be floating point"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            loss(costs, **arguments)
    with pytest.raises(InvalidInputError, match="`costs_hat` must be finite"):
        loss(nan, solutions=y)
    with pytest.raises(InvalidInputError, match="`num_samples`"):
        ExplicitMLE(opaque(), num_samples=0)


def test_costs_of_zero_satisfy_the_perceptron_but_not_the_noisy_loss():
    y = labels(normal(3, 5))
    zero = torch.zeros(3, 5, dtype=torch.float64)
    assert ExplicitMLE(opaque())(zero, solutions=y).tolist() == [0, 0, 0]
    found = gradient(lambda c: ExplicitMLE(opaque(), Gumbel(), num_samples=500)(c, solutions=y).sum(), zero)
    assert found.abs().sum() > 1


# HammingLoss


def test_hamming_counts_entries_that_differ():
    z, y = torch.as_tensor(DECISIONS[[0, 3, 6]]), torch.as_tensor(DECISIONS[[1, 3, 2]])
    loss = HammingLoss(opaque())
    assert torch.equal(loss(z, y), (z != y).sum(-1).double())
    assert torch.equal(loss(z[None].expand(4, 3, 5), y.long()), (z != y).sum(-1).double().expand(4, 3))
    assert torch.equal(gradient(lambda z: loss(z, y).sum(), z), 1 - 2 * y)
    assert torch.equal(gradient(lambda z: loss(z, y).sum(), torch.full((3, 5), 0.3).double()), 1 - 2 * y)


def test_hamming_sums_over_all_dimensions_of_a_decision():
    decisions = np.random.default_rng(0).integers(0, 2, (4, 2, 3))
    z, y = torch.as_tensor(decisions[:2]).double(), torch.as_tensor(decisions[2:]).double()
    assert torch.equal(HammingLoss(opaque(decisions=decisions))(z, y), (z != y).double().sum((-1, -2)))
    assert HammingLoss(KSubset(1))(z, y).shape == (2, 2)


def test_hamming_refuses_bad_input_by_name():
    loss = HammingLoss(opaque())
    z = torch.zeros(4, 3, 5)
    for y, message in (
        (torch.full((3, 5), 2.0), r"`solutions` must be 0 or 1 .*from 2 to 2"),
        (torch.full((3, 5), torch.nan), "`solutions` must be finite"),
        (torch.zeros(1, 5), r"`decisions` must have shape .*\(4, 3, 5\) and \(1, 5\)"),
        (torch.zeros(2, 4, 3, 5), "`decisions` must have shape"),
        (np.zeros((3, 5)), "`solutions` must be a torch.Tensor, not ndarray"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            loss(z, y)
    assert loss(z, torch.full((3, 5), 1 + 1e-7)).shape == (4, 3)


# RegretLoss


@senses
def test_regret_is_the_excess_over_the_optimum_in_the_own_sense(sense):
    costs = normal(6, 5)
    z = torch.as_tensor(DECISIONS[[0, 1, 2, 3, 4, 5]])
    objectives = costs @ torch.as_tensor(DECISIONS).T
    optimum = objectives.amin(-1) if sense == "min" else objectives.amax(-1)
    expected = ((costs * z).sum(-1) - optimum).abs()
    loss = RegretLoss(opaque(sense))
    found = loss(z, costs)
    torch.testing.assert_close(found, expected)
    assert (found >= 0).all()
    assert found.max() > 0.5
    y = best(sign_of(sense) * costs)
    torch.testing.assert_close(loss(y, costs), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(loss(z, costs, y), expected)
    slope = gradient(lambda z: loss(z, costs).sum(), z)
    assert torch.equal(slope, costs if sense == "min" else -costs)
    stacked = loss(torch.stack([z, y]), costs)
    torch.testing.assert_close(stacked, torch.stack([expected, torch.zeros(6, dtype=torch.float64)]))


def test_known_solutions_need_no_solve_and_instances_reach_the_one_that_is_needed():
    solver, costs = Recorder(), normal(3, 5)
    loss = RegretLoss(solver)
    z = torch.as_tensor(DECISIONS[:3])
    loss(z, costs, best(-costs))
    assert solver.rows == []
    allowed = torch.zeros(3, 7)
    allowed[torch.arange(3), torch.arange(3)] = 1
    assert torch.equal(loss(z, costs, instances={"allowed": allowed}), torch.zeros(3, dtype=torch.float64))
    assert solver.rows == [3]
    assert solver.calls[0][2] is True


def test_regret_of_families_without_a_sense_is_that_of_a_maximisation():
    costs = normal(6, 5)
    z = KSubset(2).map(-costs)
    expected = costs.topk(2).values.sum(-1) - (costs * z).sum(-1)
    torch.testing.assert_close(RegretLoss(KSubset(2))(z, costs), expected)


def test_regret_refuses_bad_input_by_name():
    loss, z, costs = RegretLoss(opaque()), torch.zeros(4, 3, 5), normal(3, 5)
    nan = costs * torch.nan
    for arguments, message in (
        ((z, nan), "`costs` must be finite"),
        ((z, costs[:2]), "`decisions` must have shape"),
        ((z, costs, costs[:2]), "`solutions` must have the shape"),
        ((z, costs, nan), "`solutions` must be finite"),
        ((z.long(), costs), "`decisions` must be floating point"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            loss(*arguments)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_losses_stay_on_the_device():
    costs = normal(6, 5).cuda().requires_grad_()
    y = torch.as_tensor(DECISIONS[:6]).cuda()
    for label in ({"solutions": y}, {"costs": y}):
        value = ExplicitMLE(opaque(), Gumbel(), num_samples=2)(costs, **label)
        value.sum().backward()
        assert value.device == costs.grad.device == costs.device
    assert RegretLoss(opaque())(y, costs.detach()).device == costs.device
