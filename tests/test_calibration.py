from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from imle_opt.calibration import calibrate_temperature, marginal_error
from imle_opt.families import Categorical, KSubset, Polytope
from imle_opt.noise import Gumbel, Multiplicative, NoNoise, Normal, SumOfGamma
from imle_opt_solvers import FunctionSolver, Sense, Solution, Solver, Status, Traits
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError

SUBSET = KSubset(5)
THETA = torch.from_numpy(np.random.RandomState(0).randn(10))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Choice(Solver):
    """One of three, where a row's `allowed` entries say which; counts the rows it solves."""

    def __init__(self, sense: str = "min") -> None:
        super().__init__((3,), Sense(sense), Traits(binary=True, cardinality=1, takes_instances=("allowed",)))
        self.rows = 0

    def solve_rows(self, costs, instances, deterministic):
        self.rows += len(costs)
        theta = self.sense.sign * costs
        if instances is not None:
            theta = np.where(instances["allowed"], theta, -np.inf)
        decisions = np.eye(3)[theta.argmax(-1)]
        objectives = (decisions * costs).sum(-1)
        return Solution(decisions, objectives, (Status.OPTIMAL,) * len(costs), np.zeros(len(costs)), 0.0)


@pytest.mark.parametrize(
    ("noise", "stated"),
    [(SumOfGamma(5, 1.0), 0.194), (Gumbel(1.0), 0.047), (SumOfGamma(5, 4.0), 0.031)],
)
def test_errors_on_subsets_are_the_stated_ones(noise, stated):
    num_samples = 60_000
    error = marginal_error(SUBSET, THETA, noise, num_samples=num_samples, generator=seeded())
    # |mean |e + d| - mean |e|| <= mean |d|, below two standard errors of a frequency; 0.001 for the rounding.
    assert error == pytest.approx(stated, abs=2 * 0.5 / math.sqrt(num_samples) + 0.001)


def test_calibration_on_subsets_lands_near_four():
    noise = calibrate_temperature(SUBSET, THETA, SumOfGamma(5), num_samples=4000, generator=seeded())
    assert isinstance(noise, SumOfGamma)
    assert (noise.kappa, noise.terms, noise.tail_correction) == (5, 10, False)
    assert 3.6 < noise.temperature < 5.2
    error = marginal_error(SUBSET, THETA, noise, num_samples=40_000, generator=seeded(1))
    assert error < 0.031 + 0.002
    nominal = marginal_error(SUBSET, THETA, SumOfGamma(5), num_samples=4000, generator=seeded(1))
    assert nominal > 5 * error


def test_exact_noise_keeps_its_temperature():
    logits = torch.randn(20, 5, generator=seeded(), dtype=torch.float64)
    start = Gumbel(0.31)
    noise = calibrate_temperature(Categorical(), logits, start, generator=seeded(1))
    assert noise.temperature == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("sense", ["min", "max"])
def test_a_solver_with_given_marginals_in_its_own_sense(sense):
    costs = torch.tensor([[0.0, 0.5, 1.5], [2.0, 1.0, 0.0]])
    solver = Choice(sense)
    marginals = torch.softmax(solver.sense.sign * costs / 2.0, -1)
    noise = calibrate_temperature(
        solver, costs, Gumbel(), marginals=marginals, num_samples=3000, generator=seeded()
    )
    # A frequency is off by up to 0.009 (one standard error), a tenth of what log 2 of temperature does to it.
    assert noise.temperature == pytest.approx(2.0, rel=0.2)
    assert marginal_error(solver, costs, noise, marginals=marginals, generator=seeded(2)) < 0.03


def test_marginals_without_batch_are_compared_with_the_average_over_rows():
    costs = torch.tensor([[0.0, 2.0, 5.0], [4.0, 0.0, 1.0]])
    goal = torch.softmax(-costs / 2.0, -1).mean(0)
    noise = calibrate_temperature(
        Polytope(Choice()), costs, Gumbel(), marginals=goal, num_samples=3000, generator=seeded()
    )
    assert noise.temperature == pytest.approx(2.0, rel=0.2)


def test_given_marginals_win_over_the_family_s_own():
    logits = torch.tensor([0.0, 1.0, 3.0])
    goal = torch.softmax(logits / 3.0, -1)
    noise = calibrate_temperature(Categorical(), logits, Gumbel(), marginals=goal, generator=seeded())
    assert noise.temperature == pytest.approx(3.0, rel=0.3)


def test_instances_reach_the_solver():
    costs = torch.zeros(2, 3)
    allowed = torch.tensor([[True, True, False], [False, True, True]])
    goal = allowed / 2.0
    error = marginal_error(
        Choice(), costs, Gumbel(), marginals=goal, instances={"allowed": allowed}, generator=seeded()
    )
    assert error < 0.05
    noise = calibrate_temperature(
        Choice(),
        torch.tensor([[0.0, 1.0, -9.0], [-9.0, 1.0, 0.0]]),
        Gumbel(),
        marginals=torch.tensor([[0.7311, 0.2689, 0.0], [0.0, 0.2689, 0.7311]]),
        instances={"allowed": allowed},
        generator=seeded(),
    )
    assert noise.temperature == pytest.approx(1.0, rel=0.3)


