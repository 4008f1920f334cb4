"""The problems of the experiments in PuLP, for the loss that learns from their constraints."""

from __future__ import annotations

import numpy as np
import pulp

from imle_opt import Knapsack, ShortestPath, Solver, wrap


def linear_program(solver: Solver) -> Solver:
    """Return the wrapped PuLP model of what a compiled solver decides: items to take, or edges of a path."""
    if isinstance(solver, Knapsack):
        problem = pulp.LpProblem("knapsack", pulp.LpMaximize)
        columns = [pulp.LpVariable(f"take_{item}", cat="Binary") for item in range(*solver.shape)]
        problem += pulp.lpSum(columns)
        for weights, capacity in zip(
            np.atleast_2d(solver.weights), np.atleast_1d(solver.capacity), strict=True
        ):
            problem += pulp.lpDot(weights.tolist(), columns) <= float(capacity)
        return wrap(problem, variables=columns)
    if not isinstance(solver, ShortestPath):
        raise TypeError(f"a knapsack or shortest paths, not {type(solver).__name__}")
    problem = pulp.LpProblem("path", pulp.LpMinimize)
    columns = [pulp.LpVariable(f"use_{edge}", 0, 1) for edge in range(*solver.shape)]
    problem += pulp.lpSum(columns)
    for node, cell in enumerate(solver.graph.nodes):
        outward = pulp.lpSum(columns[edge] for edge in np.flatnonzero(solver.graph.tails == node))
        inward = pulp.lpSum(columns[edge] for edge in np.flatnonzero(solver.graph.heads == node))
        problem += outward - inward == (cell == solver.source) - (cell == solver.target)
    return wrap(problem, variables=columns)
