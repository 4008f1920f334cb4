"""Rows of the conformance matrix for `HighsSolver` on plain arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import linear_models as models
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.solution import Limits
from imle_opt_solvers.testing import InstanceCase, SolverCase
from oracles import optimum_of


def normal(shape):
    return lambda rng, rows: rng.normal(size=(rows, *shape))


def hard_knapsack():
    """A knapsack that no one proves optimal within a microsecond."""
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(5, 60))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(60))
    return HighsSolver(model, limits=Limits(seconds=1e-4)), rng.uniform(20, 90, 60)


def unbounded():
    model = replace(models.polygon(), column_upper=np.full(4, np.inf), row_upper=np.full(3, np.inf))
    return HighsSolver(model), np.array([-1.0, -2.0, -1.0])


def unbounded_integers():
    model = models.knapsack()
    model = replace(model, column_upper=np.full(6, np.inf), row_upper=np.full(2, np.inf))
    return HighsSolver(model), np.arange(1.0, 7.0)


def case(name, build, **more):
    return SolverCase(
        name=f"highs-{name}",
        make_solver=lambda: HighsSolver(build()),
        optimum=optimum_of(build),
        draw_costs=normal(build().predicted.shape),
        **more,
    )


def capacities(rows):
    optima = tuple(enumerate_linear_model(models.knapsack(tuple(row))).optimum for row in rows)
    return InstanceCase({"rhs": np.array(rows, dtype=float)}, optima)


CASES = (
    case(
        "knapsack",
        models.knapsack,
        feasible=enumerate_linear_model(models.knapsack()).contains,
        infeasible=lambda: HighsSolver(replace(models.knapsack(), row_upper=np.array([-1.0, 7.0]))),
        unbounded=unbounded_integers,
        limited=hard_knapsack,
        instance_case=capacities([(9, 7), (5, 3), (0, 0), (19, 15)]),
    ),
    case("assignment", models.assignment, feasible=enumerate_linear_model(models.assignment()).contains),
    case(
        "polygon",
        models.polygon,
        infeasible=lambda: HighsSolver(
            replace(
                models.polygon(),
                row_lower=np.array([50.0, -np.inf, 4.0]),
                row_upper=np.array([60.0, 5.0, 4.0]),
            )
        ),
        unbounded=unbounded,
    ),
    case("facility-location", models.facility_location),
)
