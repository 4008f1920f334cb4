"""One training by one method, from its last checkpoint if there is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from imle_opt.fitting.labels import take
from imle_opt.fitting.predictor import CostPredictor, PredictorSpec
from imle_opt.fitting.settings import FitSettings
from imle_opt.fitting.tables import FitTables, Rows
from imle_opt.fitting.watch import Watch
from imle_opt.methods import METHODS, Labels, LossOptions
from imle_opt.noise import Exponential, Noise, Normal
from imle_opt.predictors import Standardize, start_at
from imle_opt.training import Checkpoint, EpochRecord, FitResult, fit
from imle_opt_solvers.scaled_solver import ScaledSolver
from imle_opt_solvers.solution import FloatArray, Sense, Solution
from imle_opt_solvers.solver import CostDomain, Solver
from imle_opt_solvers.timed_solver import TimedSolver

__all__ = ["Problem", "make_problem", "train"]

_BATCH_SIZE = 32
_STEPS = 10
"""Steps that an epoch should have at least."""


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """What all trainings of a run share.

    Args:
        solver: of the model, in its own unit.
        tables: features and labels.
        rows: which are for what.
        truth: the optima of all rows.
        spec: of the predictor.
        settings: how to learn.
    """

    solver: Solver
    tables: FitTables
    rows: Rows
    truth: Solution
    spec: PredictorSpec
    settings: FitSettings

    @property
    def constant_costs(self) -> FloatArray:
        """(*shape) what can be said without features: the mean of the training rows' costs.

        From solutions, costs that prefer what was chosen often.
        """
        mean: FloatArray = self.tables.labels[self.rows.train].mean(axis=0)
        if self.tables.supervision == "costs" or self.solver.sense is Sense.MAX:
            return mean
        return float(mean.max()) - mean


def make_problem(
    solver: Solver, tables: FitTables, rows: Rows, truth: Solution, settings: FitSettings
) -> Problem:
    """Settle the unit of the costs and the shape of the predictor."""
    spec = PredictorSpec(
        kind=settings.predictor,
        hidden=settings.hidden,
        num_features=tables.features.shape[1],
        shape=solver.shape,
        nonnegative=solver.traits.cost_domain is CostDomain.NONNEGATIVE,
        cost_unit=_unit(tables, rows, settings),
        feature_names=tables.feature_names,
        cost_names=solver.names,
    )
    return Problem(solver, tables, rows, truth, spec, settings)


def train(
    problem: Problem,
    method: str,
    *,
    checkpoint: Path,
    identity: Mapping[str, str],
    after_epoch: Callable[[EpochRecord], None],
) -> tuple[CostPredictor, FitResult]:
    """Train a predictor by a method; its weights are those of the epoch with the best validation.

    Args:
        problem: what to learn.
        method: a name in `METHODS`.
        checkpoint: the file that is written after every epoch, and gone on from if it is there.
        identity: what the run depends on; a checkpoint of another run is refused.
        after_epoch: called with what is known after each epoch.
    """
    settings, spec = problem.settings, problem.spec
    network = _network(problem)
    clock = TimedSolver(ScaledSolver(problem.solver, spec.cost_unit))
    loss = METHODS[method].make_loss(
        LossOptions(
            clock, _noise(problem.solver, settings.temperature), settings.num_samples, settings.strength
        )
    )
    result = fit(
        network,
        _loader(problem),
        lambda costs, batch: _row_loss(loss, costs, batch),
        epochs=settings.epochs,
        optimizer=torch.optim.AdamW(
            network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        ),
        validation=_watch(problem),
        patience=settings.patience,
        seed=settings.seed,
        callback=after_epoch,
        clock=clock,
        progress=False,
        checkpoint=Checkpoint(checkpoint, {"loss": loss}, {"method of this file": method, **identity}),
    )
    return CostPredictor(spec, network), result


def _unit(tables: FitTables, rows: Rows, settings: FitSettings) -> float:
    """The spread of the true costs: what their level is does not matter to noise and steps."""
    if settings.cost_unit is not None:
        return settings.cost_unit
    if tables.supervision == "solutions":
        return 1.0
    costs = tables.labels[rows.train]
    for candidate in (costs.std(), np.abs(costs).mean()):
        if candidate > 0:
            return float(candidate)
    return 1.0


def _network(problem: Problem) -> nn.Sequential:
    train, tables, spec = problem.rows.train, problem.tables, problem.spec
    with torch.random.fork_rng([]):
        torch.manual_seed(problem.settings.seed)  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
        network = spec.network()
    standardize = network[0]
    assert isinstance(standardize, Standardize)
    standardize.learn(tables.features[train])
    start_at(network, problem.constant_costs / spec.cost_unit)
    return network


def _noise(solver: Solver, temperature: float) -> Noise:
    """Noise that keeps costs legal: those of a minimisation that must not be negative only grow."""
    nonnegative = solver.traits.cost_domain is CostDomain.NONNEGATIVE
    return Exponential(temperature) if nonnegative and solver.sense is Sense.MIN else Normal(temperature)


def _loader(problem: Problem) -> DataLoader[tuple[Tensor, ...]]:
    train, tables = problem.rows.train, problem.tables
    arrays: list[FloatArray] = [tables.features[train], problem.truth.decisions[train]]
    if tables.supervision == "costs":
        arrays.append(tables.labels[train] / problem.spec.cost_unit)
    size = problem.settings.batch_size or min(_BATCH_SIZE, math.ceil(len(train) / _STEPS))
    return DataLoader(TensorDataset(*map(torch.from_numpy, arrays)), size, shuffle=True)


def _row_loss(loss: nn.Module, costs: Tensor, batch: Any) -> Tensor:
    _, solutions, *known = batch
    value: Tensor = loss(costs, Labels(solutions, known[0] if known else None))
    return value


def _watch(problem: Problem) -> Watch:
    rows, tables = problem.rows.validation, problem.tables
    return Watch(
        problem.solver,
        tables.features[rows],
        tables.labels[rows],
        tables.supervision,
        take(problem.truth, rows),
        problem.spec.cost_unit,
    )