def test_the_stated_number_of_solves():
    solver = Choice()
    marginals = torch.full((4, 3), 1 / 3)
    costs = torch.randn(4, 3, generator=seeded())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        calibrate_temperature(solver, costs, Gumbel(), marginals=marginals, num_samples=7)
    assert solver.rows == 21 * 7 * 4


def test_many_samples_are_drawn_in_parts(monkeypatch):
    whole = marginal_error(SUBSET, THETA, Gumbel(), num_samples=20_000, generator=seeded())
    monkeypatch.setattr("imle_opt.calibration._ENTRIES_AT_ONCE", 7 * 10)
    parts = marginal_error(SUBSET, THETA, Gumbel(), num_samples=2000, generator=seeded())
    assert parts == pytest.approx(whole, abs=2 * 0.5 / math.sqrt(2000))


def test_same_generator_state_gives_the_same_temperature():
    state = torch.get_rng_state()
    first = calibrate_temperature(SUBSET, THETA, Normal(1.0), num_samples=200, generator=seeded(4))
    again = calibrate_temperature(SUBSET, THETA, Normal(1.0), num_samples=200, generator=seeded(4))
    assert first == again
    assert torch.equal(state, torch.get_rng_state())


def test_auto_kappa_is_resolved():
    noise = calibrate_temperature(SUBSET, THETA, SumOfGamma("auto"), num_samples=500, generator=seeded())
    assert isinstance(noise, SumOfGamma)
    assert noise.kappa == 5
    assert 3 < noise.temperature < 6.5
    assert marginal_error(SUBSET, THETA, SumOfGamma("auto", 4.0), generator=seeded()) < 0.06


def test_half_precision_costs():
    noise = calibrate_temperature(SUBSET, THETA.half(), SumOfGamma(5), num_samples=500, generator=seeded())
    assert 3 < noise.temperature < 6.5


def test_certain_decisions_take_the_largest_temperature_that_keeps_them():
    logits = torch.tensor([0.0, 10.0, 1.0])
    goal = torch.tensor([0.0, 1.0, 0.0])
    noise = calibrate_temperature(
        Categorical(), logits, Gumbel(), marginals=goal, num_samples=200, generator=seeded()
    )
    assert noise.temperature > 0.2
    options = {
        "marginals": goal,
        "num_samples": 200,
        "generator": seeded(),
    }  # the draws that it searched with
    assert marginal_error(Categorical(), logits, noise, **options) == 0


def test_a_temperature_at_the_edge_is_warned_of():
    logits = torch.tensor([0.0, 1000.0, 1.0])
    with pytest.warns(UserWarning, match="at the edge of the search"):
        calibrate_temperature(
            Categorical(), logits, Gumbel(), marginals=torch.full((3,), 1 / 3), generator=seeded()
        )


def test_bounds_are_kept():
    with pytest.warns(UserWarning, match="Widen `bounds`"):
        noise = calibrate_temperature(
            SUBSET, THETA, SumOfGamma(5), bounds=(0.5, 2.0), num_samples=200, generator=seeded()
        )
    assert 1.9 < noise.temperature <= 2.0 + 1e-9


def test_nothing_to_come_close_to():
    with pytest.raises(
        MissingCapabilityError, match=r"needs marginals .* Polytope\(Choice.* Give `marginals=`"
    ):
        calibrate_temperature(Choice(), torch.zeros(3), Gumbel())


def test_noise_without_temperature():
    with pytest.raises(MissingCapabilityError, match=r"field `temperature`, which NoNoise\(\)"):
        calibrate_temperature(SUBSET, THETA, NoNoise())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "`num_samples` must be at least 1"),
        ({"bounds": (2.0, 1.0)}, "`bounds` must satisfy 0 < low < high"),
        ({"bounds": (0.0, 1.0)}, "`bounds` must satisfy 0 < low < high"),
        ({"marginals": torch.zeros(3)}, r"`marginals` must have the shape of `costs`, \(2, 10\)"),
        ({"marginals": torch.zeros(3, 2, 10)}, r"`marginals` must have the shape of `costs`, \(2, 10\)"),
        ({"marginals": torch.tensor(0.5)}, r"`marginals` must have the shape of `costs`, \(2, 10\)"),
        ({"marginals": torch.full((2, 10), math.nan)}, "`marginals` must be finite: 20 of 20"),
        ({"costs": torch.zeros(0, 10)}, "must hold at least one row"),
        ({"costs": torch.full((10,), math.inf)}, "`costs` must be finite"),
        ({"costs": np.zeros((2, 10))}, "`costs` must be a torch.Tensor, not ndarray"),
        ({"marginals": np.zeros((2, 10))}, "`marginals` must be a torch.Tensor, not ndarray"),
        ({"noise": Gumbel}, "`noise` must be a Noise"),
    ],
)
def test_bad_input(arguments, message):
    arguments = {"costs": THETA.repeat(2, 1), "noise": Multiplicative(0.1), "num_samples": 5, **arguments}
    with pytest.raises(InvalidInputError, match=message):
        calibrate_temperature(SUBSET, **arguments)


def test_a_plain_function_can_be_calibrated():
    solver = FunctionSolver(lambda costs: np.eye(3)[costs.argmin(-1)], 3, "min", batched=True)
    costs = torch.tensor([0.0, 1.0, 3.0])
    goal = torch.softmax(-costs, -1)
    noise = calibrate_temperature(solver, costs, Gumbel(), marginals=goal, generator=seeded())
    assert noise.temperature == pytest.approx(1.0, rel=0.3)
