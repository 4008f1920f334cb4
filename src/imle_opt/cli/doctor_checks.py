"""One small problem per solver, with a known optimum, and whether the solver finds it.

max 3 a + 5 b + 4 c     over  2 a + 3 b + 2 c <= 4,  each 0 or 1:     a and c, 7
                                                     between 0 and 1: c and two thirds of b, 22/3

shortest path from 0 to 3 over the edges 01, 02, 13, 23 at 1, 4, 5, 1:  0-2-3, 5
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from imle_opt_solvers import ModelError, ShortestPath, Solver, SpanningTree, wrap
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["CHECKS", "Check", "Finding", "find"]

PROFITS = (3.0, 5.0, 4.0)
WEIGHTS = (2.0, 3.0, 2.0)
CAPACITY = 4.0
INTEGER_OPTIMUM = 7.0
RELAXED_OPTIMUM = 22 / 3
EDGES = ((0, 1), (0, 2), (1, 3), (2, 3))
LENGTHS = (1.0, 4.0, 5.0, 1.0)
PATH_OPTIMUM = 5.0
TREE_OPTIMUM = 6.0
_TOLERANCE = 1e-5
_REPEATS = 5


@dataclass(frozen=True)
class Check:
    """A solver, and what it must find.

    Args:
        name: for the table.
        make: builds the model and wraps it.
        costs: of the one row.
        optimum: of the objective.
        required: whether imle-opt counts on this solver; the others are there for those who ask for them.
    """

    name: str
    make: Callable[[], Solver]
    costs: tuple[float, ...] = PROFITS
    optimum: float = INTEGER_OPTIMUM
    required: bool = True


@dataclass(frozen=True)
class Finding:
    """What became of a check.

    Args:
        name: of the check.
        required: of the check.
        answers: whether the right optimum came back.
        seconds: one solve, the best of five; None where none came back.
        problem: what went wrong; empty where nothing did.
    """

    name: str
    required: bool
    answers: bool
    seconds: float | None
    problem: str


def find(check: Check) -> Finding:
    """Run one check; nothing that goes wrong in it escapes."""
    try:
        return _measure(check)
    except Exception as error:  # noqa: BLE001  # a broken installation fails in any way it likes
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Finding(check.name, check.required, False, None, problem)


def _measure(check: Check) -> Finding:
    solver = check.make()
    costs = np.array([check.costs])
    found = float(solver.solve(costs).objectives[0])
    if abs(found - check.optimum) > _TOLERANCE:
        problem = f"it finds {found:.9g} where the optimum is {check.optimum:.9g}"
        return Finding(check.name, check.required, False, None, problem)
    return Finding(
        check.name, check.required, True, min(_seconds(solver, costs) for _ in range(_REPEATS)), ""
    )


def _seconds(solver: Solver, costs: FloatArray) -> float:
    began = time.perf_counter()
    solver.solve(costs)
    return time.perf_counter() - began


def _highs() -> Solver:
    from imle_opt_solvers.engines.highs import HighsSolver

    count = len(PROFITS)
    return HighsSolver(
        LinearModel(
            sense=Sense.MAX,
            row_starts=np.array([0, count], dtype=np.int64),
            row_columns=np.arange(count, dtype=np.int64),
            row_values=np.array(WEIGHTS),
            row_lower=np.array([-np.inf]),
            row_upper=np.array([CAPACITY]),
            column_lower=np.zeros(count),
            column_upper=np.ones(count),
            integrality=np.ones(count, dtype=np.bool_),
            fixed_costs=np.zeros(count),
            offset=0.0,
            predicted=Selection(np.arange(count, dtype=np.int64), (count,)),
            column_names=("a", "b", "c"),
            row_names=("weight",),
        )
    )


def _pulp() -> Solver:
    import pulp

    problem = pulp.LpProblem("knapsack", pulp.LpMaximize)
    # PuLP 4 has the first only, PuLP before 3.3 the second.
    add: Any = getattr(problem, "add_variable", pulp.LpVariable)
    items = [add(name, cat="Binary") for name in "abc"]
    problem += pulp.lpDot(PROFITS, items)
    problem += pulp.lpDot(WEIGHTS, items) <= CAPACITY
    return wrap(problem, items, engine="native")


def _pywraplp(name: str, *, integer: bool = True) -> Solver:
    from ortools.linear_solver import pywraplp

    model: Any = pywraplp.Solver.CreateSolver(name)
    if model is None:
        raise ModelError(f"this build of OR-Tools has no {name}")
    items = [model.BoolVar(each) if integer else model.NumVar(0, 1, each) for each in "abc"]
    model.Add(sum(weight * item for weight, item in zip(WEIGHTS, items, strict=True)) <= CAPACITY)
    model.Maximize(sum(profit * item for profit, item in zip(PROFITS, items, strict=True)))
    return wrap(model, items, engine="native")


def _model_builder() -> Solver:
    from ortools.linear_solver.python import model_builder

    model: Any = model_builder.Model()
    items = [model.new_bool_var(name) for name in "abc"]
    model.add(sum(weight * item for weight, item in zip(WEIGHTS, items, strict=True)) <= CAPACITY)
    model.maximize(sum(profit * item for profit, item in zip(PROFITS, items, strict=True)))
    return wrap(model, items, engine="native")


def _mathopt() -> Solver:
    from ortools.math_opt.python import mathopt

    model: Any = mathopt.Model()
    items = [model.add_binary_variable(name=name) for name in "abc"]
    model.add_linear_constraint(
        sum(weight * item for weight, item in zip(WEIGHTS, items, strict=True)) <= CAPACITY
    )
    model.maximize(sum(profit * item for profit, item in zip(PROFITS, items, strict=True)))
    return wrap(model, items, engine="native")


def _cp_sat() -> Solver:
    from ortools.sat.python import cp_model

    model: Any = cp_model.CpModel()
    items = [model.new_bool_var(name) for name in "abc"]
    model.add(sum(int(weight) * item for weight, item in zip(WEIGHTS, items, strict=True)) <= int(CAPACITY))
    model.maximize(sum(int(profit) * item for profit, item in zip(PROFITS, items, strict=True)))
    return wrap(model, items, engine="native")


def _cvxpy() -> Solver:
    import cvxpy as cp

    profits = cp.Parameter(len(PROFITS))
    amounts = cp.Variable(len(PROFITS), bounds=[0, 1])
    problem = cp.Problem(cp.Maximize(profits @ amounts), [np.array(WEIGHTS) @ amounts <= CAPACITY])
    return wrap(problem, engine="native")


def _path(engine: Literal["kernel", "native"]) -> Solver:
    return ShortestPath(np.array(EDGES), 0, 3, directed=False, engine=engine)


def _tree(engine: Literal["kernel", "native"]) -> Solver:
    return SpanningTree(np.array(EDGES), engine=engine)


CHECKS = (
    Check("HiGHS", _highs),
    Check("kernels: shortest path", lambda: _path("kernel"), LENGTHS, PATH_OPTIMUM),
    Check("kernels: spanning tree", lambda: _tree("kernel"), LENGTHS, TREE_OPTIMUM),
    Check("NetworkX: shortest path", lambda: _path("native"), LENGTHS, PATH_OPTIMUM),
    Check("NetworkX: spanning tree", lambda: _tree("native"), LENGTHS, TREE_OPTIMUM),
    Check("OR-Tools CP-SAT", _cp_sat),
    Check("OR-Tools MathOpt", _mathopt),
    Check("OR-Tools model_builder", _model_builder),
    Check("OR-Tools pywraplp SCIP", lambda: _pywraplp("SCIP")),
    Check("OR-Tools pywraplp CBC", lambda: _pywraplp("CBC"), required=False),
    Check("OR-Tools pywraplp SAT", lambda: _pywraplp("SAT"), required=False),
    Check(
        "OR-Tools pywraplp GLOP",
        lambda: _pywraplp("GLOP", integer=False),
        optimum=RELAXED_OPTIMUM,
        required=False,
    ),
    Check("OR-Tools pywraplp HiGHS", lambda: _pywraplp("HIGHS"), required=False),
    Check("cvxpy CLARABEL", _cvxpy, optimum=RELAXED_OPTIMUM),
    Check("PuLP CBC", _pulp),
)
"""Required are those that a default choice falls on, one per package at least.

PuLP comes last: imported before OR-Tools 9.15, it makes the HiGHS of OR-Tools bind to highspy's, and fail.
"""
