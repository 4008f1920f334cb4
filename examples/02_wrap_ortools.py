"""An OR-Tools model, and the regret of the forecasts that feed it: no torch, no training through the solver.

Every day, each of twelve shops is supplied from one of four warehouses; opening a warehouse has a fixed cost
that is known, and the transport costs are forecast from the weather and the day's traffic. Which forecast is
the best one? The question is not how far off it is, but what the plans cost that are made from it.
"""

from __future__ import annotations

import numpy as np
from ortools.linear_solver import pywraplp
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from imle_opt.solvers import regret, wrap

WAREHOUSES, SHOPS = range(4), range(12)

model = pywraplp.Solver.CreateSolver("SCIP")
supply = [[model.BoolVar(f"supply_{w}_{s}") for s in SHOPS] for w in WAREHOUSES]
opened = [model.BoolVar(f"open_{w}") for w in WAREHOUSES]
for s in SHOPS:
    model.Add(sum(supply[w][s] for w in WAREHOUSES) == 1)
for w in WAREHOUSES:
    model.Add(sum(supply[w]) <= 6 * opened[w])
model.Minimize(sum(cost * is_open for cost, is_open in zip([8.0, 6.0, 7.0, 9.0], opened, strict=True)))

# The transport costs are predicted, (4, 12) per day; the costs of opening stay in the model, and count.
solver = wrap(model, variables=supply)
scip = wrap(model, variables=supply, engine="native")
print(f"costs of shape {solver.shape}, solved by {solver.traits.engine} and by {scip.traits.engine}")

# 260 days: six facts, and what every transport cost in the end.
rng = np.random.default_rng(0)
facts = rng.normal(size=(260, 6))
effects = rng.normal(size=(6, len(WAREHOUSES) * len(SHOPS)))
costs = np.exp(0.3 * facts @ effects + 0.1 * rng.normal(size=(260, 48))).reshape(260, 4, 12)
train, test = slice(0, 200), slice(200, 260)

# Two engines, one answer. Where optima tie, plans may differ; what they cost may not.
assert np.allclose(solver.solve(costs[test]).objectives, scip.solve(costs[test]).objectives)

print(f"\n{'forecast':<24}{'mean squared error':>20}{'normalised regret':>20}")
reports = {}
for forecast in (DummyRegressor(), LinearRegression(), RandomForestRegressor(50, random_state=0)):
    forecast.fit(facts[train], costs[train].reshape(200, 48))
    predicted = forecast.predict(facts[test]).reshape(60, 4, 12)
    report = regret.evaluate(solver, predicted, costs[test])
    name = type(forecast).__name__
    reports[name] = report
    print(f"{name:<24}{((predicted - costs[test]) ** 2).mean():>20.2f}{report.normalized_regret:>20.1%}")

assert reports["LinearRegression"].normalized_regret < 0.7 * reports["DummyRegressor"].normalized_regret
