"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_at_least_one
from imle_opt.profiling import StepProfile
from imle_opt.training.batches import features_of, moved, place
from imle_opt.training.best import Best
from imle_opt.training.checkpoint import Checkpoint
from imle_opt.training.progress import epoch_bar
from imle_opt.training.randomness import load_random_state, random_state, seeded
from imle_opt.training.result import EpochRecord, FitResult
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.timed_solver import TimedSolver

__all__ = ["fit"]

Loss: TypeAlias = Callable[[Tensor, Any], Tensor]
"""(predicted costs, batch) -> loss of any shape, of which the mean is minimised."""
Validation: TypeAlias = Callable[[nn.Module], float]
"""Model, in eval() and without gradients -> what early stopping watches; lower is better."""


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
    profile: StepProfile | None = None,
    progress: bool | None = None,
    device: torch.device | str | None = None,
    checkpoint: Checkpoint | None = None,
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
        profile: of the layer or loss, to tell the seconds of network, transfer, solver and waiting for data:
            each record has its numbers then, and it shows them all as a table.
        progress: show a bar on stderr; None: if that is a terminal.
        device: where to train; None: where the model's parameters are. Batches are moved there.
        checkpoint: where to save the run after every epoch; where that file exists, the run goes on from it,
            and ends as if it had never been interrupted. One that had ended is not trained any more.

    Returns:
        The history, the best epoch, and the time in solver and network.

    Raises:
        InvalidInputError: an option out of its range, a loader without batches, or predicted costs, a loss or
            a validation that are not finite, with the epoch and the step.
        SolveError: from the loss: a row without a proven optimum.

    It has no mixed precision and no several devices: for these use a library of training
    loops, in which every layer and loss of imle-opt works unchanged.
    """
    check_at_least_one(epochs, "epochs")
    if patience is not None:
        check_at_least_one(patience, "patience")
        if validation is None:
            raise InvalidInputError("`patience` needs a `validation`, such as ValidationRegret, to watch.")
    device = place(model, device)
    optimizer = torch.optim.Adam(model.parameters()) if optimizer is None else optimizer
    best = Best()
    run = _Run(model, optimizer, loader, device, best, seed is not None)
    history: list[EpochRecord] = []

    def ended() -> bool:
        exhausted = patience is not None and len(history) - best.epoch >= patience
        return exhausted or len(history) >= epochs

    with seeded(seed, loader, device), epoch_bar(epochs, progress) as show, best.restored_to(model):
        saved = None if checkpoint is None else checkpoint.load()
        if saved is not None:
            history += run.load_state_dict(saved)
            if validation is not None:
                # Again, so that a solver that goes on from its last answer is where it was.
                _validate(model, validation, len(history))
            if seed is not None:
                load_random_state(saved["random"], loader, device)
            for earlier in history:
                show(earlier)
        while not ended():
            epoch = len(history) + 1
            record: EpochRecord = {"epoch": epoch}
            batches = moved(loader, device, profile)
            record |= _train_epoch(model, batches, loss, optimizer, epoch, clock)
            record |= {} if profile is None else profile.lap()
            if validation is not None:
                record["validation"] = _validate(model, validation, epoch)
                best.offer(model, epoch, record["validation"])
            history.append(record)
            if callback is not None:
                callback(record)
            if checkpoint is not None:
                checkpoint.save(run.state_dict(history))
            show(record)
    stopped_early = len(history) < epochs
    best_epoch, value = (best.epoch, best.value) if validation is not None else (len(history), None)
    return FitResult(tuple(history), best_epoch, value, stopped_early)


@final
@dataclass(frozen=True)
class _Run:
    """Everything that a training run changes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Iterable[Any]
    device: torch.device
    best: Best
    is_seeded: bool

    def state_dict(self, history: list[EpochRecord]) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best.state_dict(),
            "random": random_state(self.loader, self.device) if self.is_seeded else {},
            "history": history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> list[EpochRecord]:
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise InvalidInputError(
                f"The checkpoint is of another model or optimiser: {' '.join(str(error).split())} Remove it "
                f"to start anew."
            ) from error
        self.best.load_state_dict(state["best"])
        history: list[EpochRecord] = state["history"]
        return history


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
        costs: Tensor = model(features_of(batch))
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
