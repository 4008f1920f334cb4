"""A small training loop, and nothing bigger: whoever has a loop of their own needs none of this."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from imle_opt._bridge import to_array
from imle_opt._checks import check_at_least_one
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.regret import normalized_regret
from imle_opt_solvers.solver import Solver
from imle_opt_solvers.timed_solver import TimedSolver

__all__ = ["EpochRecord", "FitResult", "ValidationRegret", "fit", "predict_costs"]

Loss: TypeAlias = Callable[[Tensor, Any], Tensor]
"""(predicted costs, batch) -> loss of any shape, of which the mean is minimised."""
Validation: TypeAlias = Callable[[nn.Module], float]
"""Model, in eval() and without gradients -> what early stopping watches; lower is better."""
EpochRecord: TypeAlias = dict[str, float]
"""What is known after an epoch; see `FitResult.history`."""


@final
@dataclass(frozen=True)
class FitResult:
    """What a training run did.

    Args:
        history: one dictionary per epoch: `epoch` (from 1), `loss` (mean over the rows), `seconds` (wall
            clock of its training steps), with a `clock` also `solver_seconds`, with a validation also
            `validation`.
        best_epoch: the epoch whose weights the model now has; without a validation, the last one.
        best_validation: the validation's value there; None without a validation.
        stopped_early: whether `patience` ended the run.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    best_validation: float | None
    stopped_early: bool

    @property
    def seconds(self) -> float:
        """Wall clock of all training steps; validation and callbacks are not counted."""
        return math.fsum(record["seconds"] for record in self.history)

    @property
    def solver_seconds(self) -> float:
        """Seconds of the training steps that were spent in the solver; NaN without a `clock`."""
        return math.fsum(record.get("solver_seconds", math.nan) for record in self.history)

    @property
    def network_seconds(self) -> float:
        """The rest of the training steps: network, loss, data; NaN without a `clock`."""
        return self.seconds - self.solver_seconds


@final
class ValidationRegret:
    """The normalised regret (ratio of sums) of a model's decisions on held-out rows, for `fit`.

    The true costs are solved once, here; each call adds one solve per row.

    Args:
        solver: the wrapped model.
        features: what the model takes, (rows, ...).
        costs: true costs, (rows, *solver.shape), in the model's own sense.
        instances: per-row data of the solver.
        batch_size: rows that the model sees at once.

    Raises:
        InvalidInputError: costs that are not finite or not of the solver's shape.
        SolveError: a row without a proven optimum, where the solver's policy is to raise.
    """

    def __init__(
        self,
        solver: Solver,
        features: Tensor,
        costs: Tensor,
        *,
        instances: Instances | None = None,
        batch_size: int = 256,
    ) -> None:
        self.solver, self.features, self.instances, self.batch_size = solver, features, instances, batch_size
        self.costs = to_array(costs)
        self.true_solution = solver.solve(self.costs, instances=instances)

    def __call__(self, model: nn.Module) -> float:
        """Return the normalised regret; 0.03 is 3%."""
        predicted = to_array(predict_costs(model, self.features, batch_size=self.batch_size))
        return normalized_regret(
            self.solver, predicted, self.costs, instances=self.instances, true_solution=self.true_solution
        )


def fit(
    model: nn.Module,
    loader: Iterable[Any],
    loss: Loss,
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer | None = None,
    validation: Validation | None = None,
    patience: int | None = None,
    seed: int | None = 0,
    callback: Callable[[EpochRecord], None] | None = None,
    clock: TimedSolver | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
) -> FitResult:
    """Train a model that predicts costs; keep its best weights.

        loss_fn = ExplicitMLE(solver, noise=Normal(1.0))
        fit(model, loader, lambda costs, batch: loss_fn(costs, costs=batch[1]), epochs=20,
            validation=ValidationRegret(solver, features, costs), patience=5)

    The model is left in `eval()`, with the weights of the epoch whose validation was lowest. That also holds
    when training ends by an exception, Ctrl-C among them, which then goes on to the caller: the model is
    usable, and a loop over several runs stops.

    On a CPU the same seed gives the same weights, bit for bit, if the model began with the same. The state of
    torch's own random number generator is as before when `fit` returns.

    Args:
        model: features -> predicted costs.
        loader: yields batches: a tuple or list whose first item is the features, or a mapping that holds them
            under `"features"`. What else is in a batch is for the loss.
        loss: (predicted costs, batch) -> loss per row, or one number; the mean is minimised.
        epochs: passes over the loader, at most.
        optimizer: over the model's parameters; None for Adam with its default step of 1e-3.
        validation: called after each epoch with the model in eval() and without gradients; lower is better.
            `ValidationRegret`, or any function.
        patience: stop after this many epochs in a row without a better validation; None: never.
        seed: of torch's generators and of the loader's own, so of noise, dropout and the order of the data;
            None leaves them alone.
        callback: called after each epoch with its record, a dictionary of numbers: for any logger
            (`wandb.log`, `print`) or a step of a learning rate schedule.
        clock: the solver in the loss, as a `TimedSolver`, to tell its seconds from the network's.
        progress: show a bar on stderr; None: if that is a terminal.
        device: where to train; None: where the model's parameters are. Batches are moved there.

    Returns:
        The history, the best epoch, and the time in solver and network.

    Raises:
        InvalidInputError: an option out of its range, a loader without batches, or predicted costs, a loss or
            a validation that are not finite, with the epoch and the step.
        SolveError: from the loss: a row without a proven optimum.

    It has no checkpoints, no mixed precision and no several devices: for these use a library of training
    loops, in which every layer and loss of imle-opt works unchanged.
    """
    check_at_least_one(epochs, "epochs")
    if patience is not None:
        check_at_least_one(patience, "patience")
        if validation is None:
            raise InvalidInputError("`patience` needs a `validation`, such as ValidationRegret, to watch.")
    device = _place(model, device)
    optimizer = torch.optim.Adam(model.parameters()) if optimizer is None else optimizer
    best = _Best()
    history: list[EpochRecord] = []
    with _seeded(seed, loader, device), _progress_bar(epochs, progress) as show, best.restored_to(model):
        for epoch in range(1, epochs + 1):
            record: EpochRecord = {"epoch": epoch}
            record |= _train_epoch(model, _moved(loader, device), loss, optimizer, epoch, clock)
            if validation is not None:
                record["validation"] = _validate(model, validation, epoch)
                best.offer(model, epoch, record["validation"])
            history.append(record)
            show(record)
            if callback is not None:
                callback(record)
            if patience is not None and epoch - best.epoch >= patience:
                break
    stopped_early = len(history) < epochs
    best_epoch, value = (best.epoch, best.value) if validation is not None else (len(history), None)
    return FitResult(tuple(history), best_epoch, value, stopped_early)


