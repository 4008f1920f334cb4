"""The same linear model as an object of each package, and the loop that its user would write.

Each function takes a `LinearModel` and returns a loop: costs (rows, m) in the model's own sense to objectives
(rows,). Every loop builds its model once, and asks for no gap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pulp
from benchmarks.compare.timing import FloatArray
from benchmarks.linear_models import expert
from numpy.typing import NDArray
from ortools.linear_solver import pywraplp
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from imle_opt_solvers import LinearModel
from imle_opt_solvers.solution import Sense

IntArray = NDArray[np.int64]
Loop = Callable[[FloatArray], FloatArray]


def sparse_matrix(model: LinearModel) -> csr_array:
    shape = (model.num_rows, model.num_columns)
    return csr_array((model.row_values, model.row_columns, model.row_starts), shape=shape)


def pulp_model(model: LinearModel) -> tuple[pulp.LpProblem, list[Any], Any]:
    """Return the problem, its predicted variables, and the fixed part of its objective."""
    problem = pulp.LpProblem("benchmark", pulp.LpMaximize if model.sense is Sense.MAX else pulp.LpMinimize)
    kinds = np.where(model.integrality, "Integer", "Continuous").tolist()
    variables = [
        problem.add_variable(name, 0, 1, kind) for name, kind in zip(model.column_names, kinds, strict=True)
    ]
    fixed = pulp.lpSum(cost * variables[j] for j, cost in enumerate(model.fixed_costs.tolist()) if cost)
    predicted = [variables[j] for j in model.predicted.columns.tolist()]
    problem += fixed + pulp.lpSum(predicted)
    for row in range(model.num_rows):
        part = slice(model.row_starts[row], model.row_starts[row + 1])
        pairs = zip(model.row_values[part].tolist(), model.row_columns[part].tolist(), strict=True)
        terms = pulp.lpSum(value * variables[j] for value, j in pairs)
        lower, upper = float(model.row_lower[row]), float(model.row_upper[row])
        if lower == upper:
            problem += terms == lower
        elif np.isfinite(lower):
            problem += terms >= lower
        else:
            problem += terms <= upper
    return problem, predicted, fixed


def pulp_cbc(model: LinearModel) -> Loop:
    """PuLP's own CBC, which it runs as a program of its own on a file."""
    problem, predicted, fixed = pulp_model(model)
    solver = pulp.PULP_CBC_CMD(msg=False, threads=1)

    def solve(costs: FloatArray) -> FloatArray:
        objectives = np.empty(len(costs))
        for row, each in enumerate(costs.tolist()):
            problem.setObjective(fixed + pulp.LpAffineExpression(zip(predicted, each, strict=True)))
            problem.solve(solver)
            objectives[row] = pulp.value(problem.objective)
        return objectives

    return solve


def pywraplp_model(model: LinearModel, name: str) -> tuple[pywraplp.Solver, list[Any]]:
    """Return OR-Tools' object with the fixed costs set, and its predicted variables."""
    solver = pywraplp.Solver.CreateSolver(name)
    variables = [
        (solver.BoolVar if integer else lambda label: solver.NumVar(0, 1, label))(label)
        for label, integer in zip(model.column_names, model.integrality.tolist(), strict=True)
    ]
    for row in range(model.num_rows):
        constraint = solver.Constraint(float(model.row_lower[row]), float(model.row_upper[row]))
        for place in range(model.row_starts[row], model.row_starts[row + 1]):
            constraint.SetCoefficient(variables[model.row_columns[place]], float(model.row_values[place]))
    for variable, cost in zip(variables, model.fixed_costs.tolist(), strict=True):
        solver.Objective().SetCoefficient(variable, cost)
    solver.Objective().SetOptimizationDirection(model.sense is Sense.MAX)
    return solver, [variables[j] for j in model.predicted.columns.tolist()]


def pywraplp_loop(model: LinearModel) -> Loop:
    """GLOP for linear programs, SCIP for the others."""
    solver, predicted = pywraplp_model(model, ortools_solver(model).upper())
    objective = solver.Objective()

    def solve(costs: FloatArray) -> FloatArray:
        objectives = np.empty(len(costs))
        for row, each in enumerate(costs.tolist()):
            for variable, cost in zip(predicted, each, strict=True):
                objective.SetCoefficient(variable, cost)
            solver.Solve()
            _ = [variable.solution_value() for variable in predicted]
            objectives[row] = objective.Value()
        return objectives

    return solve


def ortools_solver(model: LinearModel) -> str:
    return "scip" if model.is_mixed_integer else "glop"


def cvxpy_loop(model: LinearModel) -> Loop:
    """A problem with the costs as its parameter, on HiGHS."""
    matrix = sparse_matrix(model)
    x = cp.Variable(model.num_columns, bounds=[0, 1], integer=_whole(model))
    parameter = cp.Parameter(len(model.predicted.columns))
    total = model.fixed_costs @ x + parameter @ x[model.predicted.columns]
    finite = [np.isfinite(side) for side in (model.row_lower, model.row_upper)]
    constraints = []
    if finite[0].any():
        constraints.append(matrix[finite[0]] @ x >= model.row_lower[finite[0]])
    if finite[1].any():
        constraints.append(matrix[finite[1]] @ x <= model.row_upper[finite[1]])
    problem = cp.Problem(cp.Maximize(total) if model.sense is Sense.MAX else cp.Minimize(total), constraints)
    options = {"mip_rel_gap": 0.0, "threads": 1}

    def solve(costs: FloatArray) -> FloatArray:
        objectives = np.empty(len(costs))
        for row, each in enumerate(costs):
            parameter.value = each
            problem.solve(solver=cp.HIGHS, highs_options=options)
            objectives[row] = problem.value
        return objectives

    return solve


def _whole(model: LinearModel) -> bool | list[IntArray]:
    """Return what cvxpy's `integer=` takes: all, none, or the indices along each axis."""
    if model.integrality.all() or not model.integrality.any():
        return bool(model.integrality.all())
    return [np.flatnonzero(model.integrality)]


def scipy_loop(model: LinearModel) -> Loop:
    """`scipy.optimize.milp`, which takes linear programs as well."""
    constraints = LinearConstraint(sparse_matrix(model), model.row_lower, model.row_upper)
    sign = -1.0 if model.sense is Sense.MAX else 1.0
    costs_of_all = model.fixed_costs.copy()
    integrality, bounds = model.integrality.astype(int), Bounds(0, 1)

    def solve(costs: FloatArray) -> FloatArray:
        objectives = np.empty(len(costs))
        for row, each in enumerate(costs):
            costs_of_all[model.predicted.columns] = each
            answer = milp(
                sign * costs_of_all,
                constraints=constraints,
                integrality=integrality,
                bounds=bounds,
                options={"mip_rel_gap": 0.0},
            )
            objectives[row] = sign * answer.fun
        return objectives

    return solve


def highspy_loop(model: LinearModel) -> Loop:
    """HiGHS by hand, as an expert would write it; returns what the predicted variables cost."""
    solve_theta = expert(model)

    def solve(costs: FloatArray) -> FloatArray:
        return np.einsum("rm,rm->r", costs, solve_theta(model.sense.sign * costs))

    return solve
