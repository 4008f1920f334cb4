"""One worker process, seen from the pool."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import final

from imle_opt_solvers._chunks import Chunk

__all__ = ["WorkerProcess"]

_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")
_ONE_THREAD = {f"{each}_NUM_THREADS": "1" for each in _LIBRARIES} | {"VECLIB_MAXIMUM_THREADS": "1"}
# For glibc: without them every chunk's arrays are asked of the system anew, which takes longer than to fill
# them (320 rows of 144 costs: 0.38 ms for a solver that does nothing, and 0.09 ms with them).
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}


@final
class WorkerProcess:
    """A Python process that solves chunks, one at a time.

    Args:
        rows: descriptor of the shared rows.
        solver: descriptor of the pickled solver.
        width: the number of costs of one row.

    Attributes:
        link: descriptor of the connection, for messages.
        ready: it has loaded its solver.
        proven: it was ready before the batch at hand, or has solved some of it.
        chunk: what it is solving.
        sent: when it was given the chunk, on the performance clock.
        deadline: when to give it up, on the monotonic clock.

    It leads a process group of its own: Ctrl-C in the terminal does not reach it, and what it starts (a
    solver's binary) can be killed with it.
    """

    def __init__(self, rows: int, solver: int, width: int) -> None:
        self._connection, theirs = socket.socketpair()
        self.link = self._connection.fileno()
        their_lifeline, lifeline = os.pipe()
        # An object, which closes it also where Ctrl-C comes before anybody holds this worker.
        self._lifeline = os.fdopen(lifeline, "wb", buffering=0)
        inherited = (theirs.fileno(), their_lifeline, rows, solver)
        try:
            self._process = subprocess.Popen(
                # -P: what lies in the working directory must not stand in for what this process imports.
                [sys.executable, "-P", "-m", "imle_opt_solvers._worker", *map(str, inherited), str(width)],
                stdin=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=inherited,
                process_group=0,
            )
        finally:
            theirs.close()
            os.close(their_lifeline)
        self._killed = False
        self.ready = self.proven = False
        self.chunk: Chunk | None = None
        self.sent = 0.0
        self.deadline = float("inf")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def was_killed(self, seconds: float) -> bool:
        """Whether somebody else killed the process, as the system does when memory runs out.

        Args:
            seconds: how long to wait for the end of a process that has closed its connection.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode == -signal.SIGKILL

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def hang_up(self) -> None:
        """Close the connection: an idle process then ends by itself."""
        self._connection.close()

    def dismiss(self, seconds: float) -> None:
        """Let an idle process end by itself, and kill it if it has not within `seconds`."""
        self.hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()
        self.release()

    def kill(self) -> None:
        """Kill the process and all that it started; its connection stays, and reads as ended."""
        if not self._killed:  # later the number may belong to another process
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def release(self) -> None:
        """Close what belongs to a killed process."""
        self.hang_up()
        self._lifeline.close()


def _environment() -> dict[str, str]:
    # The same search path, so that what can be imported here can be imported there.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109  # a string, not a Path
    return {**os.environ, **_ONE_THREAD, **_KEEP_MEMORY, "PYTHONPATH": path}
