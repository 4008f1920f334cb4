"""A solver that remembers proven optima, for millions of rows: what it does per row is done on arrays.

`imle_opt_solvers.CachedSolver` spends some microseconds of Python per row and half a kilobyte per answer,
which is nothing beside a mixed-integer solve, and as much as the kernels need for the rows themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.result import STATUSES
from imle_opt.evaluation.row_index import KeyArray, RowArray, RowIndex, distinct, enlarged, row_keys
from imle_opt_solvers import InvalidInputError, Solution, Solver, Status
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray

__all__ = ["RememberingSolver", "status_codes"]

_CAPACITY = 96 * 2**20
_CODES = {status: code for code, status in enumerate(STATUSES)}
_OPTIMAL, _UNKNOWN = _CODES[Status.OPTIMAL], 255


def status_codes(statuses: tuple[Status, ...]) -> NDArray[np.uint8]:
    """Return the codes of some statuses, (B,)."""
    if statuses.count(Status.OPTIMAL) == len(statuses):  # many times faster than one by one
        return np.full(len(statuses), _OPTIMAL, dtype=np.uint8)
    return np.fromiter(map(_CODES.__getitem__, statuses), dtype=np.uint8, count=len(statuses))


@final
class RememberingSolver(Solver):
    """Another solver, whose proven optima are kept: rows that are equal bit by bit are solved once.

    The answers are the other one's, with `deterministic=True`. Rows are told apart by 128 bits that are
    mixed from their content: among 10^9 rows two that differ share them with probability 10^-21. When the
    memory is full, all of it is forgotten. Threads may share it.

    Args:
        solver: the solver; used without `instances`.
        capacity: bytes of memory.
    """

    def __init__(self, solver: Solver, capacity: int = _CAPACITY) -> None:
        super().__init__(
            solver.shape, solver.sense, solver.traits, names=solver.names, on_failure=solver.on_failure
        )
        self.solver = solver
        self._memory = _Memory(int(np.prod(solver.shape, dtype=np.int64)), solver.traits.binary, capacity)

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """The other solver's advice."""
        return self.solver.failure_advice

    @property
    def solved(self) -> int:
        """How many rows the other solver was given so far."""
        return self._memory.solved

    def around(self, solver: Solver) -> Self:
        """Return the same memory around another solver of the same model."""
        clone = self.with_on_failure(self.on_failure)
        clone.solver = solver
        return clone

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the rows that are new, each once."""
        keys, checks = row_keys(costs)
        first, inverse = distinct(keys, checks)
        answers = self._memory.find(keys[first], checks[first])
        new = np.flatnonzero(answers.codes == _UNKNOWN)
        if new.size:
            fresh = self._solve(costs, first[new], deterministic)
            self._memory.keep(keys[first[new]], checks[first[new]], fresh)
            answers = answers.put(new, fresh)
        return answers.solution(inverse, costs.shape)

    def _solve(self, costs: FloatArray, rows: RowArray, deterministic: bool) -> _Answers:
        if rows.size == len(costs):
            return _Answers.of(self.solver.solve_rows(costs, None, deterministic))
        try:
            return _Answers.of(self.solver.solve_rows(costs[rows], None, deterministic))
        except InvalidInputError:
            self.solver.solve_rows(costs, None, deterministic)  # raises it again, and counts all rows
            raise


@dataclass
class _Answers:
    """Answers to k rows; the code is `_UNKNOWN` where there is none.

    Args:
        decisions: (k, m).
        objectives: (k,).
        gaps: (k,).
        codes: (k,).
    """

    decisions: FloatArray
    objectives: FloatArray
    gaps: FloatArray
    codes: NDArray[np.uint8]

    @classmethod
    def of(cls, solution: Solution) -> Self:
        """Read a solution."""
        decisions = solution.decisions.reshape(len(solution.statuses), -1)
        return cls(decisions, solution.objectives, solution.gaps, status_codes(solution.statuses))

    @classmethod
    def none(cls, rows: int, width: int) -> Self:
        """Return no answers."""
        return cls(
            np.empty((rows, width)), np.empty(rows), np.empty(rows), np.full(rows, _UNKNOWN, dtype=np.uint8)
        )

    def put(self, rows: RowArray, other: _Answers) -> Self | _Answers:
        """Return these with the answers to some of the rows filled in, where those are all: the others."""
        if rows.size == len(self.codes):
            return other
        self.decisions[rows], self.objectives[rows] = other.decisions, other.objectives
        self.gaps[rows], self.codes[rows] = other.gaps, other.codes
        return self

    def solution(self, rows: RowArray, shape: tuple[int, ...]) -> Solution:
        """Return the solution whose row b is the answer `rows[b]`."""
        every = rows.size == len(self.codes)
        decisions = self.decisions if every else self.decisions[rows]
        codes = self.codes if every else self.codes[rows]
        optimal = (codes == _OPTIMAL).all()
        return Solution(
            decisions.reshape(shape),
            self.objectives if every else self.objectives[rows],
            (Status.OPTIMAL,) * len(codes) if optimal else tuple(STATUSES[code] for code in codes.tolist()),
            self.gaps if every else self.gaps[rows],
            0.0,
        )


@final
class _Memory:
    """Proven optima by key; the arrays grow by doubling, up to the capacity."""

    def __init__(self, width: int, binary: bool, capacity: int) -> None:
        self._width, self._binary = width, binary
        row_bytes = (width + 7) // 8 if binary else 8 * width
        self._most = max(1, capacity // (row_bytes + 16 + RowIndex.MOST_BYTES))
        self._lock = threading.Lock()
        self.solved = 0
        self._forget()

    def _forget(self) -> None:
        self._index = RowIndex()
        self._size = 0
        columns = (self._width + 7) // 8 if self._binary else self._width
        kind = np.uint8 if self._binary else np.float64
        self._decisions: NDArray[Any] = np.empty((0, columns), dtype=kind)
        self._numbers = np.empty((0, 2))

    def find(self, keys: KeyArray, checks: KeyArray) -> _Answers:
        """Return the answers that are known."""
        answers = _Answers.none(len(keys), self._width)
        with self._lock:
            places = self._index.find(keys, checks)
            known = np.flatnonzero(places >= 0)
            if known.size:
                kept = self._decisions[places[known]]
                answers.decisions[known] = self._unpacked(kept)
                answers.objectives[known], answers.gaps[known] = self._numbers[places[known]].T
                answers.codes[known] = _OPTIMAL
        return answers

    def keep(self, keys: KeyArray, checks: KeyArray, fresh: _Answers) -> None:
        """Add the proven optima among new answers."""
        rows = np.flatnonzero(fresh.codes == _OPTIMAL)[: self._most]
        packed = self._packed(fresh.decisions[rows])
        with self._lock:
            self.solved += len(keys)
            if self._size + rows.size > self._most:
                self._forget()
            self._grow(self._size + rows.size)
            places = slice(self._size, self._size + rows.size)
            self._decisions[places] = packed
            self._numbers[places, 0], self._numbers[places, 1] = fresh.objectives[rows], fresh.gaps[rows]
            self._index.add(keys[rows], checks[rows])
            self._size += rows.size

    def _grow(self, size: int) -> None:
        if size <= len(self._decisions):
            return
        room = min(self._most, max(size, 2 * len(self._decisions)))
        self._decisions = enlarged(self._decisions, room)
        self._numbers = enlarged(self._numbers, room)

    def _packed(self, decisions: FloatArray) -> NDArray[Any]:
        return np.packbits(decisions > 0.5, axis=1) if self._binary else decisions

    def _unpacked(self, kept: NDArray[Any]) -> NDArray[Any]:
        return np.unpackbits(kept, axis=1, count=self._width) if self._binary else kept
