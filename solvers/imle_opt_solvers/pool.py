"""Any solver on several threads, processes or machines: a batch is cut into chunks solved side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Literal, Self, final, get_args

from numpy.typing import ArrayLike

from imle_opt_solvers._chunks import Workers
from imle_opt_solvers._pool_counts import PoolStats
from imle_opt_solvers._pool_engine import PoolEngine
from imle_opt_solvers._portable_pickle import dumps
from imle_opt_solvers._thread_pool import ThreadWorkers
from imle_opt_solvers.errors import InvalidInputError, MissingDependencyError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution, Status
from imle_opt_solvers.solver import Solver

__all__ = ["Backend", "PoolStats", "SolverPool"]

Backend = Literal["process", "thread", "ray"]

_MEND = (
    "Or use backend='thread'; or give SolverPool a function without arguments, of a module, that makes the "
    "solver."
)


@final
class SolverPool(Solver):
    """Another solver on several workers; its answers are the other one's, in the order of the rows.

        with SolverPool(solver) as pool:
            layer = IMLE(pool)

    Workers start with the first batch and stay until the pool is closed, or nobody holds it any more. With
    `deterministic=True` the answers do not depend on the back end, the number of workers or the chunks.

    Args:
        solver: the solver; or a function without arguments that makes it, where it cannot be pickled.
        workers: how many; by default one per processor that this process may use, or that the cluster has.
        backend: `"thread"`, which costs least, for solvers that release the interpreter's lock;
            `"process"` for the others, and wherever a solver may crash or hang. By default what
            `solver.traits.releases_gil` says, and processes where there is a `timeout`. `"ray"` for actors
            on a Ray cluster (pip install 'imle-opt[ray]'), which may lose nodes and be given others.
        chunk: rows per chunk. By default a few chunks per worker, more where a row takes long, fewer where it
            is fast, and those first whose rows are known to take longest; and a batch that
            takes less time than it takes to send it is solved where the call comes from, once a few batches
            have been measured, no worker was lost, and there is no `timeout`.
        timeout: seconds of wall clock that one row may take, not for threads: a chunk of k rows has k times
            that, then its worker is killed. The first row of a worker also builds the model.
        retries: how often the rows of a worker that crashed or was killed are solved again, one by one, each
            on its own; rows that are lost once more end with `Status.ERROR`.
        address: of the Ray cluster, as `ray.init` takes it. By default the one that this process is connected
            to, or the one that Ray finds, or a new one in this machine. The connection outlives the pool.

    Raises:
        InvalidInputError: an option out of its range; a solver that cannot be sent to a process; no cluster
            at `address`.
        MissingDependencyError: `backend="ray"` without Ray.

    From `solve`: an exception that the solver raises in a worker arrives as it is, with a note that holds the
    worker's traceback. Cost: one solve per row, and per call some 0.1 to 0.3 ms. A copy of a pool by
    `with_on_failure` shares its workers; a pickled one starts its own.
    """

    def __init__(
        self,
        solver: Solver | Callable[[], Solver],
        workers: int | None = None,
        *,
        backend: Backend | None = None,
        chunk: int | Literal["auto"] = "auto",
        timeout: float | None = None,
        retries: int = 2,
        address: str | None = None,
    ) -> None:
        inner = _made(solver)
        super().__init__(
            inner.shape, inner.sense, inner.traits, names=inner.names, on_failure=inner.on_failure
        )
        self.solver = inner
        self.backend: Backend = backend or (
            "thread" if inner.traits.releases_gil and timeout is None else "process"
        )
        self.address = address
        self.chunk: int | Literal["auto"] = chunk
        self.timeout = timeout
        self.retries = retries
        self._source = solver
        self._check_options()
        self.workers = self._processors() if workers is None else _checked_workers(workers)
        self._engine = self._new_engine()

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """The inner solver's advice, and what rows call for that the workers could not solve."""
        lost = (
            f"the solver gave up, or the worker crashed, ran out of memory or ran past `timeout` "
            f"{self.retries + 1} time(s) with these rows: solve them outside the pool to see why"
        )
        return {Status.ERROR: lost, **self.solver.failure_advice}

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the rows on the workers."""
        return self._engine.solve_rows(costs, instances, deterministic)

    def submit(
        self, costs: ArrayLike, *, instances: Instances | None = None, deterministic: bool = True
    ) -> Future[Solution]:
        """Begin to solve a batch, and return at once.

        Args:
            costs: as for `solve`; not to be changed before the future is done.
            instances: as for `solve`.
            deterministic: as for `solve`.

        Returns:
            A future of what `solve` returns or raises. Batches are solved one after another, each on all
            workers.

        Raises:
            InvalidInputError: the pool is closed.
        """
        call = partial(self.solve, costs, instances=instances, deterministic=deterministic)
        return self._engine.submit(call)

    def stats(self) -> PoolStats:
        """Return what the pool has done so far, its copies by `with_on_failure` included."""
        return self._engine.stats()

    def close(self) -> None:
        """End the workers; futures that are not done are cancelled, or fail. Twice does no harm."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        clone = object.__new__(type(self))
        vars(clone).update(vars(self))
        return clone

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_engine", "solver")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.solver = _made(self._source)
        self._engine = self._new_engine()

    def _new_engine(self) -> PoolEngine:
        return PoolEngine(
            self.solver,
            self._maker(),
            self.workers,
            chunk=self.chunk,
            may_solve_inline=self.chunk == "auto" and self.timeout is None,
        )

    def _maker(self) -> Callable[[], Workers]:
        if self.backend == "thread":
            return partial(ThreadWorkers, self.solver, self.workers)
        options = self.shape, self.workers, self.timeout, self.retries
        if self.backend == "ray":
            from imle_opt_solvers import _ray_cluster
            from imle_opt_solvers._ray_pool import RayWorkers

            pickled = _ray_cluster.dumps(self._source, "The solver", _MEND)
            return partial(RayWorkers, pickled, *options, self.address)
        # Descriptors and process groups are not there on every system that has threads.
        from imle_opt_solvers._process_pool import ProcessWorkers

        return partial(ProcessWorkers, dumps(self._source, "The solver", _MEND), *options)

    def _processors(self) -> int:
        if self.backend == "ray":
            from imle_opt_solvers._ray_cluster import processors

            return max(1, processors())
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def _check_options(self) -> None:
        if self.backend not in get_args(Backend):
            backends = ", ".join(map(repr, get_args(Backend)))
            raise InvalidInputError(f"`backend` must be one of {backends}, not {self.backend!r}.")
        if self.chunk != "auto" and not self.chunk >= 1:
            raise InvalidInputError(f"`chunk` must be 'auto' or at least 1, not {self.chunk!r}.")
        if self.timeout is not None and not self.timeout > 0:
            raise InvalidInputError(f"`timeout` must be positive or None, not {self.timeout!r}.")
        if self.timeout is not None and self.backend == "thread":
            raise InvalidInputError(
                "`timeout` needs backend='process' or 'ray': a thread cannot be killed. Or give the solver "
                "itself a limit: Limits(seconds=...)."
            )
        if self.retries < 0:
            raise InvalidInputError(f"`retries` must not be negative, not {self.retries!r}.")
        if self.backend == "process" and sys.platform == "win32":
            raise InvalidInputError("backend='process' does not run on Windows: use backend='thread'.")
        if self.address is not None and self.backend != "ray":
            raise InvalidInputError(
                f"`address` is for backend='ray', not for {self.backend!r}: leave it out."
            )
        if self.backend == "ray":
            _connect(self.address)


def _made(source: Solver | Callable[[], Solver]) -> Solver:
    return source if isinstance(source, Solver) else source()


def _checked_workers(workers: int) -> int:
    if workers < 1:
        raise InvalidInputError(f"`workers` must be at least 1, not {workers!r}.")
    return workers


def _connect(address: str | None) -> None:
    if find_spec("ray") is None:
        raise MissingDependencyError("backend='ray' needs Ray. Install it: pip install 'imle-opt[ray]'")
    from imle_opt_solvers._ray_cluster import connect

    connect(address)
