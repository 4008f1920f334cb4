"""Rows of the conformance matrix for selections, rankings, assignments and knapsacks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

import linear_models as models
from imle_opt_solvers.assignment import Assignment
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.knapsack import Knapsack
from imle_opt_solvers.ranking import Ranking
from imle_opt_solvers.reference import Enumeration, enumerate_linear_model
from imle_opt_solvers.solution import Limits, Sense
from imle_opt_solvers.structured_solver import linear_solver
from imle_opt_solvers.testing import InstanceCase, SolverCase
from imle_opt_solvers.top_k import OneHot, TopK

WEIGHTS = np.array([[3, 4, 2, 5, 1, 4, 0], [2, 1, 5, 3, 2, 2, 1]])
REAL_WEIGHTS = np.array([3.14, 0.1, 0.2, 2.72, 1.41, 0.58])


def enumeration(decisions, sense):
    decisions = np.array(list(decisions), dtype=float)
    return Enumeration(decisions, np.zeros(len(decisions)), Sense(sense))


def binary(size):
    return np.array(list(itertools.product((0.0, 1.0), repeat=size)))


def subsets(size, k):
    return [row for row in binary(size) if row.sum() == k]


def pairings(n, m):
    for columns in itertools.permutations(range(m), n):
        decision = np.zeros((n, m))
        decision[range(n), columns] = 1
        yield decision


def packings(weights, capacity):
    points = binary(weights.shape[-1])
    fits = points @ np.atleast_2d(weights).T <= np.asarray(capacity) * (1 + 1e-9)
    return points[fits.all(axis=1)]


def case(name, make, decisions, sense, **more):
    oracle = enumeration(decisions, sense)
    shape = oracle.decisions.shape[1:]
    return SolverCase(
        name=name,
        make_solver=make,
        optimum=oracle.optimum,
        feasible=oracle.contains,
        draw_costs=lambda rng, rows: rng.normal(size=(rows, *shape)),
        **more,
    )


def capacities(weights, rows):
    optima = tuple(enumeration(packings(weights, row), "max").optimum for row in rows)
    return InstanceCase({"capacity": np.array(rows, dtype=float)}, optima)


def hard_knapsack():
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(4, 80))
    solver = Knapsack(weights, weights.sum(1) // 3, limits=Limits(seconds=1e-4))
    return solver, rng.uniform(20, 90, 80)


def crossroads():
    """A network of continuous arcs: an edge both ways between two of its nodes, and a fixed cost."""
    arcs = [(0, 1), (0, 2), (1, 2), (2, 1), (1, 3), (2, 3), (0, 3)]
    matrix = np.zeros((4, 7))
    for arc, (tail, head) in enumerate(arcs):
        matrix[tail, arc], matrix[head, arc] = 1, -1
    sides = [1, 0, 0, -1]
    fixed = [0, 0.25, 0, 0, 0, 0, 0]
    return models.linear_model(
        "min", matrix, sides, sides, 0, 1, False, predicted=[6, 0, 2, 3, 4, 5], fixed_costs=fixed, offset=0.5
    )


def closures():
    """Arc (0, 3) closed; arcs (1, 3) closed and the source moved to node 1; nothing changed."""
    upper = np.ones((3, 7))
    upper[0, 6] = upper[1, 4] = 0
    sides = np.array([[1.0, 0, 0, -1], [0, 1, 0, -1], [1, 0, 0, -1]])
    optima = [
        enumerate_linear_model(replace(crossroads(), column_upper=bounds, row_lower=side, row_upper=side))
        for bounds, side in zip(upper, sides, strict=True)
    ]
    return InstanceCase({"column_upper": upper, "rhs": sides}, tuple(oracle.optimum for oracle in optima))


def structured(name, build, **more):
    oracle = enumerate_linear_model(build())
    return SolverCase(
        name=f"structured-{name}",
        make_solver=lambda: linear_solver(build(), None, "raise"),
        optimum=oracle.optimum,
        draw_costs=lambda rng, rows: rng.normal(size=(rows, *oracle.decisions.shape[1:])),
        rival=lambda: HighsSolver(build()),
        **more,
    )


def rhs(rows):
    optima = tuple(enumerate_linear_model(models.knapsack(tuple(row))).optimum for row in rows)
    return InstanceCase({"rhs": np.array(rows, dtype=float)}, optima)


CASES = (
    case("top-k", lambda: TopK(6, 2), subsets(6, 2), "max"),
    case("top-k-min", lambda: TopK((5,), 4, sense="min"), subsets(5, 4), "min"),
    case("one-hot", lambda: OneHot((2, 3)), np.eye(6).reshape(6, 2, 3), "max"),
    case("ranking", lambda: Ranking(5), itertools.permutations(range(1, 6)), "min"),
    case("ranking-max", lambda: Ranking(4, sense="max"), itertools.permutations(range(1, 5)), "max"),
    case("assignment", lambda: Assignment(4), pairings(4, 4), "min"),
    case("assignment-wide", lambda: Assignment(3, 5, sense="max"), pairings(3, 5), "max"),
    case(
        "knapsack",
        lambda: Knapsack(WEIGHTS, (9, 7), limits=Limits()),
        packings(WEIGHTS, (9, 7)),
        "max",
        rival=lambda: Knapsack(WEIGHTS, (9, 7), engine="highs"),
        instance_case=capacities(WEIGHTS, [(9, 7), (5, 3), (0, 0), (19, 15)]),
        limited=hard_knapsack,
    ),
    case(
        "knapsack-real",
        lambda: Knapsack(REAL_WEIGHTS, 3.44, sense="min"),
        packings(REAL_WEIGHTS, 3.44),
        "min",
        rival=lambda: Knapsack(REAL_WEIGHTS, [3.44], sense="min", engine="highs"),
    ),
    structured(
        "knapsack",
        models.knapsack,
        infeasible=lambda: linear_solver(
            replace(models.knapsack(), row_upper=np.array([-1.0, 7.0])), None, "raise"
        ),
        instance_case=rhs([(9, 7), (5, 3), (0, 0), (19, 15)]),
    ),
    structured("assignment", models.assignment),
    structured("network", crossroads, instance_case=closures()),
)
