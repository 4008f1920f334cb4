"""Rows of the conformance matrix for cvxpy problems: linear ones on both engines, conic ones natively."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np

import linear_models as models
from imle_opt_solvers import Limits, wrap
from imle_opt_solvers.testing import SolverCase
from oracles import optimum_of

COVARIANCE = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.3], [0.1, -0.3, 0.5]])


def problem_of(model):
    """Write a `LinearModel` with cvxpy: one Variable for the predicted columns, another for the rest."""
    shape, columns = model.predicted.shape, model.predicted.columns
    others = np.setdiff1d(np.arange(model.num_columns), columns)
    matrix = np.zeros((model.num_rows, model.num_columns))
    for row in range(model.num_rows):
        entries = slice(model.row_starts[row], model.row_starts[row + 1])
        matrix[row, model.row_columns[entries]] = model.row_values[entries]
    costs = cp.Parameter(shape, name="c")
    integer = np.nonzero(model.integrality[columns].reshape(shape))
    priced = cp.Variable(shape, name="x", integer=integer if integer[0].size else False)
    flat = cp.vec(priced, order="C")
    objective = cp.sum(cp.multiply(costs, priced)) + model.offset
    left = matrix[:, columns] @ flat
    constraints = [flat >= model.column_lower[columns]]
    constraints += limits(flat, np.full(len(columns), -np.inf), model.column_upper[columns])
    if others.size:
        rest = cp.Variable(others.size, integer=bool(model.integrality[others].any()), name="rest")
        objective += model.fixed_costs[others] @ rest
        left = left + matrix[:, others] @ rest
        constraints += limits(rest, model.column_lower[others], model.column_upper[others])
    constraints += limits(left, model.row_lower, model.row_upper)
    direction = cp.Maximize if model.sense == "max" else cp.Minimize
    return cp.Problem(direction(objective), constraints)


def limits(expression, lower, upper):
    """Return lower <= expression <= upper, for the finite sides."""
    sides = []
    for positions, build in (
        (np.flatnonzero(lower == upper), lambda k: expression[k] == upper[k]),
        (np.flatnonzero((lower < upper) & np.isfinite(lower)), lambda k: expression[k] >= lower[k]),
        (np.flatnonzero((lower < upper) & np.isfinite(upper)), lambda k: expression[k] <= upper[k]),
    ):
        if positions.size:
            sides.append(build(positions))
    return sides


def state(problem):
    """Everything that solving with cvxpy would change."""
    return (
        [(p.id, None if p.value is None else p.value.tolist()) for p in problem.parameters()],
        [(v.id, None if v.value is None else v.value.tolist()) for v in problem.variables()],
        (problem.status, problem.value, problem._cache.key, str(problem)),
    )


def watched(engine):
    problem = problem_of(models.facility_location())
    problem.parameters()[0].value = np.arange(6.0).reshape(2, 3)
    problem.solve(solver=cp.HIGHS)
    return wrap(problem, engine=engine), lambda: state(problem)


def normal(shape):
    return lambda rng, rows: rng.normal(size=(rows, *shape))


def case(build, engine, **more):
    model = build()
    return SolverCase(
        name=f"cvxpy-{engine}-{build.__name__}",
        make_solver=lambda: wrap(problem_of(build()), engine=engine),
        optimum=optimum_of(build),
        draw_costs=normal(model.predicted.shape),
        **more,
    )


def limited(engine):
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(5, 60))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(60))
    return wrap(problem_of(model), engine=engine, limits=Limits(seconds=1e-3)), rng.uniform(20, 90, 60)


def unbounded(engine):
    model = replace(models.polygon(), column_upper=np.full(4, np.inf), row_upper=np.full(3, np.inf))
    return wrap(problem_of(model), engine=engine), np.array([-1.0, -2.0, -1.0])


def infeasible(engine):
    sides = {"row_lower": np.array([50.0, -np.inf, 4.0]), "row_upper": np.array([60.0, 5.0, 4.0])}
    return wrap(problem_of(replace(models.polygon(), **sides)), engine=engine)


def linear_cases(engine):
    other = "native" if engine == "highs" else "highs"
    return (
        case(
            models.polygon,
            engine,
            infeasible=lambda: infeasible(engine),
            unbounded=lambda: unbounded(engine),
        ),
        case(models.knapsack, engine, limited=lambda: limited(engine)),
        case(models.assignment, engine, rival=lambda: wrap(problem_of(models.assignment()), engine=other)),
        case(models.facility_location, engine, watch=lambda: watched(engine)),
    )


def ellipsoid(*constraints, sense="max"):
    """A portfolio: the best return at a variance of at most 1."""
    costs, weights = cp.Parameter(3, name="returns"), cp.Variable(3, name="weights")
    objective = costs @ weights + 0.75
    direction = cp.Maximize(objective) if sense == "max" else cp.Minimize(objective)
    return cp.Problem(
        direction, [cp.quad_form(weights, COVARIANCE) <= 1, *(build(weights) for build in constraints)]
    )


def ellipsoid_optimum(costs):
    """max <c, x> subject to x' S x <= 1 is sqrt(c' S^-1 c)."""
    return 0.75 + np.sqrt(costs @ np.linalg.solve(COVARIANCE, costs))


def halfspace():
    """A cone that its costs can leave: |(x_0, x_1)| <= 1, and nothing bounds x_2."""
    costs, x = cp.Parameter(3), cp.Variable(3)
    return wrap(cp.Problem(cp.Minimize(costs @ x), [cp.norm(x[:2]) <= 1])), np.array([1.0, 1.0, 0.5])


def projection():
    """min <c, x> + |x|^2 / 2 over the probability simplex: the point of the simplex that is nearest to -c."""
    costs, x = cp.Parameter((2, 2)), cp.Variable((2, 2), name="x")
    objective = cp.trace(costs.T @ x) + cp.sum_squares(x) / 2
    return wrap(cp.Problem(cp.Minimize(objective), [x >= 0, cp.sum(x) == 1]))


def projection_optimum(costs):
    target = -np.ravel(costs)
    descending = np.sort(target)[::-1]
    shifts = (np.cumsum(descending) - 1) / np.arange(1, len(target) + 1)
    x = np.maximum(target - shifts[np.flatnonzero(descending > shifts)[-1]], 0)
    return float(np.ravel(costs) @ x + x @ x / 2)


CONIC = (
    SolverCase(
        name="cvxpy-native-ellipsoid",
        make_solver=lambda: wrap(ellipsoid()),
        optimum=ellipsoid_optimum,
        draw_costs=normal((3,)),
        feasible=lambda x: x @ COVARIANCE @ x <= 1 + 1e-7,
        infeasible=lambda: wrap(ellipsoid(lambda x: x[0] >= 5)),
        unbounded=halfspace,
    ),
    SolverCase(
        name="cvxpy-native-ellipsoid-min",
        make_solver=lambda: wrap(ellipsoid(sense="min")),
        optimum=lambda costs: 1.5 - ellipsoid_optimum(costs),
        draw_costs=normal((3,)),
    ),
    SolverCase(
        name="cvxpy-native-projection",
        make_solver=projection,
        optimum=projection_optimum,
        draw_costs=normal((2, 2)),
        feasible=lambda x: abs(x.sum() - 1) < 1e-7 and x.min() > -1e-7,
    ),
)

CASES = (*linear_cases("highs"), *linear_cases("native"), *CONIC)
