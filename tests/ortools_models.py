"""One `LinearModel` written in each of OR-Tools' four modelling interfaces, the way a user would write it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ortools.linear_solver import linear_solver_pb2, pywraplp
from ortools.linear_solver.python import model_builder
from ortools.math_opt.python import mathopt
from ortools.sat.python import cp_model

import linear_models as models
from imle_opt_solvers.solution import Sense

OWN_COSTS = 0.5
"""What the users' models carry as costs of the predicted variables before they are wrapped."""


def terms(model, row, variables):
    entries = slice(model.row_starts[row], model.row_starts[row + 1])
    return [
        (variables[column], value)
        for column, value in zip(model.row_columns[entries], model.row_values[entries].tolist(), strict=True)
    ]


def own_objective(model):
    objective = model.fixed_costs.copy()
    objective[model.predicted.columns] = OWN_COSTS
    return objective


def predicted(model, variables):
    chosen = np.empty(len(model.predicted.columns), dtype=object)
    chosen[:] = [variables[column] for column in model.predicted.columns]
    return chosen.reshape(model.predicted.shape)


def pywraplp_model(model, solver="SCIP"):
    mp = pywraplp.Solver.CreateSolver(solver)
    variables: list[Any] = [
        mp.Var(model.column_lower[i], model.column_upper[i], bool(model.integrality[i]), name)
        for i, name in enumerate(model.column_names)
    ]
    for row, name in enumerate(model.row_names):
        constraint = mp.Constraint(model.row_lower[row], model.row_upper[row], name)
        for variable, value in terms(model, row, variables):
            constraint.SetCoefficient(variable, value)
    objective = mp.Objective()
    for variable, cost in zip(variables, own_objective(model).tolist(), strict=True):
        objective.SetCoefficient(variable, cost)
    objective.SetOffset(model.offset)
    objective.SetOptimizationDirection(model.sense is Sense.MAX)
    return mp, predicted(model, variables)


def pywraplp_state(mp):
    proto = linear_solver_pb2.MPModelProto()
    mp.ExportModelToProto(proto)
    return proto.SerializeToString()


def model_builder_model(model):
    built = model_builder.Model()
    variables = [
        built.new_var(model.column_lower[i], model.column_upper[i], bool(model.integrality[i]), name)
        for i, name in enumerate(model.column_names)
    ]
    for row, name in enumerate(model.row_names):
        expression = sum(value * variable for variable, value in terms(model, row, variables))
        built.add_linear_constraint(expression, model.row_lower[row], model.row_upper[row], name)
    costs = own_objective(model).tolist()
    objective = sum((c * v for c, v in zip(costs, variables, strict=True) if c), start=model.offset)
    built.maximize(objective) if model.sense is Sense.MAX else built.minimize(objective)
    return built, predicted(model, variables)


def model_builder_state(built):
    return built.export_to_proto().SerializeToString()


def mathopt_model(model):
    """Build it with a variable and a constraint that are deleted again: ids are then not dense."""
    built = mathopt.Model(name="tested")
    doomed = built.add_binary_variable(name="doomed")
    doomed_row = built.add_linear_constraint(doomed <= 0, name="doomed row")
    variables = [
        built.add_variable(
            lb=model.column_lower[i],
            ub=model.column_upper[i],
            is_integer=bool(model.integrality[i]),
            name=name,
        )
        for i, name in enumerate(model.column_names)
    ]
    for row, name in enumerate(model.row_names):
        expression = sum(value * variable for variable, value in terms(model, row, variables))
        built.add_linear_constraint(
            lb=model.row_lower[row], ub=model.row_upper[row], expr=expression, name=name
        )
    built.delete_linear_constraint(doomed_row)
    built.delete_variable(doomed)
    costs = own_objective(model).tolist()
    objective = sum((c * v for c, v in zip(costs, variables, strict=True)), start=model.offset)
    built.set_linear_objective(objective, is_maximize=model.sense is Sense.MAX)
    return built, predicted(model, variables)


def mathopt_state(built):
    return built.export_model().SerializeToString(deterministic=True)


def cp_sat_model(model):
    built = cp_model.CpModel()
    variables = [
        built.new_int_var(int(model.column_lower[i]), int(model.column_upper[i]), name)
        for i, name in enumerate(model.column_names)
    ]
    for row, name in enumerate(model.row_names):
        expression = sum(int(value) * variable for variable, value in terms(model, row, variables))
        lower, upper = model.row_lower[row], model.row_upper[row]
        built.add_linear_constraint(
            expression,
            cp_model.INT_MIN if lower == -np.inf else int(lower),
            cp_model.INT_MAX if upper == np.inf else int(upper),
        ).with_name(name)
    objective = cp_model.LinearExpr.weighted_sum(variables, own_objective(model).tolist()) + model.offset
    built.maximize(objective) if model.sense is Sense.MAX else built.minimize(objective)
    return built, predicted(model, variables)


def cp_sat_state(built):
    return str(built.proto)


def integral(model):
    """Return the model with every variable integer."""
    return replace(model, integrality=np.ones(model.num_columns, dtype=bool))


def hard_knapsack():
    """A knapsack that no one proves optimal within a millisecond, and costs for it."""
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(5, 60))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(60))
    return model, rng.uniform(20, 90, 60)
