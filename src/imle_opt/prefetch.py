"""Targets of known costs, solved in the background while the network runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sized
from concurrent.futures import Future
from typing import Any, TypeAlias, cast, final

import torch

from imle_opt._checks import check_at_least_one, check_kind
from imle_opt.families import Polytope
from imle_opt.losses import ExplicitMLE, SolvedTarget
from imle_opt_solvers._background import Background
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.pool import SolverPool

__all__ = ["PrefetchedTargets"]

Place: TypeAlias = int | str | Callable[[Any], Any]
"""Where something is in a batch: a position, a key, or a function of the batch."""


@final
class PrefetchedTargets:
    """A loader whose batches come with the solved target of their costs, solved some batches ahead.

        loss = ExplicitMLE(SolverPool(solver), noise=Normal(0.5))
        for features, costs, target in PrefetchedTargets(loader, loss):
            loss(network(features), target=target).mean().backward()

    `ExplicitMLE(costs=...)` solves for the known costs and for the predicted ones, under the same noise. The
    first does not depend on the network: here its noise is drawn when a batch is read, and it is solved in a
    thread while the network works on earlier batches. The target holds the noise, for the second.

    The numbers are those of `loss(network(features), costs=costs)`, if the noise has a generator of its own:
    it is drawn batch by batch in the same order, on the device that the loader's costs are on.

    An error of a solve is raised where its batch would come. A loop that ends early, by `break`, an exception
    or Ctrl-C, drops what has not begun; what is being solved ends by itself in its thread.

    Args:
        loader: yields batches: tuples, lists or mappings, such as a DataLoader does. Iterated anew each time.
        loss: solves the targets.
        costs: where the known costs are in a batch: position, key, or a function of the batch.
        instances: where the solver's per-row data are, likewise; None: there are none.
        ahead: how many batches are solved at most beyond the one that is worked on. Each keeps its noise.
        generator: source of the noise; None is the loader's own `generator` where it has one (one that `fit`
            seeds), then the loss's, then torch's default.

    Yields:
        `(*batch, target)` for a tuple or list, `{**batch, "target": target}` for a mapping.

    Raises:
        InvalidInputError: an option out of its range; a solver that may not be safe to use from two threads
            at once: a SolverPool is, and so are solvers that release the interpreter's lock; from the
            iteration, batches without such costs.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        loss: ExplicitMLE,
        *,
        costs: Place = 1,
        instances: Place | None = None,
        ahead: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        check_kind(loss, ExplicitMLE, "loss", "ExplicitMLE(SolverPool(solver))")
        check_at_least_one(ahead, "ahead")
        _require_threads(loss)
        self.loader, self.loss, self.costs, self.instances, self.ahead = loader, loss, costs, instances, ahead
        own = getattr(loader, "generator", None)
        self.generator: torch.Generator | None = own if generator is None else generator

    def __len__(self) -> int:
        """Return the number of batches, where the loader knows it."""
        return len(cast(Sized, self.loader))

    def __iter__(self) -> Generator[Any]:
        """Go through the loader once."""
        background, waiting = Background(), deque[tuple[Any, Future[SolvedTarget]]]()
        try:
            for batch in self.loader:
                waiting.append((batch, background.submit(self._prepared(batch))))
                if len(waiting) > self.ahead:
                    yield self._solved(*waiting.popleft())
            while waiting:
                yield self._solved(*waiting.popleft())
        finally:
            background.close()

    def _prepared(self, batch: Any) -> Callable[[], SolvedTarget]:
        costs = _part(batch, self.costs, "costs")
        instances: Instances | None = (
            None if self.instances is None else _part(batch, self.instances, "instances")
        )
        return self.loss.prepare(costs, instances=instances, generator=self.generator)

    def _solved(self, batch: Any, future: Future[SolvedTarget]) -> Any:
        target = future.result()
        family = self.loss.family
        if isinstance(family, Polytope):
            samples = 1 if self.loss.noise.noise.is_zero else len(target.drawn)
            family.spent.rows += samples * target.fixed.numel()
            family.spent.undecided += int(target.undecided)
        return {**batch, "target": target} if isinstance(batch, Mapping) else (*batch, target)


def _require_threads(loss: ExplicitMLE) -> None:
    family = loss.family
    if not isinstance(family, Polytope):
        raise InvalidInputError(
            f"`loss` must have a solver to wait for; {family!r} answers where its tensors are. Give the "
            "costs to the loss itself."
        )
    solver = family.solver
    if not (isinstance(solver, SolverPool) or solver.traits.releases_gil):
        raise InvalidInputError(
            f"`loss` has a {type(solver).__name__}, which may not be safe to use from two threads at once: "
            "wrap it, ExplicitMLE(SolverPool(solver))."
        )


def _part(batch: Any, place: Place, name: str) -> Any:
    if callable(place):
        return place(batch)
    try:
        return batch[place]
    except (LookupError, TypeError) as error:
        raise InvalidInputError(
            f"`{name}={place!r}` is not in a batch of type {type(batch).__name__}: give its position, its "
            "key, or a function of the batch."
        ) from error
