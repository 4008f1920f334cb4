from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch

from imle_opt.families import KSubset
from imle_opt.layers import IMLE
from imle_opt.noise import Gumbel, NoNoise
from imle_opt.targets import PID, Adaptive, Costs, Eq14, Solution
from imle_opt_solvers.errors import InvalidInputError
from opaque import DECISIONS, GivenNoise, best, generator, gradient, normal, opaque

MAXIMISE = KSubset(2)  # event_dim 1, theta = costs


def test_pid_is_a_step_against_the_gradient():
    theta, g = normal(3, 5), normal(2, 3, 5, seed=1)
    aim = PID(4.0).aim(theta, g, MAXIMISE)
    assert torch.equal(aim.theta, theta - 4 * g)
    assert (aim.strength, aim.decisions) == (4.0, None)
    interpolated = PID(4.0, keep=0.25).aim(theta, g, MAXIMISE)
    assert torch.allclose(interpolated.theta, 0.25 * theta - 4 * g)
    assert torch.equal(PID(1.0, keep=0.0).aim(theta, g, MAXIMISE).theta, -g)


@pytest.mark.parametrize("strength", [0.0, -1.0, math.nan, math.inf])
def test_pid_refuses_a_strength_that_is_not_positive(strength):
    with pytest.raises(InvalidInputError, match="`strength` must be positive"):
        PID(strength)


def test_eq14_uses_the_gradient_entry_by_entry():
    theta, g = normal(2, 4), torch.tensor([[[1.0, 0.0, -2.0, 0.0], [0.0, 0.0, 0.0, 3.0]]]).double()
    aim = Eq14().aim(theta, g, MAXIMISE)
    expected = [[[-1, theta[0, 1], 2, theta[0, 3]], [theta[1, 0], theta[1, 1], theta[1, 2], -3]]]
    assert torch.equal(aim.theta, torch.tensor(expected).double())


def test_known_targets_do_not_look_at_the_gradient():
    theta, g, label = normal(3, 5), normal(2, 3, 5, seed=1), normal(3, 5, seed=2)
    assert torch.equal(Solution(label).aim(theta, g, MAXIMISE).decisions, label)
    minimise = IMLE(opaque("min")).family
    assert torch.equal(Costs(label).aim(theta, g, MAXIMISE).theta, label.expand(2, 3, 5))
    assert torch.equal(Costs(label).aim(theta, g, minimise).theta, -label.expand(2, 3, 5))


@pytest.mark.parametrize("target", [Solution(torch.zeros(2, 5)), Costs(torch.zeros(2, 5))])
def test_known_targets_belong_to_one_batch(target):
    layer = IMLE(opaque(), noise=NoNoise(), target=target)
    with pytest.raises(InvalidInputError, match=r"have shape \(2, 5\).*\(3, 5\).*belongs to one batch"):
        gradient(lambda costs: layer(costs).sum(), normal(3, 5))


def test_known_costs_with_nan_are_refused_by_name():
    layer = IMLE(opaque(), noise=NoNoise(), target=Costs(torch.full((1, 5), torch.nan)))
    with pytest.raises(InvalidInputError, match=r"`costs` must be finite: 5 of 5"):
        gradient(lambda costs: layer(costs).sum(), normal(1, 5))


def adaptive_by_hand(theta, gs, eps, step, density, start, central):
    """AIMLE in plain numbers, one step per entry of gs: (steps, S, B, m); eps: (S, B, m)."""
    alpha, n, history = start, 1.0, []
    for g in gs:
        total, entries = torch.zeros_like(theta), []
        for s in range(len(g)):
            for b in range(len(theta)):
                strength = alpha * math.sqrt(sum(theta[b] ** 2)) / math.sqrt(sum(g[s, b] ** 2))
                after = best(theta[b] - strength * g[s, b] + eps[s, b])
                if central:
                    d = (best(theta[b] + strength * g[s, b] + eps[s, b]) - after) / 2
                else:
                    d = best(theta[b] + eps[s, b]) - after
                entries.append(sum(d != 0).item())
                total[b] += d / (strength or 1.0) / len(g)
        n = 0.9 * n + 0.1 * sum(entries) / len(entries)
        alpha = max(0.0, alpha + (step if n < density else -step))
        history.append((total, alpha, n))
    return history


@pytest.mark.parametrize("start", [0.0, 0.75])
@pytest.mark.parametrize("difference", ["forward", "central"])
def test_adaptive_follows_the_published_algorithm(difference, start):
    steps, num_samples, rows = 25, 3, 4
    theta, eps = normal(rows, 5), normal(num_samples, rows, 5, seed=1)
    gs = normal(steps, num_samples, rows, 5, seed=2)
    target = Adaptive(step=0.3, density=1.5, start=start)
    layer = IMLE(
        opaque("max"),
        noise=GivenNoise(eps),
        target=target,
        num_samples=num_samples,
        difference=difference,
    ).double()
    history = adaptive_by_hand(theta, gs, eps, 0.3, 1.5, start, difference == "central")
    assert history[0][0].any() == (start > 0)
    assert any(alpha > 0.5 for _, alpha, _ in history)
    assert any(later < earlier for (_, earlier, _), (_, later, _) in itertools.pairwise(history))
    for g, (expected, alpha, n) in zip(gs, history, strict=True):
        found = gradient(lambda costs, g=g: (layer(costs) * g).sum() / num_samples, theta)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        assert target.alpha.item() == pytest.approx(alpha, abs=1e-9)
        assert target.running_density.item() == pytest.approx(n, abs=1e-9)


