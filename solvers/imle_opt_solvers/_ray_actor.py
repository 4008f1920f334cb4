"""What runs in an actor of a Ray cluster; it does not import Ray itself."""

from __future__ import annotations

import pickle
import time
from typing import NamedTuple, cast, final

from imle_opt_solvers._portable_pickle import dump_exception
from imle_opt_solvers._worker_messages import Raised, Ready
from imle_opt_solvers.cache import hits_of
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution
from imle_opt_solvers.solver import Solver

__all__ = ["ChunkSolver", "SolvedChunk"]


class SolvedChunk(NamedTuple):
    """The rows are solved; `seconds` in the solver, `hits` of them from a cache."""

    solution: Solution
    seconds: float
    hits: int


@final
class ChunkSolver:
    """A solver on another machine. Exceptions are answers; only a lack of memory ends the call."""

    def __init__(self) -> None:
        self._solver: Solver | None = None

    def load(self, pickled: bytes) -> Ready | Raised:
        """Unpickle the solver, or the function that makes it."""
        try:
            made = pickle.loads(pickled)
            self._solver = made if isinstance(made, Solver) else cast(Solver, made())
        except Exception as error:  # noqa: BLE001  # whatever loading raises is the pool's to report
            return Raised(dump_exception(error))
        return Ready()

    def solve(self, costs: FloatArray, instances: bytes | None, deterministic: bool) -> SolvedChunk | Raised:
        """Solve some rows.

        Args:
            costs: (B, *shape).
            instances: pickled, or None.
            deterministic: see `Solver.solve`.

        Raises:
            MemoryError: the pool takes the actor for lost, and has the rows solved again.
        """
        assert self._solver is not None
        try:
            given = cast("Instances | None", None if instances is None else pickle.loads(instances))
            # A copy: what Ray hands over is shared and cannot be written to.
            own = costs.copy()
            hits, began = hits_of(self._solver), time.perf_counter()
            solution = self._solver.solve_rows(own, given, deterministic)
            seconds = time.perf_counter() - began
            return SolvedChunk(solution, seconds, hits_of(self._solver) - hits)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # raised again in the pool's process
            return Raised(dump_exception(error))
