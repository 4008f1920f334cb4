"""Rows of the conformance matrix for PuLP models, on HiGHS and on CBC."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pulp

import linear_models as models
from imle_opt_solvers import Limits, wrap
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.testing import InstanceCase, SolverCase
from oracles import optimum_of


def problem_of(model):
    """Write a `LinearModel` with PuLP, and return it with the predicted variables.

    The order of the names is not the order of the variables (x_9 after x_10), and neither is the order of the
    terms.
    """
    problem = pulp.LpProblem("model", pulp.LpMaximize if model.sense == "max" else pulp.LpMinimize)
    variables = [
        problem.add_variable(
            f"x_{11 - column}",
            bound(model.column_lower[column]),
            bound(model.column_upper[column]),
            pulp.LpInteger if model.integrality[column] else pulp.LpContinuous,
        )
        for column in range(model.num_columns)
    ]
    costs = model.total_costs(np.full(len(model.predicted.columns), 0.5))
    backwards = reversed(range(model.num_columns))
    problem += pulp.lpSum(costs[column] * variables[column] for column in backwards) + model.offset
    for row in range(model.num_rows):
        entries = slice(model.row_starts[row], model.row_starts[row + 1])
        pairs = zip(model.row_columns[entries], model.row_values[entries], strict=True)
        left = pulp.lpSum(value * variables[column] for column, value in pairs)
        add_row(problem, left, model.row_lower[row], model.row_upper[row], model.row_names[row])
    shaped = np.array(variables, dtype=object)[model.predicted.columns].reshape(model.predicted.shape)
    return problem, shaped.tolist()


def bound(value):
    return float(value) if np.isfinite(value) else None


def add_row(problem, left, lower, upper, name):
    if lower == upper:
        problem += left == lower, name
        return
    if np.isfinite(upper):
        problem += left + 1 <= upper + 1, name  # a constant on the left belongs to the right
    if np.isfinite(lower):
        problem += left >= lower, f"{name}_lower"


def state(problem):
    """Everything that solving with PuLP would change."""
    return (
        [(str(v), c) for v, c in problem.objective.items()],
        problem.objective.constant,
        [
            (c.name, c.sense, c.constant, [(str(v), k) for v, k in c.items()], c.pi)
            for c in problem.constraints()
        ],
        [(v.name, v.lowBound, v.upBound, v.cat, v.varValue) for v in problem._variables],
        (problem.sense, problem.status, problem.sol_status, problem.solver),
    )


def watched(engine):
    problem, variables = problem_of(models.facility_location())
    return wrap(problem, variables, engine=engine), lambda: state(problem)


def normal(shape):
    return lambda rng, rows: rng.normal(size=(rows, *shape))


def hard_knapsack():
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(5, 60))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(60))
    return model, rng.uniform(20, 90, 60)


def limited(engine):
    model, costs = hard_knapsack()
    problem, variables = problem_of(model)
    return wrap(problem, variables, engine=engine, limits=Limits(seconds=1e-3)), costs


def unbounded(engine):
    model = models.knapsack()
    model = replace(model, column_upper=np.full(6, np.inf), row_upper=np.full(2, np.inf))
    return solver_of(model, engine), np.arange(1.0, 7.0)


def infeasible(engine):
    return solver_of(replace(models.knapsack(), row_upper=np.array([9.0, -1.0])), engine)


def solver_of(model, engine):
    problem, variables = problem_of(model)
    return wrap(problem, variables, engine=engine)


def capacities(rows):
    optima = tuple(enumerate_linear_model(models.knapsack(tuple(row))).optimum for row in rows)
    return InstanceCase(
        {"rhs": {"r0": np.array(rows)[:, 0], "r1": np.array(rows)[:, 1].astype(float)}}, optima
    )


def case(name, build, engine, **more):
    return SolverCase(
        name=f"pulp-{engine}-{name}",
        make_solver=lambda: solver_of(build(), engine),
        optimum=optimum_of(build),
        draw_costs=normal(build().predicted.shape),
        **more,
    )


def cases_of(engine):
    other = "native" if engine == "highs" else "highs"
    return (
        case(
            "knapsack",
            models.knapsack,
            engine,
            infeasible=lambda: infeasible(engine),
            unbounded=lambda: unbounded(engine),
            limited=lambda: limited(engine),
            instance_case=capacities([(9, 7), (5, 3), (0, 0), (19, 15)]),
            rival=lambda: solver_of(models.knapsack(), other),
        ),
        case("assignment", models.assignment, engine),
        case("polygon", models.polygon, engine, rival=lambda: solver_of(models.polygon(), other)),
        case("facility-location", models.facility_location, engine, watch=lambda: watched(engine)),
    )


CASES = (*cases_of("highs"), *cases_of("native"))
