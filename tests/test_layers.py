from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imle_opt.families import Categorical, KSubset
from imle_opt.layers import IMLE, BlackBox, StraightThrough
from imle_opt.noise import Gumbel, Multiplicative, NoNoise, Normal, SumOfGamma
from imle_opt.targets import PID
from imle_opt_solvers.errors import InvalidInputError, SolveError
from imle_opt_solvers.grid import grid_path
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

MAKERS = {
    "IMLE": lambda solver, **options: IMLE(solver, noise=Gumbel(), target=PID(1.0), **options),
    "IMLE central": lambda solver, **options: IMLE(
        solver, noise=Gumbel(), target=PID(1.0), difference="central", **options
    ),
    "AIMLE": lambda solver, **options: IMLE(solver, noise=Gumbel(), **options),
    "BlackBox": lambda solver: BlackBox(solver, 1.0),
    "StraightThrough": lambda solver, **options: StraightThrough(solver, noise=Gumbel(), **options),
}
SAMPLED = [name for name in MAKERS if name != "BlackBox"]
ALL = sorted(MAKERS)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


# Shapes, dtypes, modes


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("num_samples", [1, 4])
def test_samples_come_first_in_train_and_are_absent_in_eval(name, batch, num_samples):
    layer = MAKERS[name](opaque(), num_samples=num_samples)
    costs = normal(*batch, 5).requires_grad_()
    samples = layer(costs)
    assert samples.shape == (num_samples, *batch, 5)
    samples.square().sum().backward()
    assert costs.grad.shape == costs.shape
    assert layer.eval()(costs).shape == costs.shape


def test_black_box_has_one_sample():
    assert BlackBox(opaque(), 1.0)(normal(3, 5)).shape == (1, 3, 5)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.lists(st.integers(0, 3), max_size=3),
    event=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    num_samples=st.integers(1, 3),
    sense=st.sampled_from(SENSES),
    name=st.sampled_from(SAMPLED),
)
def test_any_rank_of_batch_and_event_works(batch, event, num_samples, sense, name):
    rng = np.random.default_rng(0)
    decisions = rng.integers(0, 2, size=(4, *event))
    layer = MAKERS[name](opaque(sense, decisions), num_samples=num_samples)
    costs = normal(*batch, *event)
    found = gradient(lambda c: layer(c).square().sum(), costs)
    assert found.shape == costs.shape
    flat = best(sign_of(sense) * costs.reshape(*batch, int(np.prod(event))), decisions)
    assert torch.equal(layer.eval()(costs), flat.reshape(costs.shape))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_of_the_costs_comes_back(name, dtype):
    layer = MAKERS[name](opaque())
    costs = normal(3, 5).to(dtype).requires_grad_()
    samples = layer(costs)
    assert samples.dtype == dtype
    samples.square().sum().backward()
    assert costs.grad.dtype == dtype
    assert costs.grad.isfinite().all()
    assert layer.eval()(costs).dtype == dtype


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sense", SENSES)
def test_eval_is_the_optimum_without_noise_randomness_or_gradient(name, sense):
    layer = MAKERS[name](opaque(sense)).eval()
    costs = normal(4, 5).requires_grad_()
    before = torch.get_rng_state()
    decisions = layer(costs)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(decisions, best(sign_of(sense) * costs.detach()))
    assert not decisions.requires_grad
    with torch.no_grad():
        assert torch.equal(layer(costs), decisions)


@pytest.mark.parametrize(
    ("noise", "train", "evaluate"), [(NoNoise(), True, True), (Gumbel(), False, True)], ids=["none", "noise"]
)
def test_rows_are_solved_from_the_same_start_without_noise_and_in_eval(noise, train, evaluate):
    solver = Recorder()
    layer = IMLE(solver, noise=noise, target=PID(1.0))
    gradient(lambda c: layer(c).sum(), normal(3, 5))
    layer.eval()(normal(3, 5))
    assert [flag for _, _, flag in solver.calls] == [train, train, evaluate]


