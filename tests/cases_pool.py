"""Rows of the conformance matrix for pools and caches: a few solvers of the other rows, wrapped."""

from __future__ import annotations

from dataclasses import replace

import cases_graphs
import cases_linear
from imle_opt_solvers.cache import CachedSolver
from imle_opt_solvers.pool import SolverPool


def threads(solver):
    return SolverPool(solver, 2, backend="thread", chunk=2)


def processes(solver):
    return SolverPool(solver, 2, backend="process", chunk=2)


def both(solver):
    return CachedSolver(threads(solver))


WRAPPERS = {"threads": threads, "processes": processes, "cache": CachedSolver, "cache-of-threads": both}


def wrapped(case, how):
    """The same case, its solvers wrapped; the solver itself is the rival."""
    wrap = WRAPPERS[how]

    def first(make):
        """Wrap the first of the two things that are made."""
        return None if make is None else lambda: wrap_first(wrap, *make())

    return replace(
        case,
        name=f"{how}-{case.name}",
        make_solver=lambda: wrap(case.make_solver()),
        infeasible=None if case.infeasible is None else lambda: wrap(case.infeasible()),
        watch=first(case.watch),
        unbounded=first(case.unbounded),
        limited=first(case.limited),
        rival=case.make_solver,
    )


def wrap_first(wrap, solver, other):
    return wrap(solver), other


def named(cases, *names):
    return [case for case in cases if case.name in names]


LINEAR = named(cases_linear.CASES, "highs-knapsack", "highs-polygon")
GRAPHS = named(cases_graphs.CASES, "path-undirected-kernel", "path-bellman-ford-kernel", "tree-max-kernel")

CASES = (
    *(wrapped(case, how) for case in (*LINEAR, *GRAPHS) for how in ("threads", "cache")),
    wrapped(LINEAR[0], "processes"),
    wrapped(LINEAR[0], "cache-of-threads"),
)
