"""What worker processes solve in the tests of pools: functions of a module that they can import.

Every function answers with the one-hot vector of the cheapest entry, and may do something bad before. A row
whose first cost is `BAD` is the one to do it for; a file named by IMLE_OPT_TEST_FOLDER counts how often.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.solution import Sense, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

BAD = 77.0
SIZE = 5


def cheapest(costs):
    return np.eye(SIZE)[costs.argmin()]


def slow(costs):
    time.sleep(0.02)
    return cheapest(costs)


def sleeps_at_random(costs):
    if costs[1] > 0:
        time.sleep(0.002 * costs[1])
    return cheapest(costs)


def killed_always(costs):
    if costs[0] == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return cheapest(costs)


def killed_once(costs):
    if costs[0] == BAD and count("killed") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return cheapest(costs)


def out_of_memory_once(costs):
    if costs[0] == BAD and count("short") == 1:
        np.ones(2**56)
    return cheapest(costs)


def out_of_memory_always(costs):
    if costs[0] == BAD:
        np.ones(2**56)
    return cheapest(costs)


def fills_its_memory_once(costs):
    """Fail where a process fails that may have so much and no more, with whatever it asks for then."""
    if costs[0] == BAD and count("short") == 1:
        room = Path("/proc/self/statm").read_text().split()[0]
        allowed = int(room) * os.sysconf("SC_PAGE_SIZE") + 2**26
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        held = []
        while True:
            held.append(np.ones(2**20))
    return cheapest(costs)


def aborts_once(costs):
    """End as a C++ library does whose memory runs out."""
    if costs[0] == BAD and count("aborted") == 1:
        os.abort()
    return cheapest(costs)


def dies_before_its_child_once(costs):
    if costs[0] == BAD and count("killed") == 1:
        if child := os.fork():
            count_child(child)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3600)  # the child, which holds all that its parent had open
    return cheapest(costs)


def count_child(child):
    (Path(os.environ["IMLE_OPT_TEST_FOLDER"]) / "child").write_text(str(child))


def counts_threads(costs):
    """How many threads there are after a large product of matrices."""
    square = np.ones((300, 300))
    assert (square @ square)[0, 0] == 300
    return np.array([0.0, 0, 0, 0, len(list(Path("/proc/self/task").iterdir()))])


class Counted:
    """A function that knows how often it was pickled in this process."""

    pickled = 0

    def __call__(self, costs):
        return cheapest(costs)

    def __reduce__(self):
        Counted.pickled += 1
        return Counted, ()


def hangs_always(costs):
    if costs[0] == BAD:
        count("hung")
        ctypes.PyDLL(None).sleep(3600)  # as a C library that keeps the interpreter's lock
    return cheapest(costs)


def hangs_once(costs):
    if costs[0] == BAD and count("hung") == 1:
        time.sleep(3600)
    return cheapest(costs)


def raises(costs):
    if costs[0] == BAD:
        time.sleep(0.3 if costs[1] == 5 else 0)  # the fifth row is the last to tell
        raise InvalidInputError(f"this row is bad: {costs[1]:g}")
    return cheapest(costs)


class StubbornError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def raises_stubbornly(costs):
    raise StubbornError("cannot", "travel")


def tells_modules(costs):
    """One entry per question: is torch loaded, is the script's module, does the thread limit hold?"""
    single = all(os.environ.get(f"{name}_NUM_THREADS") == "1" for name in ("OMP", "OPENBLAS"))
    return np.array([0.0, "torch" in sys.modules, "user_script" in sys.modules, single, os.getpid()])


def tells_process_slowly(costs):
    time.sleep(0.02)
    return np.array([costs.argmin(), 0, 0, 0, os.getpid()])


class EveryStatus(Solver):
    """Ends each row as its first cost says; decides where that status comes with a decision."""

    def __init__(self):
        super().__init__((SIZE,), Sense.MIN, Traits(releases_gil=True))

    def solve_rows(self, costs, instances, deterministic):
        statuses = tuple(tuple(Status)[int(row[0])] for row in costs)
        decided = np.array([status.has_decision for status in statuses])
        decisions = np.where(decided[:, None], np.eye(SIZE)[costs.argmin(1)], np.nan)
        objectives = np.einsum("bm,bm->b", costs, decisions)
        return Solution(decisions, objectives, statuses, np.where(decided, 0.25, np.nan), 0.0)


def make_solver():
    solver = FunctionSolver(cheapest, SIZE, "min")
    solver.cannot_be_pickled = lambda: None
    return solver


def make_slowly(process):
    """Make the solver; elsewhere than in `process` only after a while."""
    if os.getpid() != process:
        count("begun")
        time.sleep(1)
    return solver(cheapest)


def ends_elsewhere(process, signal_number):
    """Make the solver; end other processes than `process` before, by a signal the first three times only."""
    if os.getpid() != process:
        begun = count("ended")
        if not signal_number:
            os._exit(3)
        if begun <= 2 + 3:
            os.kill(os.getpid(), signal_number)
    return solver(cheapest)


def count(what):
    """Count one more of `what`, over all processes."""
    path = Path(os.environ["IMLE_OPT_TEST_FOLDER"]) / what
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(path.read_text().splitlines())


def solver(function, **options):
    return FunctionSolver(function, SIZE, "min", **options)


def costs(rows, bad=(), seed=0):
    """Rows of random costs; the first cost of rows `bad` is `BAD`, the second is the row's number."""
    drawn = np.random.default_rng(seed).normal(size=(rows, SIZE))
    for row in bad:
        drawn[row, :2] = BAD, row
    return drawn


def answers(batch):
    """The decisions, without the library."""
    return np.eye(SIZE)[np.asarray(batch).argmin(axis=-1)]
