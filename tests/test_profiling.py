from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from torch import nn

from imle_opt import (
    IMLE,
    PID,
    BlackBox,
    DirectionalGradient,
    ExplicitMLE,
    FenchelYoung,
    FunctionSolver,
    HalfSquaredNorm,
    Identity,
    InvalidInputError,
    KSubset,
    Normal,
    Perturbed,
    Polytope,
    RegularizedFrankWolfe,
    SolutionPool,
    SparseMAP,
    SPOPlus,
    StepProfile,
    StraightThrough,
    StructuredHinge,
    fit,
)
from opaque import DECISIONS, Recorder, best, normal, opaque

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


# Rows without a decision

LAYERS = {
    "IMLE": lambda solver: IMLE(solver, noise=Normal(1.0), target=PID(1.0), num_samples=2),
    "AIMLE": lambda solver: IMLE(solver, noise=Normal(1.0), num_samples=2),
    "BlackBox": lambda solver: BlackBox(solver, 1.0),
    "StraightThrough": lambda solver: StraightThrough(solver, noise=Normal(1.0), num_samples=2),
    "Identity": Identity,
    "Perturbed": lambda solver: Perturbed(solver, noise=Normal(1.0), num_samples=2),
    "SparseMAP": SparseMAP,
    "Frank-Wolfe": lambda solver: RegularizedFrankWolfe(solver, HalfSquaredNorm()),
}
LOSSES = {
    "mu-M": (lambda solver: ExplicitMLE(solver, Normal(1.0), num_samples=2), "solutions", 2),
    "M-M": (ExplicitMLE, "solutions", 1),
    "Fenchel-Young": (lambda solver: FenchelYoung(solver, Normal(1.0)), "solutions", None),
    "mu-mu": (lambda solver: ExplicitMLE(solver, Normal(1.0), num_samples=2), "costs", 4),
    "SPO+": (SPOPlus, "costs", 2),
    "hinge": (StructuredHinge, "solutions", 1),
    "directional": (DirectionalGradient, "costs", None),
}


def one_row_may_do_nothing(rows=4):
    allowed = torch.ones(rows, len(DECISIONS))
    allowed[1] = 0
    return {"allowed": allowed}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_count_rows_without_a_decision_and_give_them_no_gradient(name):
    layer = LAYERS[name](Recorder("max", on_failure="nan"))
    costs = normal(4, 5).requires_grad_()
    samples = layer(costs, instances=one_row_may_do_nothing())
    weights = normal(4, 5, seed=1)
    (samples.nan_to_num() * weights).sum((-2, -1)).mean().backward()
    assert layer.undecided == layer.num_samples
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    if name == "StraightThrough":
        assert costs.grad[[0, 2, 3]].abs().amin() > 0
    layer.eval()(costs, instances=one_row_may_do_nothing())
    assert layer.undecided == layer.num_samples + 1


@pytest.mark.parametrize("name", LOSSES)
def test_losses_count_rows_without_a_decision_and_give_them_no_gradient(name):
    make, label, expected = LOSSES[name]
    loss = make(Recorder("max", on_failure="nan"))
    costs = normal(4, 5).requires_grad_()
    known = {"solutions": best(normal(4, 5, seed=1)), "costs": normal(4, 5, seed=1)}
    values = loss(costs, **{label: known[label]}, instances=one_row_may_do_nothing())
    values.nansum().backward()
    assert values[1].isnan()
    assert not values[[0, 2, 3]].isnan().any()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    assert loss.undecided == expected or (expected is None and loss.undecided > 0)


def test_what_always_decides_counts_nothing():
    layer = BlackBox(KSubset(2), 1.0)
    layer(normal(3, 5))
    assert layer.undecided == 0


def test_a_pool_counts_for_its_solver():
    family = Polytope(Recorder("max", on_failure="nan"))
    layer = BlackBox(SolutionPool(family), 1.0)
    family.map(normal(4, 5), instances=one_row_may_do_nothing())
    assert layer.undecided == 1


# Profiles