@pytest.mark.parametrize("density", [1.0, 3.0])
def test_adaptive_settles_near_the_density_asked_for(density):
    # A linear model learns the values of 20 items, 5 may be taken, and the loss is a distance to a target.
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 20)
    layer = IMLE(KSubset(5), noise=Gumbel(), target=Adaptive(step=5e-3, density=density))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    features, wanted = torch.randn(64, 8), torch.rand(64, 20)
    alphas, densities = [], []
    for _ in range(400):
        optimizer.zero_grad()
        ((layer(model(features)) - wanted) ** 2).sum(-1).mean().backward()
        optimizer.step()
        alphas.append(layer.target.alpha.item())
        densities.append(layer.target.running_density.item())
    for window in (slice(200, 300), slice(300, 400)):
        assert sum(densities[window]) / 100 == pytest.approx(density, rel=0.1)
        assert min(alphas[window]) > 0
        assert max(alphas[window]) < 3 * min(alphas[window])


def test_adaptive_state_is_saved_and_loaded():
    layer = IMLE(opaque(), noise=Gumbel(), target=Adaptive(step=0.25))
    costs = normal(6, 5)
    for seed in range(5):
        gradient(lambda c, seed=seed: layer(c, generator=generator(seed)).square().sum(), costs)
    state = copy.deepcopy(layer.state_dict())
    assert state.keys() == {"target.alpha", "target.running_density"}
    assert state["target.alpha"] > 0
    fresh = IMLE(opaque(), noise=Gumbel(), target=Adaptive(step=0.25))
    fresh.load_state_dict(state)

    def step(layer):
        return gradient(lambda c: layer(c, generator=generator(9)).square().sum(), costs)

    assert torch.equal(step(fresh), step(layer))
    assert torch.equal(fresh.target.alpha, layer.target.alpha)


def test_adaptive_learns_in_train_only():
    layer = IMLE(opaque(), noise=Gumbel())
    layer.target.eval()
    gradient(lambda c: layer(c).sum(), normal(6, 5))
    assert layer.target.alpha.item() == 0
    layer.eval()
    layer(normal(6, 5))
    layer.train()
    with torch.no_grad():
        layer(normal(6, 5))
    assert (layer.target.alpha.item(), layer.target.running_density.item()) == (0, 1)


def test_alpha_stays_at_zero_where_less_is_asked_for():
    layer = IMLE(opaque(), noise=Gumbel(), target=Adaptive(density=0.5))
    gradient(lambda c: layer(c).sum(), normal(6, 5))
    assert layer.target.running_density.item() == pytest.approx(0.9)
    assert layer.target.alpha.item() == 0


def test_rows_without_a_gradient_do_not_count_in_the_density():
    target = Adaptive(step=0.5)
    layer = IMLE(opaque("max"), noise=NoNoise(), target=target)
    theta = torch.tensor(DECISIONS[:4]) + 0.01 * normal(4, 5)
    weight = torch.tensor([1.0, 0.0, 0.0, 0.0])[:, None].double() * torch.tensor(2 * DECISIONS[0] - 1)
    for _ in range(4):
        gradient(lambda c: (layer(c) * weight).sum(), theta)
    # Decisions 0 -> 2 differ in four entries, in the one row that has a gradient, at alpha 0.5 and above.
    alpha, n, densities = 0.0, 1.0, []
    for _ in range(4):
        after = best(theta[0] - alpha * theta[0].norm() / weight[0].norm() * weight[0])
        densities.append((after != best(theta[0])).sum().item())
        n = 0.9 * n + 0.1 * densities[-1]
        alpha = max(0.0, alpha + (0.5 if n < 1 else -0.5))
    assert max(densities) >= 2
    assert target.running_density.item() == pytest.approx(n, rel=1e-6)
    before = target.running_density.clone()
    gradient(lambda c: (0 * layer(c)).sum(), theta)
    assert torch.equal(target.running_density, before)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1.0, 1e30])
def test_the_adaptive_step_does_not_depend_on_the_scale_of_the_loss(scale):
    target = Adaptive()
    target.alpha.fill_(0.3)
    theta, g = torch.ones(2, 4), torch.tensor([[[3.0, 0, 0, 4]] * 2])
    aim = target.aim(theta, scale * g, MAXIMISE)
    # 1e-42 is subnormal in float32: three digits, and its lambda is infinite.
    assert torch.allclose(theta - aim.theta, 0.3 * 2 * g / 5, rtol=1e-5 if scale > 1e-40 else 1e-2)


def test_a_gradient_that_is_next_to_nothing_breaks_nothing():
    target = Adaptive()
    target.alpha.fill_(0.3)
    layer = IMLE(KSubset(2), noise=Gumbel(), target=target)
    found = gradient(lambda c: (1e-42 * layer(c)).sum(), torch.randn(3, 5))
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"step": 0.0}, "step"),
        ({"density": -1.0}, "density"),
        ({"decay": 1.0}, "decay"),
        ({"start": -0.1}, "start"),
        ({"start": math.inf}, "start"),
        ({"start": math.nan}, "start"),
    ],
)
def test_adaptive_refuses_bad_options(options, name):
    with pytest.raises(InvalidInputError, match=f"`{name}` must"):
        Adaptive(**options)


@pytest.mark.parametrize("target", [Eq14(), Solution(torch.zeros(1)), Costs(torch.zeros(1))])
def test_central_differences_need_a_step(target):
    with pytest.raises(InvalidInputError, match=f"difference='central'.*{type(target).__name__}"):
        IMLE(opaque(), target=target, difference="central")
