"""The ways of learning that the demo compares: one network, one optimiser, several losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from imle_opt._bridge import to_array
from imle_opt.demo.task import Task, cost_network
from imle_opt.losses import ExplicitMLE
from imle_opt.noise import Exponential
from imle_opt.training import EpochRecord, ValidationRegret, fit, predict_costs
from imle_opt_solvers.regret import RegretReport, evaluate
from imle_opt_solvers.solution import FloatArray
from imle_opt_solvers.solver import Solver
from imle_opt_solvers.timed_solver import TimedSolver

__all__ = ["METHODS", "Method", "Outcome", "equal_costs", "learn"]

BatchLoss: TypeAlias = Callable[[Tensor, Any], Tensor]

_BATCH_SIZE = 32
_LEARNING_RATE = 3e-3
_NOISE = Exponential(temperature=1.0)
_SAMPLES = 4


@final
@dataclass(frozen=True)
class Method:
    """One way of learning.

    Args:
        key: short and unique.
        name: for people.
        sees: what it learns from: optimal "paths" or true "costs".
        make_loss: solver -> loss of (predicted costs, (features, paths, costs)); it uses only what it sees.
    """

    key: str
    name: str
    sees: str
    make_loss: Callable[[Solver], BatchLoss]


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """What one method achieved.

    Args:
        key: of the method.
        name: for people.
        sees: what it learned from: optimal "paths" or true "costs"; "-" for nothing.
        report: regret on the test maps.
        curve: normalised regret (ratio of sums) on the validation maps after each epoch.
        predicted: (maps, 6, 6) predicted costs of the test maps.
        solver_seconds: time of the training steps spent in the solver.
        network_seconds: the rest of the training steps.
    """

    key: str
    name: str
    sees: str
    report: RegretReport
    curve: tuple[float, ...]
    predicted: FloatArray
    solver_seconds: float
    network_seconds: float

    @property
    def title(self) -> str:
        """Name and source, for people."""
        return f"{self.name} from {self.sees}" if self.curve else self.name


def _from_paths(solver: Solver) -> BatchLoss:
    loss = ExplicitMLE(solver, noise=_NOISE, num_samples=_SAMPLES)
    return lambda costs, batch: loss(costs, solutions=batch[1])


def _from_costs(solver: Solver) -> BatchLoss:
    loss = ExplicitMLE(solver, noise=_NOISE, num_samples=_SAMPLES)
    return lambda costs, batch: loss(costs, costs=batch[2])


def _perceptron(solver: Solver) -> BatchLoss:
    loss = ExplicitMLE(solver)
    return lambda costs, batch: loss(costs, solutions=batch[1])


def _regression(solver: Solver) -> BatchLoss:
    return lambda costs, batch: (costs - batch[2]).square().mean(dim=(1, 2))


METHODS = (
    Method("paths", "ExplicitMLE", "paths", _from_paths),
    Method("costs", "ExplicitMLE", "costs", _from_costs),
    Method("regression", "regression", "costs", _regression),
    Method("perceptron", "perceptron", "paths", _perceptron),
)


def learn(method: Method, task: Task, epochs: int, seed: int, *, progress: bool | None = None) -> Outcome:
    """Train a network by one method and evaluate it on the test maps.

    The weights are those of the last epoch: nothing is chosen by true costs that a method does not see.

    Args:
        method: how.
        task: on what.
        epochs: passes over the training maps.
        seed: of the weights, the noise and the order of the maps.
        progress: show a bar; None: on a terminal.

    Raises:
        InvalidInputError: costs or a loss that are not finite.
    """
    clock = TimedSolver(task.solver)
    network = _seeded_network(seed)
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    watch = ValidationRegret(
        task.solver, task.validation.features, torch.from_numpy(task.validation.maps.costs)
    )
    curve: list[float] = []

    def after_epoch(record: EpochRecord) -> None:
        schedule.step()
        curve.append(watch(network))

    result = fit(
        network,
        _loader(task),
        method.make_loss(clock),
        epochs=epochs,
        optimizer=optimizer,
        seed=seed,
        callback=after_epoch,
        clock=clock,
        progress=progress,
    )
    predicted = to_array(predict_costs(network, task.test.features))
    return Outcome(
        method.key,
        method.name,
        method.sees,
        _evaluate(task, predicted),
        tuple(curve),
        predicted,
        result.solver_seconds,
        result.network_seconds,
    )


def equal_costs(task: Task) -> Outcome:
    """Return what it takes to beat: the same cost everywhere, without a look at the maps."""
    predicted = np.ones_like(task.test.maps.costs)
    return Outcome("equal", "equal costs", "-", _evaluate(task, predicted), (), predicted, 0.0, 0.0)


def _evaluate(task: Task, predicted: FloatArray) -> RegretReport:
    return evaluate(
        task.solver, predicted, task.test.maps.costs, true_solution=task.test.solution, worst_case=False
    )


def _loader(task: Task) -> DataLoader[tuple[Tensor, ...]]:
    train = task.train
    paths, costs = (torch.from_numpy(array).float() for array in (train.paths, train.maps.costs))
    return DataLoader(TensorDataset(train.features, paths, costs), _BATCH_SIZE, shuffle=True)


def _seeded_network(seed: int) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
        return cost_network()