class Clock:
    """Time that passes only where somebody says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def passing(self, seconds, value):
        self.now += seconds
        return value


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def slow_solver(clock, seconds):
    return FunctionSolver(
        lambda costs: clock.passing(seconds, best(torch.as_tensor(-costs)).numpy()), (5,), "min", batched=True
    )


def slow_loader(clock, seconds, count):
    return (clock.passing(seconds, (normal(3, 5), normal(3, 5, seed=1))) for _ in range(count))


def test_each_second_is_counted_where_it_was_spent(clock):
    layer = BlackBox(slow_solver(clock, 3.0), 1.0)
    profile = StepProfile(layer)
    for features, _ in profile.steps(slow_loader(clock, 5.0, 4)):
        costs = features.clone().requires_grad_()
        clock.now += 2.0
        layer(costs).square().sum().backward()
        with profile.transferring():
            clock.now += 0.5
    expected = {
        "steps": 4,
        "network_seconds": 8.0,
        "transfer_seconds": 2.0,
        "solver_seconds": 24.0,
        "idle_seconds": 20.0,
        "solved_rows": 24,
        "undecided_rows": 0,
    }
    assert profile.total() == expected
    assert profile.lap() == expected
    assert set(profile.lap().values()) == {0}


def test_what_is_solved_between_steps_does_not_count(clock):
    layer = BlackBox(slow_solver(clock, 3.0), 1.0)
    profile = StepProfile(layer)
    for _ in profile.steps(slow_loader(clock, 0.0, 2)):
        clock.now += 1.0
    layer(normal(3, 5))
    total = profile.total()
    assert (total["network_seconds"], total["solver_seconds"], total["solved_rows"]) == (2.0, 0.0, 0)


def test_a_step_that_fails_is_counted_too(clock):
    profile = StepProfile(BlackBox(opaque(), 1.0))

    def train():
        for _ in profile.steps(slow_loader(clock, 1.0, 3)):
            clock.now += 2.0
            raise KeyError

    with pytest.raises(KeyError):
        train()
    assert profile.total() | {"steps": 1, "idle_seconds": 1.0, "network_seconds": 2.0} == profile.total()


def test_solvers_are_found_in_modules_and_pools_each_once():
    inner = SolutionPool(opaque(), solve_ratio=1.0)
    both = nn.ModuleList([BlackBox(inner, 1.0), IMLE(inner, noise=Normal(1.0))])
    profile = StepProfile(both, both)
    for theta in profile.steps([normal(3, 5)]):
        both[0](theta)
    assert profile.total()["solved_rows"] == 3


def test_fit_puts_its_parts_into_the_history(clock):
    loss = ExplicitMLE(slow_solver(clock, 3.0))
    model, seen = nn.Linear(5, 5).double(), []
    batches = [(normal(3, 5), best(normal(3, 5, seed=1)))] * 2
    profile = StepProfile(loss)
    result = fit(
        model,
        batches,
        lambda costs, batch: loss(costs, solutions=batch[1]),
        epochs=2,
        profile=profile,
        callback=seen.append,
    )
    assert [record["solver_seconds"] for record in seen] == [6.0, 6.0]
    assert [record["steps"] for record in seen] == [2, 2]
    assert result.solver_seconds == 12.0
    assert profile.total()["solved_rows"] == 12


def test_the_table_has_every_part(clock):
    layer = BlackBox(slow_solver(clock, 3.0), 1.0)
    profile = StepProfile(layer)
    for theta, _ in profile.steps(slow_loader(clock, 1.0, 2)):
        layer(theta)
    page = io.StringIO()
    Console(file=page, width=100).print(profile)
    lines = [line.split("│")[1:-1] for line in page.getvalue().splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells == [
        ["network", "0.000", "0.000", "0%"],
        ["transfer", "0.000", "0.000", "0%"],
        ["solver", "6.000", "3000.000", "75%"],
        ["idle", "2.000", "1000.000", "25%"],
        ["all", "8.000", "4000.000", "100%"],
    ]
    assert "6 rows solved, 0 of them without a decision" in " ".join(page.getvalue().split())


def test_a_module_without_a_solver_is_refused():
    with pytest.raises(InvalidInputError, match="`modules` must hold a layer or a loss with a solver"):
        StepProfile(nn.Linear(2, 2))


@pytest.mark.cuda
@needs_cuda
def test_a_synchronized_profile_on_cuda():
    layer = BlackBox(opaque(), 1.0)
    profile = StepProfile(layer, synchronize=True)
    for theta in profile.steps([normal(3, 5).cuda()] * 3):
        layer(theta)
    assert profile.total()["transfer_seconds"] > 0
    assert not layer.family.spent.synchronize