def test_perturbed_samples_are_optima_at_perturbed_theta():
    eps = normal(3, 2, 5, seed=1)
    costs = normal(2, 5)
    for sense in SENSES:
        for layer in (
            IMLE(opaque(sense), noise=GivenNoise(eps), num_samples=3),
            StraightThrough(opaque(sense), noise=GivenNoise(eps), num_samples=3),
        ):
            assert torch.equal(layer(costs), best(sign_of(sense) * costs + eps))


def test_families_on_tensors_work_in_place_of_a_solver():
    costs = normal(3, 4, 5)
    layer = IMLE(KSubset(2), noise=Gumbel(), target=PID(1.0), num_samples=2)
    samples = layer(costs)
    assert torch.equal(samples.sum(-1), torch.full((2, 3, 4), 2.0, dtype=torch.float64))
    one_hot = IMLE(Categorical(event_dim=2), noise=Gumbel(), target=PID(1.0))
    assert torch.equal(one_hot(costs).sum(-1), torch.ones(1, 3, 4, dtype=torch.float64))
    assert gradient(lambda c: one_hot(c).square().sum(), costs).shape == costs.shape


# Gradients against the formulas, by enumeration


@pytest.mark.parametrize("sense", SENSES)
@pytest.mark.parametrize("scale", ["1", "1/strength"])
@pytest.mark.parametrize("difference", ["forward", "central"])
def test_imle_gradient_is_the_difference_of_two_maps(sense, scale, difference):
    costs, eps, weight = normal(6, 5), normal(3, 6, 5, seed=1), normal(3, 6, 5, seed=2)
    strength, theta = 0.7, sign_of(sense) * costs
    layer = IMLE(
        opaque(sense),
        noise=GivenNoise(eps),
        target=PID(strength),
        num_samples=3,
        scale=scale,
        difference=difference,
    )
    found = gradient(lambda c: (weight * layer(c)).sum(-1).mean(0).sum(), costs)
    after = best(theta - strength * weight + eps)
    differences = best(theta + eps) - after
    if difference == "central":
        differences = (best(theta + strength * weight + eps) - after) / 2
    assert differences.count_nonzero() > 10
    expected = sign_of(sense) * differences.mean(0) / (strength if scale == "1/strength" else 1.0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sense", SENSES)
def test_black_box_gradient(sense):
    costs, weight, strength = normal(8, 5), normal(8, 5, seed=1), 1.3
    layer = BlackBox(opaque(sense), strength)
    found = gradient(lambda c: (weight * layer(c)).sum(), costs)
    theta = sign_of(sense) * costs
    expected = sign_of(sense) * (best(theta) - best(theta - strength * weight)) / strength
    assert expected.count_nonzero() > 5
    torch.testing.assert_close(found, expected)


def test_black_box_gradient_is_that_of_the_interpolated_loss():
    # f(w) = (V(w + lambda g) - V(w)) / lambda with V(w) = min <w, z>, up to a constant (a minimisation).
    costs, weight, strength = normal(8, 5), normal(8, 5, seed=1), 1.3
    found = gradient(lambda c: (weight * BlackBox(opaque("min"), strength)(c)).sum(), costs)
    table = torch.tensor(DECISIONS)

    def interpolation(c):
        return (((c + strength * weight) @ table.T).amin(-1) - (c @ table.T).amin(-1)).sum() / strength

    torch.testing.assert_close(found, gradient(interpolation, costs))


@pytest.mark.parametrize("sense", SENSES)
def test_straight_through_passes_the_mean_of_the_unit_gradients(sense):
    costs, weight = normal(4, 5), normal(3, 4, 5, seed=1)
    layer = StraightThrough(opaque(sense), noise=Gumbel(), num_samples=3)
    found = gradient(lambda c: (weight * layer(c)).sum(-1).mean(0).sum(), costs)
    torch.testing.assert_close(found, sign_of(sense) * weight.mean(0))


def test_multiplicative_noise_is_shared_by_both_solves():
    costs, weight = normal(6, 5).abs(), normal(6, 5, seed=1)
    layer = IMLE(opaque("max"), noise=Multiplicative(0.8), target=PID(0.5))
    factors = Multiplicative(0.8).draw((1, 6, 5), generator=generator(3), dtype=torch.float64, device="cpu")
    found = gradient(lambda c: (weight * layer(c, generator=generator(3))).sum(), costs)
    expected = (best(costs * factors[0]) - best((costs - 0.5 * weight) * factors[0])) / 0.5
    assert expected.count_nonzero() > 5
    torch.testing.assert_close(found, expected)


# What the rule sees: samples, batches, zeros, failures


@pytest.mark.parametrize("name", SAMPLED)
def test_identical_samples_count_as_one_under_a_mean(name):
    # Dividing by S twice, or letting lambda shrink with S, would show.
    costs, eps, weight = normal(6, 5), normal(1, 6, 5, seed=1), normal(6, 5, seed=2)

    def found(num_samples):
        layer = MAKERS[name](opaque(), num_samples=num_samples)
        layer.noise.noise = GivenNoise(eps.expand(num_samples, 6, 5))
        if name == "AIMLE":
            layer.target.alpha.fill_(2.0)
        return gradient(lambda c: (weight * layer(c)).sum(-1).mean(0).sum(), costs)

    assert found(1).count_nonzero() > 5
    torch.testing.assert_close(found(7), found(1))


def test_the_size_of_the_batch_does_not_matter_once_the_mean_is_undone():
    weight = normal(5, seed=2)
    alone = normal(1, 5)

    def found(rows, reduction, scale="1/strength"):
        layer = IMLE(opaque(), noise=NoNoise(), target=PID(2.0), batch_reduction=reduction, scale=scale)
        costs = alone.expand(rows, 5)
        return gradient(lambda c: (weight * layer(c)).sum(-1).mean(), costs)

    assert found(1, "sum").count_nonzero() > 0
    torch.testing.assert_close(found(50, "mean"), found(1, "sum").expand(50, 5) / 50)
    torch.testing.assert_close(found(50, "mean", "1"), found(1, "sum", "1").expand(50, 5) / 50)
    assert found(50, "sum").count_nonzero() == 0  # lambda has become 50 times smaller
    black_box = BlackBox(opaque(), 2.0, batch_reduction="mean")
    torch.testing.assert_close(
        gradient(lambda c: (weight * black_box(c)).sum(-1).mean(), alone.expand(50, 5)),
        found(50, "mean"),
    )


def test_rows_without_a_gradient_get_zero_and_are_not_solved_again():
    solver = Recorder()
    layer = IMLE(solver, noise=Gumbel(), target=PID(5.0), num_samples=3)
    weight = torch.zeros(3, 4, 5, dtype=torch.float64)
    weight[1, 2] = normal(5)
    weight[2, 2] = normal(5, seed=1)
    weight[0, 3] = normal(5, seed=2)
    found = gradient(lambda c: (weight * layer(c)).sum(), normal(4, 5))
    assert solver.rows == [12, 3]
    assert torch.equal(found[:2], torch.zeros(2, 5, dtype=torch.float64))
    expected = gradient(
        lambda c: (
            weight
            * IMLE(opaque(), noise=layer.noise.noise, target=PID(5.0), num_samples=3)(
                c, generator=generator(4)
            )
        ).sum(),
        normal(4, 5),
    )
    again = gradient(lambda c: (weight * layer(c, generator=generator(4))).sum(), normal(4, 5))
    torch.testing.assert_close(again, expected)


@pytest.mark.parametrize("difference", ["forward", "central"])
def test_rows_that_are_solved_again_have_the_noise_of_their_samples(difference):
    costs, eps, weight = normal(4, 5), normal(3, 4, 5, seed=1), normal(3, 4, 5, seed=2)
    weight[0, 1] = weight[2, 1] = weight[1, 3] = 0.0
    layer = IMLE(opaque("max"), noise=GivenNoise(eps), target=PID(3.0), num_samples=3, difference=difference)
    found = gradient(lambda c: (weight * layer(c)).sum(-1).mean(0).sum(), costs)
    after = best(costs - 3.0 * weight + eps)
    before = best(costs + eps) if difference == "forward" else best(costs + 3.0 * weight + eps)
    differences = (before - after) / (1 if difference == "forward" else 2)
    assert differences.count_nonzero() > 10
    torch.testing.assert_close(found, differences.mean(0) / 3.0)


def test_samples_of_a_row_are_solved_next_to_each_other():
    solver = Recorder("max")
    eps, costs = normal(3, 2, 5, seed=1), normal(2, 5)
    IMLE(solver, noise=GivenNoise(eps), num_samples=3)(costs)
    expected = [costs[b] + eps[s, b] for b in range(2) for s in range(3)]
    assert np.array_equal(solver.calls[0][0], torch.stack(expected).numpy())


def test_one_solve_stands_for_all_samples_without_noise():
    solver = Recorder()
    samples = IMLE(solver, noise=NoNoise(), num_samples=9)(normal(4, 5))
    assert samples.shape == (9, 4, 5)
    assert solver.rows == [4]


def test_instances_reach_the_forward_and_the_backward_solves():
    # Every row may take one decision of three: the second solve must respect that, too.
    allowed = torch.zeros(2, 3, 7, dtype=torch.bool)
    for row, choices in enumerate([(0, 1), (2, 3), (4, 5), (6, 0), (1, 2), (3, 4)]):
        allowed.view(6, 7)[row, list(choices)] = True
    layer = IMLE(Recorder(), noise=Normal(2.0), target=PID(3.0), num_samples=8)
    costs = normal(2, 3, 5).requires_grad_()
    weight = normal(8, 2, 3, 5, seed=1)
    weight[3, 1] = 0.0
    samples = layer(costs, instances={"allowed": allowed})
    (weight * samples).sum().backward()
    for row in range(6):
        region = DECISIONS[allowed.view(6, 7)[row].numpy()]
        for sample in samples.detach().reshape(8, 6, 5)[:, row]:
            assert (sample.numpy() == region).all(1).any()
        # With two decisions, a gradient is a multiple of their difference.
        axis = torch.tensor(region[0] - region[1])
        found = costs.grad.reshape(6, 5)[row]
        torch.testing.assert_close(found, axis * (found @ axis) / (axis @ axis))
    assert costs.grad.count_nonzero() > 5
    decisions = layer.eval()(costs, instances={"allowed": allowed})
    assert all(
        allowed.view(6, 7)[r, (d.numpy() == DECISIONS).all(1).argmax()]
        for r, d in enumerate(decisions.reshape(6, 5))
    )


def forbid_row(row, rows=3):
    allowed = torch.ones(rows, 7)
    allowed[row] = 0
    return {"allowed": allowed}


def test_rows_without_a_decision_are_nan_and_get_no_gradient():
    costs, weight = normal(3, 5), normal(3, 5, seed=1)
    for layer in (
        IMLE(Recorder(on_failure="nan"), noise=Gumbel(), target=PID(5.0)),
        IMLE(Recorder(on_failure="nan"), noise=Gumbel(), target=PID(5.0), difference="central"),
        IMLE(Recorder(on_failure="nan"), noise=Gumbel()),
        StraightThrough(Recorder(on_failure="nan")),
    ):
        costs = costs.detach().requires_grad_()
        samples = layer(costs, instances=forbid_row(1))
        assert samples[:, 1].isnan().all()
        assert not samples[:, [0, 2]].isnan().any()
        (weight * samples).square().sum().backward()
        assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
        assert costs.grad.isfinite().all()


def test_rows_without_a_decision_are_not_solved_again_and_do_not_count_in_the_density():
    solver = Recorder(on_failure="nan")
    layer = IMLE(solver, noise=Gumbel())
    layer.target.alpha.fill_(10.0)
    weight = normal(3, 5, seed=1)
    options = {"instances": forbid_row(1), "generator": generator(1)}
    gradient(lambda c: (weight * layer(c, **options)).sum(), normal(3, 5))
    assert solver.rows == [3, 2]
    # The mean is one over the two rows that have a decision.
    changed = 20 * (layer.target.running_density.item() - 0.9)
    assert changed > 0
    assert changed == pytest.approx(round(changed), abs=1e-4)


def test_costs_that_noise_or_the_target_made_illegal_are_told_from_the_users():
    costs = torch.full((2, 3, 3), 0.1).requires_grad_()
    with pytest.raises(InvalidInputError, match="must not be negative") as caught:
        IMLE(grid_path((3, 3)), noise=Gumbel())(costs)
    assert "after the noise" in caught.value.__notes__[0]
    samples = IMLE(grid_path((3, 3)), noise=Multiplicative(0.1), target=PID(1.0))(costs)
    with pytest.raises(InvalidInputError, match="must not be negative") as caught:
        (-samples).sum().backward()
    assert "a step of the target" in caught.value.__notes__[0]


def test_a_failed_row_raises_and_is_counted_in_rows_of_the_batch():
    layer = IMLE(Recorder(), noise=Gumbel(), num_samples=4)
    with pytest.raises(SolveError, match="4 of 12 rows") as caught:
        layer(normal(3, 5), instances=forbid_row(1))
    assert caught.value.rows == (4, 5, 6, 7)
    assert "in rows of the batch" in caught.value.__notes__[0]
    assert "[1]" in caught.value.__notes__[0]


@pytest.mark.parametrize("name", [name for name in ALL if name != "StraightThrough"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_passes_through_in_its_row_only(name, bad):
    # Loss scaling of mixed precision relies on it; and nothing else may notice.
    layer = MAKERS[name](opaque())
    weight = normal(4, 5, seed=1)
    weight[2, 3] = bad
    found = gradient(lambda c: (weight * layer(c)).sum(), normal(4, 5))
    assert found[2].isnan().all()
    assert found[[0, 1, 3]].isfinite().all()


def test_writing_into_the_samples_does_not_change_the_rule():
    layer = IMLE(opaque(), noise=Gumbel(), target=PID(5.0))
    costs, weight = normal(4, 5), normal(4, 5, seed=1)

    def loss(costs, spoil):
        samples = layer(costs, generator=generator(1))
        result = (weight * samples).sum()
        if spoil:
            samples.detach().zero_()
        return result

    expected = gradient(lambda c: loss(c, spoil=False), costs)
    assert expected.count_nonzero() > 0
    assert torch.equal(gradient(lambda c: loss(c, spoil=True), costs), expected)


# Randomness and state


@pytest.mark.parametrize("name", SAMPLED)
def test_the_same_generator_state_gives_bit_equal_results(name):
    layer = MAKERS[name](opaque(), num_samples=3)
    if name == "AIMLE":
        layer.target.alpha.fill_(0.5)
    costs, weight = normal(4, 5), normal(4, 5, seed=1)

    def run(seed):
        return gradient(lambda c: (weight * layer(c, generator=generator(seed))).sum(), costs)

    state = copy.deepcopy(layer.state_dict())
    first = run(7)
    layer.load_state_dict(state)
    assert torch.equal(run(7), first)
    before = torch.get_rng_state()
    layer(costs, generator=generator(0))
    assert torch.equal(torch.get_rng_state(), before)
    draws = [layer(costs, generator=generator(seed)) for seed in range(5)]
    assert any(not torch.equal(draws[0], other) for other in draws[1:])


def test_a_generator_of_the_layer_is_used_unless_the_call_gives_one():
    costs = normal(40, 5)
    with_own = IMLE(opaque(), noise=Gumbel(), generator=generator(3))
    without = IMLE(opaque(), noise=Gumbel())
    assert torch.equal(with_own(costs), without(costs, generator=generator(3)))
    assert torch.equal(with_own(costs, generator=generator(5)), without(costs, generator=generator(5)))
    torch.manual_seed(11)
    default = without(costs)
    torch.manual_seed(11)
    assert torch.equal(without(costs), default)


def test_kappa_comes_from_the_solver_where_it_knows():
    solver = Recorder(cardinality=3)
    layer = IMLE(solver)
    layer(normal(4, 5))
    assert solver.rows == [4]
    assert layer.noise.kappa.item() == 3


def test_kappa_is_counted_on_the_first_training_batch_and_kept():
    solver = Recorder("max")
    layer = IMLE(solver, num_samples=2)
    layer.eval()(normal(4, 5))
    assert layer.noise.kappa.isnan()
    costs = normal(6, 5)
    layer.train()(costs[:0])
    assert layer.noise.kappa.isnan()
    layer(costs)
    assert solver.rows == [4, 6, 12]
    expected = best(costs).sum(-1).mean().item()
    assert layer.noise.kappa.item() == pytest.approx(expected)
    layer(normal(6, 5, seed=1))
    assert solver.rows == [4, 6, 12, 12]
    fresh = IMLE(opaque("max"), num_samples=2)
    fresh.load_state_dict(layer.state_dict())
    by_hand = IMLE(opaque("max"), noise=SumOfGamma(kappa=layer.noise.kappa.item()), num_samples=2)
    assert torch.equal(fresh(costs, generator=generator(2)), by_hand(costs, generator=generator(2)))
    assert "noise.kappa" not in by_hand.state_dict()


def test_layers_can_be_copied():
    layer = IMLE(opaque(), noise=Gumbel(), generator=generator(0))
    costs = normal(4, 5)
    assert torch.equal(copy.deepcopy(layer)(costs), layer(costs))


# Bad input


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("training", [True, False])
def test_bad_costs_are_refused_by_name(name, training):
    layer = MAKERS[name](opaque()).train(training)
    costs = normal(2, 3, 5)
    costs[1, 2, 4] = torch.nan
    costs[1, 2, 3] = torch.inf
    with pytest.raises(InvalidInputError, match=r"`costs`.* 2 of 30 .*inf at row \(1, 2\), entry 3"):
        layer(costs)
    with pytest.raises(InvalidInputError, match=r"`costs` must have shape \(\*batch, 5\), not \(2, 4\)"):
        layer(normal(2, 4))
    with pytest.raises(InvalidInputError, match=r"`costs` must be floating point, not torch.int64"):
        layer(torch.ones(2, 5, dtype=torch.long))
    with pytest.raises(InvalidInputError, match=r"`costs` must be a torch.Tensor, not ndarray"):
        layer(np.ones((2, 5)))
    with pytest.raises(InvalidInputError, match="does not take `instances` named 'capacity'"):
        layer(normal(2, 5), instances={"capacity": torch.ones(2)})


def test_bad_options_are_refused_by_name():
    for options, message in (
        ({"num_samples": 0}, "`num_samples` must be at least 1"),
        ({"num_samples": 2.0}, "`num_samples` must be a whole number, not 2.0"),
        ({"noise": Gumbel}, r"`noise` must be a Noise, .*Gumbel\(1.0\).*, not <class"),
        ({"noise": 1.0}, "`noise` must be a Noise, .*, not 1.0"),
        ({"target": 10.0}, r"`target` must be a Target, .*PID\(10.0\).*, not 10.0"),
        ({"scale": "lambda"}, "`scale` must be one of '1/strength', '1'"),
        ({"difference": "backward"}, "`difference` must be one of"),
        ({"batch_reduction": "none"}, "`batch_reduction` must be one of 'sum', 'mean'"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            IMLE(opaque(), **options)
    with pytest.raises(InvalidInputError, match="`strength` must be positive"):
        BlackBox(opaque(), 0.0)
    with pytest.raises(InvalidInputError, match="expected a solver or a family, not int"):
        IMLE(3)
    with pytest.raises(InvalidInputError, match="expected a solver or a family, not the class KSubset"):
        IMLE(KSubset)
    with pytest.raises(InvalidInputError, match=r"`generator` must be a Generator, .*, not 3"):
        IMLE(opaque())(normal(2, 5), generator=3)


def test_a_layer_shows_what_it_is():
    shown = repr(IMLE(opaque(), noise=Gumbel(2.0), num_samples=4))
    for part in ("FunctionSolver", "num_samples=4", "Gumbel(temperature=2.0)", "Adaptive(step=0.01"):
        assert part in shown


# CUDA


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("name", ALL)
def test_everything_stays_on_the_device_of_the_costs(name):
    for solver in (opaque(), KSubset(2)):
        layer = MAKERS[name](solver).cuda()
        costs = normal(6, 5).cuda().requires_grad_()
        for _ in range(3):
            samples = layer(costs, generator=generator(0, "cuda"))
            assert samples.device == costs.device
            samples.square().sum().backward()
            assert costs.grad.device == costs.device
        assert layer.eval()(costs).device == costs.device


@pytest.mark.cuda
@needs_cuda
def test_a_generator_of_another_device_is_refused():
    with pytest.raises(InvalidInputError, match="`generator` is on cpu"):
        IMLE(opaque(), noise=Gumbel())(normal(6, 5).cuda(), generator=generator(0))
