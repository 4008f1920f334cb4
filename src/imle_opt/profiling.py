"""Where a training step spends its time: network, transfer, solver, or waiting for data."""

from __future__ import annotations

import operator
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, TypeVar, final

import torch
from rich.table import Table
from torch import nn

from imle_opt.families import Polytope
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["StepProfile"]

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class _Totals:
    steps: int = 0
    idle: float = 0.0
    step: float = 0.0
    transfer: float = 0.0
    solver: float = 0.0
    rows: int = 0
    undecided: int = 0

    def plus(self, other: _Totals) -> _Totals:
        return _Totals(*map(operator.add, astuple(self), astuple(other)))

    def minus(self, other: _Totals) -> _Totals:
        return _Totals(*map(operator.sub, astuple(self), astuple(other)))

    def record(self) -> dict[str, float]:
        return {
            "steps": self.steps,
            "network_seconds": self.step - self.transfer - self.solver,
            "transfer_seconds": self.transfer,
            "solver_seconds": self.solver,
            "idle_seconds": self.idle,
            "solved_rows": self.rows,
            "undecided_rows": self.undecided,
        }


@final
class StepProfile:
    """The seconds of training steps, by where they go.

        profile = StepProfile(loss)                          # a layer, a loss, or any module that holds some
        fit(model, loader, ..., profile=profile)             # each record of the history has its parts
        rich.print(profile)                                  # the table

    and in a loop of your own

        for features, costs in profile.steps(loader):
            ...                                              # the whole step
        logger(profile.lap())                                # what came since the last lap

    | part     | what it is                                                                  |
    |----------|-----------------------------------------------------------------------------|
    | idle     | waiting for the loader: reading data, and solves in the background            |
    | transfer | tensors to arrays and back, for the solver; batches to the device (in `fit`)   |
    | solver   | in the solver, wall clock, forward and backward; with a pool, until it answers |
    | network  | the rest of a step: model, loss, gradients, optimizer                        |

    Families that solve on the tensor's own device count as network.

    Args:
        modules: layers and losses, or modules that hold them; solvers are found by themselves.
        synchronize: wait for the GPU at each border, so that work that is only queued is counted where it
            belongs. It costs time: without it, the GPU's work shows up where something waits for it, mostly
            as transfer.

    Raises:
        InvalidInputError: none of the modules holds a solver.

    It costs some microseconds a step, and nothing where no profile is made.
    """

    def __init__(self, *modules: nn.Module, synchronize: bool = False) -> None:
        self._polytopes = _polytopes(modules)
        if not self._polytopes:
            raise InvalidInputError(
                "`modules` must hold a layer or a loss with a solver; none was found. Give the layer or loss "
                "itself: StepProfile(loss)."
            )
        self.synchronize = synchronize
        self._moving = 0.0
        self._totals = self._lap = _Totals()

    def steps(self, batches: Iterable[Batch]) -> Generator[Batch]:
        """Yield batches, and take the time between them for idle, the time until the next one for a step."""
        source = iter(batches)
        with self._synchronized():
            while True:
                began, before = self._now(), self._spent()
                try:
                    batch = next(source)
                except StopIteration:
                    return
                ready, spent = self._now(), self._spent()
                loaded = spent.minus(before)
                try:
                    yield batch
                finally:
                    # Only what is spent inside of steps counts, not the solves of a validation.
                    own = _Totals(1, ready - began, self._now() - ready)
                    ahead = _Totals(rows=loaded.rows, undecided=loaded.undecided)
                    self._totals = self._totals.plus(own).plus(ahead).plus(self._spent().minus(spent))

    @contextmanager
    def transferring(self) -> Generator[None]:
        """Take the time inside for transfer."""
        began = self._now()
        try:
            yield
        finally:
            self._moving += self._now() - began

    def total(self) -> dict[str, float]:
        """Return everything so far: `steps`, seconds of the four parts, `solved_rows`, `undecided_rows`."""
        return self._totals.record()

    def lap(self) -> dict[str, float]:
        """Return what came since the last lap, in the keys of `total`: for a logger, after an epoch or so."""
        now, then = self._totals, self._lap
        self._lap = now
        return now.minus(then).record()

    def __rich__(self) -> Table:
        """Return the table: seconds in all, milliseconds a step, share of each part."""
        total = self.total()
        steps = max(1.0, total["steps"])
        parts = {part: total[f"{part}_seconds"] for part in ("network", "transfer", "solver", "idle")}
        whole = sum(parts.values())
        table = Table("part", title=f"{total['steps']:.0f} training steps", title_justify="left")
        for column in ("seconds", "ms a step", "share"):
            table.add_column(column, justify="right")
        for part, seconds in [*parts.items(), ("all", whole)]:
            share = f"{seconds / whole:.0%}" if whole else "-"
            table.add_row(part, f"{seconds:.3f}", f"{1e3 * seconds / steps:.3f}", share)
        rows, undecided = total["solved_rows"], total["undecided_rows"]
        table.caption = f"{rows:.0f} rows solved, {undecided:.0f} of them without a decision"
        return table

    def _spent(self) -> _Totals:
        spent = [polytope.spent for polytope in self._polytopes]
        return _Totals(
            transfer=self._moving + sum(each.transfer for each in spent),
            solver=sum(each.solver for each in spent),
            rows=sum(each.rows for each in spent),
            undecided=sum(each.undecided for each in spent),
        )

    @contextmanager
    def _synchronized(self) -> Generator[None]:
        before = [polytope.spent.synchronize for polytope in self._polytopes]
        for polytope in self._polytopes:
            polytope.spent.synchronize = self.synchronize
        try:
            yield
        finally:
            for polytope, was in zip(self._polytopes, before, strict=True):
                polytope.spent.synchronize = was

    def _now(self) -> float:
        if self.synchronize and torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def _polytopes(modules: Iterable[nn.Module]) -> list[Polytope]:
    """Return the solvers of layers, losses and pools, each once."""
    found: dict[int, Polytope] = {}
    for module in modules:
        for part in module.modules():
            family: Any = getattr(part, "family", None)
            if isinstance(family, Polytope):
                found[id(family)] = family
    return list(found.values())
