"""Any solver with a memory: a row that was solved before is not solved again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, final

import numpy as np

from imle_opt_solvers._row_keys import row_keys
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances, take_rows
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["CacheStats", "CachedSolver", "hits_of"]

_OVERHEAD = 512
"""Bytes per answer besides its decision: the key, the objects and their place in the order."""


@dataclass(frozen=True)
class CacheStats:
    """What a `CachedSolver` has done so far.

    Args:
        hits: rows answered from memory.
        duplicates: rows answered by an equal row of the same batch.
        misses: rows that were solved.
        answers: how many answers are in memory.
        capacity: how many there may be.
    """

    hits: int
    duplicates: int
    misses: int
    answers: int
    capacity: int

    @property
    def hit_rate(self) -> float:
        """The share of rows that were not solved; NaN before the first row."""
        rows = self.hits + self.duplicates + self.misses
        return (self.hits + self.duplicates) / rows if rows else float("nan")


class _Answer(NamedTuple):
    decision: FloatArray
    objective: float
    status: Status
    gap: float
    deterministic: bool


@final
class CachedSolver(Solver):
    """Another solver, and the answers that it gave.

    A row is found again by the content of its costs and instances, bit by bit. Only proven optima are kept:
    a row that failed, or hit a limit, is solved again next time. What was solved with `deterministic=True`
    answers any call; what was solved without answers only calls without, so that deterministic answers never
    depend on history. The answers used longest ago go first when the memory is full.

    Objects in `instances` (graphs) count by their content, as it pickles: a graph that was changed is another
    one, and so, once, is a NetworkX graph at its first use, when it stores views of itself.

    Worth it where the same costs come again: true costs in every epoch, validation, discrete predictions.
    Perturbed costs never do. Around a pool, `CachedSolver(SolverPool(solver))`, all workers share one memory.

    Args:
        solver: the solver; it must answer the same row the same way every time.
        capacity: bytes of memory for answers.

    Raises:
        InvalidInputError: the capacity does not hold one answer.

    One solve per new row, and some 2 microseconds to look one up. A copy by `with_on_failure` shares the
    memory; a pickled one starts empty.
    """

    def __init__(self, solver: Solver, capacity: int = 256 * 2**20) -> None:
        super().__init__(
            solver.shape, solver.sense, solver.traits, names=solver.names, on_failure=solver.on_failure
        )
        self.solver = solver
        self.capacity = capacity
        answer = _OVERHEAD + 8 * int(np.prod(solver.shape, dtype=np.int64))
        if capacity < answer:
            raise InvalidInputError(
                f"`capacity` must hold one answer at least, {answer} bytes here, not {capacity!r}."
            )
        self._memory = _Memory(capacity // answer)

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """The inner solver's advice."""
        return self.solver.failure_advice

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the rows that are new, each once."""
        keys = row_keys(costs, instances)
        answers = self._memory.find(keys, deterministic)
        first: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            if key not in answers:
                first.setdefault(key, row)
        if first:
            solved = self._solve(costs, instances, deterministic, np.array(list(first.values())))
            fresh = dict(zip(first, solved, strict=True))
            self._memory.keep(fresh)
            answers |= fresh
        self._memory.count(rows=len(keys), hits=sum(key not in first for key in keys), misses=len(first))
        return _gathered([answers[key] for key in keys])

    def stats(self) -> CacheStats:
        """Return the counts so far."""
        return self._memory.stats()

    def clear(self) -> None:
        """Forget all answers and counts."""
        self._memory.clear()

    def __copy__(self) -> Self:
        clone = object.__new__(type(self))
        vars(clone).update(vars(self))
        return clone

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_memory": self._memory.capacity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._memory = _Memory(state["_memory"])

    def _solve(
        self,
        costs: FloatArray,
        instances: Instances | None,
        deterministic: bool,
        rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    ) -> list[_Answer]:
        some = None if instances is None else take_rows(instances, rows)
        solution = self.solver.solve_rows(costs[rows], some, deterministic)
        return [
            _Answer(decision.copy(), float(objective), status, float(gap), deterministic)
            for decision, objective, status, gap in zip(
                solution.decisions, solution.objectives, solution.statuses, solution.gaps, strict=True
            )
        ]


@final
class _Memory:
    """Answers by key, in the order of their last use; safe to use from several threads."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = self._duplicates = self._misses = 0

    def find(self, keys: list[bytes], deterministic: bool) -> dict[bytes, _Answer]:
        """Return the answers that a call may use."""
        found: dict[bytes, _Answer] = {}
        with self._lock:
            for key in keys:
                answer = self._answers.get(key)
                if answer is not None and (answer.deterministic or not deterministic):
                    self._answers.move_to_end(key)
                    found[key] = answer
        return found

    def keep(self, fresh: dict[bytes, _Answer]) -> None:
        """Add the proven optima among some answers, and drop what was used longest ago."""
        with self._lock:
            for key, answer in fresh.items():
                if answer.status is Status.OPTIMAL:
                    self._answers[key] = answer
                    self._answers.move_to_end(key)
            while len(self._answers) > self.capacity:
                self._answers.popitem(last=False)

    def count(self, *, rows: int, hits: int, misses: int) -> None:
        """Add the rows of one batch to the counts."""
        with self._lock:
            self._hits += hits
            self._misses += misses
            self._duplicates += rows - hits - misses

    def stats(self) -> CacheStats:
        """Return the counts so far."""
        with self._lock:
            return CacheStats(self._hits, self._duplicates, self._misses, len(self._answers), self.capacity)

    def clear(self) -> None:
        """Forget answers and counts."""
        with self._lock:
            self._answers.clear()
            self._hits = self._duplicates = self._misses = 0


def _gathered(answers: list[_Answer]) -> Solution:
    return Solution(
        np.stack([answer.decision for answer in answers]),
        np.array([answer.objective for answer in answers]),
        tuple(answer.status for answer in answers),
        np.array([answer.gap for answer in answers]),
        0.0,
    )


def hits_of(solver: Solver) -> int:
    """Return how many rows a solver has answered without a solve: those of a `CachedSolver`, 0 of others."""
    if not isinstance(solver, CachedSolver):
        return 0
    stats = solver.stats()
    return stats.hits + stats.duplicates
