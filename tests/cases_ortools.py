"""Rows of the conformance matrix for OR-Tools' four modelling interfaces, native solvers and HiGHS."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

import linear_models as models
import ortools_models as built
from imle_opt_solvers.adapters import cp_sat, mathopt, model_builder, pywraplp
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.solution import Limits
from imle_opt_solvers.testing import SolverCase

MODELS = {
    "knapsack": models.knapsack,
    "assignment": models.assignment,
    "polygon": models.polygon,
    "facility-location": models.facility_location,
    "integer-polygon": lambda: built.integral(models.polygon()),
    "integer-facility-location": lambda: built.integral(models.facility_location()),
}
NATIVE = {
    "pywraplp": (pywraplp.PywraplpSolver, pywraplp.read, built.pywraplp_model, built.pywraplp_state),
    "model-builder": (
        model_builder.ModelBuilderSolver,
        model_builder.read,
        built.model_builder_model,
        built.model_builder_state,
    ),
    "mathopt": (mathopt.MathOptSolver, mathopt.read, built.mathopt_model, built.mathopt_state),
    "cp-sat": (cp_sat.CpSatSolver, cp_sat.read, built.cp_sat_model, built.cp_sat_state),
}


@cache
def oracle(name):
    return enumerate_linear_model(MODELS[name]())


def normal(shape):
    return lambda rng, rows: rng.normal(size=(rows, *shape))


def native(interface, model, solver=None, **more):
    wrap, _, build, _ = NATIVE[interface]
    return wrap(*build(model), solver=solver, **more)


def highs(interface, model):
    _, read, build, _ = NATIVE[interface]
    return HighsSolver(read(*build(model)))


def watch(interface, name, wrap):
    _, _, build, state = NATIVE[interface]
    model, variables = build(MODELS[name]())
    return wrap(model, variables), lambda: state(model)


def unbounded(model):
    free = np.full(model.num_columns, np.inf)
    return replace(model, column_upper=free, row_upper=np.full(model.num_rows, np.inf))


def failures(interface, name, solver):
    """Return the makers of solvers whose rows fail: infeasible, unbounded, limited."""
    if name == "polygon":
        open_ = unbounded(models.polygon())
        empty = replace(
            models.polygon(),
            row_lower=np.array([50.0, -np.inf, 4.0]),
            row_upper=np.array([60.0, 5.0, 4.0]),
        )
        return {
            "infeasible": lambda: native(interface, empty, solver),
            "unbounded": lambda: (native(interface, open_, solver), np.array([-1.0, -2.0, -1.0])),
        }
    if name != "knapsack":
        return {}
    hard, costs = built.hard_knapsack()
    empty = replace(models.knapsack(), row_upper=np.array([-1.0, 7.0]))
    makers = {
        "infeasible": lambda: native(interface, empty, solver),
        "limited": lambda: (native(interface, hard, solver, limits=Limits(seconds=1e-3)), costs),
    }
    if interface != "cp-sat":  # where every domain is finite
        open_ = unbounded(models.knapsack())
        makers["unbounded"] = lambda: (native(interface, open_, solver), np.arange(1.0, 7.0))
    return makers


def native_case(interface, name, solver=None):
    wrap, *_ = NATIVE[interface]
    enumeration = oracle(name)
    return SolverCase(
        name=f"{interface}-{solver or 'native'}-{name}",
        make_solver=lambda: native(interface, MODELS[name](), solver),
        optimum=enumeration.optimum,
        draw_costs=normal(enumeration.decisions.shape[1:]),
        feasible=None if "polygon" in name else enumeration.contains,
        watch=lambda: watch(interface, name, lambda *given: wrap(*given, solver=solver)),
        rival=lambda: highs(interface, MODELS[name]()),
        **failures(interface, name, solver),
    )


def highs_case(interface, name):
    _, read, *_ = NATIVE[interface]
    enumeration = oracle(name)
    return SolverCase(
        name=f"{interface}-highs-{name}",
        make_solver=lambda: highs(interface, MODELS[name]()),
        optimum=enumeration.optimum,
        draw_costs=normal(enumeration.decisions.shape[1:]),
        watch=lambda: watch(interface, name, lambda *given: HighsSolver(read(*given))),
        rival=lambda: native(interface, MODELS[name]()),
    )


CASES = (
    *(
        native_case(interface, name)
        for interface in ("pywraplp", "model-builder", "mathopt")
        for name in ("knapsack", "assignment", "facility-location")
    ),
    *(native_case("pywraplp", "knapsack", solver) for solver in ("cbc", "cp-sat", "highs")),
    *(native_case("pywraplp", "polygon", solver) for solver in ("glop", "clp", "highs")),
    native_case("pywraplp", "integer-facility-location", "cp-sat"),
    native_case("model-builder", "polygon"),
    *(native_case("mathopt", "knapsack", solver) for solver in ("cp-sat", "highs")),
    *(native_case("mathopt", "polygon", solver) for solver in ("glop", "highs")),
    *(
        native_case("cp-sat", name)
        for name in ("knapsack", "assignment", "integer-polygon", "integer-facility-location")
    ),
    *(
        highs_case(interface, name)
        for interface in ("pywraplp", "model-builder", "mathopt")
        for name in ("knapsack", "polygon", "facility-location")
    ),
    *(highs_case("cp-sat", name) for name in ("knapsack", "integer-polygon", "integer-facility-location")),
)