def predict_costs(model: nn.Module, features: Tensor, *, batch_size: int = 256) -> Tensor:
    """Return a model's predictions in eval() and without gradients; its mode is as before afterwards.

    Args:
        model: features -> costs.
        features: (rows, ...), on any device.
        batch_size: rows that the model sees at once.

    Returns:
        (rows, ...), where the model's parameters are.
    """
    check_at_least_one(batch_size, "batch_size")
    was_training, device = model.training, _device_of(model)
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([model(part.to(device)) for part in torch.split(features, batch_size)])
    finally:
        model.train(was_training)


def _train_epoch(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    clock: TimedSolver | None,
) -> EpochRecord:
    model.train()
    total, rows, step = 0.0, 0, 0
    began, solver_began = time.perf_counter(), clock.seconds if clock is not None else 0.0
    for step, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        costs: Tensor = model(_features(batch))
        _require_finite(costs, "predicted costs", epoch, step)
        value = loss(costs, batch).mean()
        _require_finite(value, "loss", epoch, step)
        torch.autograd.backward(value)
        optimizer.step()
        total += value.item() * len(costs)
        rows += len(costs)
    if not step:
        raise InvalidInputError(
            f"`loader` gave no batch in epoch {epoch}: it is empty, or an iterator that is used up. Pass "
            f"something that can be iterated anew in every epoch, such as a DataLoader."
        )
    record = {"loss": total / max(rows, 1), "seconds": time.perf_counter() - began}
    return record if clock is None else record | {"solver_seconds": clock.seconds - solver_began}


def _validate(model: nn.Module, validation: Validation, epoch: int) -> float:
    model.eval()
    with torch.no_grad():
        value = float(validation(model))
    if not math.isfinite(value):
        raise InvalidInputError(f"`validation` returned {value} after epoch {epoch}; it must be finite.")
    return value


def _require_finite(tensor: Tensor, what: str, epoch: int, step: int) -> None:
    if not tensor.isfinite().all():
        raise InvalidInputError(
            f"The {what} became NaN or infinite in epoch {epoch}, step {step}. Check the features and labels "
            f"of that batch for NaN; else lower the learning rate, or clip the gradient's norm."
        )


@final
class _Best:
    """The best weights so far, given back to the model however training ends."""

    def __init__(self) -> None:
        self.epoch, self.value = 0, math.inf
        self._weights: dict[str, Any] | None = None

    def offer(self, model: nn.Module, epoch: int, value: float) -> None:
        if value < self.value:
            self.epoch, self.value = epoch, value
            self._weights = copy.deepcopy(model.state_dict())

    @contextmanager
    def restored_to(self, model: nn.Module) -> Generator[None]:
        try:
            yield
        finally:
            if self._weights is not None:
                model.load_state_dict(self._weights)
            model.eval()


@contextmanager
def _seeded(seed: int | None, loader: Iterable[Any], device: torch.device) -> Generator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
        own = getattr(loader, "generator", None)
        if isinstance(own, torch.Generator):
            own.manual_seed(seed)
        yield


@contextmanager
def _progress_bar(epochs: int, wanted: bool | None) -> Generator[Callable[[EpochRecord], None]]:
    console = Console(stderr=True)
    if not (console.is_terminal if wanted is None else wanted):
        yield lambda record: None  # a disabled bar of rich before 15 still ends its line
        return
    columns = (TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"), BarColumn())
    with Progress(*columns, TextColumn("{task.description}"), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=epochs)

        def show(record: EpochRecord) -> None:
            numbers = {name: record[name] for name in ("loss", "validation") if name in record}
            text = "  ".join(f"{name} {number:.4g}" for name, number in numbers.items())
            bar.update(task, advance=1, description=text)

        yield show


def _place(model: nn.Module, device: torch.device | str | None) -> torch.device:
    if device is not None:
        model.to(device)
    return _device_of(model)


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _moved(loader: Iterable[Any], device: torch.device) -> Generator[Any]:
    return (_to(batch, device) for batch in loader)


def _to(item: Any, device: torch.device) -> Any:
    if isinstance(item, Tensor):
        return item.to(device)
    if isinstance(item, Mapping):
        return {key: _to(value, device) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_to(value, device) for value in item))
    if isinstance(item, (tuple, list)):
        return type(item)(_to(value, device) for value in item)
    return item


def _features(batch: Any) -> Any:
    if isinstance(batch, Mapping) and "features" in batch:
        return batch["features"]
    if isinstance(batch, (tuple, list)) and batch:
        return batch[0]
    raise InvalidInputError(
        f"`loader` must yield tuples that begin with the features, or mappings that hold 'features'; it "
        f"yielded {type(batch).__name__}."
    )
