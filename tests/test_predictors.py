"""Networks from tables to costs: where they begin, how they scale, and solvers in another unit."""

from __future__ import annotations

import numpy as np
import pulp
import pytest
import torch

from imle_opt import InvalidInputError, wrap
from imle_opt.cli import main
from imle_opt.predictors import PREDICTORS, Standardize, cost_network, start_at
from imle_opt_solvers.scaled_solver import ScaledSolver


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_new_network_predicts_the_costs_that_it_is_told_to_begin_at(kind, nonnegative):
    network = cost_network(kind, 3, (2, 2), hidden=5, nonnegative=nonnegative)
    costs = np.array([[0.01, 0.5], [3.0, 200.0]])
    start_at(network, costs)
    features = torch.randn(4, 3, dtype=torch.float64)
    np.testing.assert_allclose(
        network(features).detach().numpy(), np.broadcast_to(costs, (4, 2, 2)), rtol=1e-9
    )


def test_features_are_standardised_by_the_training_rows_and_constant_ones_vanish():
    rng = np.random.default_rng(0)
    features = np.c_[rng.normal(5, 1e-3, 50), rng.normal(0, 1e6, 50), np.full(50, 0.1)]
    standardize = Standardize(3)
    standardize.learn(features)
    scaled = standardize(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(scaled[:, :2].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1)
    elsewhere = standardize(torch.tensor([[5.0, 0.0, 7.0]], dtype=torch.float64))
    assert elsewhere[0, 2] == 0
    assert not scaled[:, 2].any()


def test_a_solver_in_another_unit_decides_beside_fixed_costs_in_the_models_own():
    model = pulp.LpProblem("choice", pulp.LpMaximize)
    chosen, fixed = (model.add_variable(name, cat="Binary") for name in ("chosen", "fixed"))
    model += chosen + 1000 * fixed
    model += chosen + fixed <= 1
    scaled = ScaledSolver(wrap(model, [chosen]), unit=500.0)
    solution = scaled.solve([[1.9], [2.1]])
    assert solution.decisions.ravel().tolist() == [0, 1]
    np.testing.assert_allclose(solution.objectives, [2.0, 2.1])


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), float("inf")])
def test_units_are_positive(unit):
    model = pulp.LpProblem("one", pulp.LpMaximize)
    model += model.add_variable("x", cat="Binary")
    with pytest.raises(InvalidInputError, match="`unit`"):
        ScaledSolver(wrap(model), unit)


@pytest.mark.parametrize("label", ["costs", "solutions"])
def test_a_fit_where_costs_must_not_be_negative(tmp_path, monkeypatch, label, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 2))
    costs = np.exp(features @ rng.normal(size=(2, 9))).reshape(80, 3, 3)
    np.save("x.npy", features)
    np.save("c.npy", costs)
    assert main(["solve", "grid-path:3x3", "--costs", "c.npy", "--out", "z.npy"]) == 0
    table = {"costs": "c.npy", "solutions": "z.npy"}[label]
    words = f"fit grid-path:3x3 --features x.npy --{label} {table} --out fitted --epochs 20"
    assert main(words.split()) == 0
    assert main(["predict", "fitted", "--features", "x.npy", "--out", "p.npy"]) == 0
    assert (np.load("p.npy") >= 0).all()
    capsys.readouterr()
    tables = ["--predicted", "p.npy", "--true", "c.npy"]
    assert main(["regret", "grid-path:3x3", *tables, "--fail-above", "0.1"]) == 0
