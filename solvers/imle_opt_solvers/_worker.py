"""A worker process of a pool: `python -m imle_opt_solvers._worker`, started by `_worker_process`.

It is not a child by `fork`, nor by `multiprocessing`: the user's script is not run again, and torch is not
loaded even where the script imports it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import cast

from imle_opt_solvers._portable_pickle import dump_exception
from imle_opt_solvers._shared import SharedRows
from imle_opt_solvers._worker_messages import (
    Done,
    Raised,
    Ready,
    Task,
    read_task,
    write_answer,
)
from imle_opt_solvers.cache import hits_of
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["main"]


def main(arguments: Sequence[str]) -> None:
    """Load the solver, say so, and solve chunks until the pool closes its end.

    Args:
        arguments: the descriptors of the connection, of the lifeline, of the shared rows and of the pickled
            solver; the number of costs of one row.
    """
    descriptors, width = [int(each) for each in arguments[:4]], int(arguments[4])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    link, lifeline, rows, pickled = descriptors
    _end_with(lifeline)
    try:
        solver = _load(pickled)
    except Exception as error:  # noqa: BLE001  # whatever loading raises is the pool's to report
        write_answer(link, Raised(dump_exception(error)))
        return
    with contextlib.suppress(BrokenPipeError):  # the pool has gone
        _serve(link, solver, SharedRows(rows, width))


def _end_with(lifeline: int) -> None:
    """End this process and its children as soon as the pool's process ends, whatever they are doing.

    The other end of the lifeline is the pool's alone, and nothing is ever written to it. On Linux the kernel
    signals its end, which reaches code that never comes back to Python; elsewhere a thread waits for it.
    """
    if sys.platform == "linux":
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    # The signal does not come where the pool had ended before it was asked for.
    threading.Thread(target=_wait_for_end, args=(lifeline,), daemon=True).start()


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _load(descriptor: int) -> Solver:
    # A descriptor's position is shared with the other workers that read it.
    pickled = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    made = pickle.loads(pickled)
    return made if isinstance(made, Solver) else cast(Solver, made())


def _serve(link: int, solver: Solver, rows: SharedRows) -> None:
    answer: Done | Raised
    write_answer(link, Ready())
    while True:
        try:
            task = read_task(link)
        except (EOFError, OSError):
            return
        try:
            answer = _solve(task, solver, rows)
        except MemoryError:
            # What is left of this process is in doubt: with its end the pool has the rows solved elsewhere.
            raise
        except Exception as error:  # noqa: BLE001  # raised again in the pool's process
            answer = Raised(dump_exception(error))
        write_answer(link, answer)


def _solve(task: Task, solver: Solver, rows: SharedRows) -> Done:
    views, chunk = rows.views(task.rows), slice(task.start, task.stop)
    # A copy: the memory holds other costs as soon as the batch is done, and a solver may keep what it gets.
    costs = views.costs[chunk].reshape(-1, *solver.shape).copy()
    instances: Instances | None = pickle.loads(task.instances) if task.instances else None
    hits, began = hits_of(solver), time.perf_counter()
    solution = solver.solve_rows(costs, instances, task.deterministic)
    seconds = time.perf_counter() - began
    views.write(chunk, solution)
    return Done(seconds, hits_of(solver) - hits)


if __name__ == "__main__":
    main(sys.argv[1:])
