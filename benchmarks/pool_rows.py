"""What the pool benchmarks solve, in a module that worker processes can import, and what they look at."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers import FunctionSolver, Solver

SIZE = 5
_MEAN_SLEEP = 2e-3


def cheapest(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the one-hot vector of the cheapest entry."""
    decision: NDArray[np.float64] = np.eye(SIZE)[costs.argmin()]
    return decision


def cheapest_after_a_while(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same; before, half of the rows sleep for a while that the costs decide."""
    if costs[0] > 0:
        time.sleep(_MEAN_SLEEP * -np.log(costs[0] % 1.0 or 1.0))
    return cheapest(costs)


def solver(*, sleeps: bool = False) -> Solver:
    """Return the solver of one of the two functions."""
    return FunctionSolver(cheapest_after_a_while if sleeps else cheapest, SIZE, "min")


def rows(count: int, seed: int) -> NDArray[np.float64]:
    """Draw costs (count, SIZE)."""
    return np.random.default_rng(seed).normal(size=(count, SIZE))


def worker_processes() -> list[int]:
    """Return the numbers of this process's workers."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if parent == os.getpid() and b"imle_opt_solvers._worker" in command:
                found.append(int(entry.name))
    return found


def resident_mib(process: int | str = "self") -> float:
    """Return the memory of a process, in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors(process: int | str = "self") -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def report(result: dict[str, object], path: Path | None) -> None:
    """Print a table, and write JSON where a path is given."""
    print("| | |\n|---|---:|")
    for name, value in result.items():
        print(f"| {name.replace('_', ' ')} | {f'{value:.4g}' if isinstance(value, float) else value} |")
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
