"""The scikit-learn estimator: scikit-learn's own checks, regret by enumeration, pipelines and searches."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from imle_opt import CostDomain, FunctionSolver, InvalidInputError, Normal, PredictThenOptimize
from imle_opt.noise import Exponential
from imle_opt_solvers.grid import grid_path
from opaque import DECISIONS, Recorder, opaque


def below_zero(costs):
    return (costs < 0).astype(float)


class TakeWhatPays:
    """Makes a solver for any number of costs: take every item of which the cost is negative."""

    def __call__(self, num_costs):
        return FunctionSolver(below_zero, (num_costs,), "min", batched=True)

    def __repr__(self):  # part of the tests' names, which must be the same in every test process
        return "take_what_pays"


@parametrize_with_checks([PredictThenOptimize(TakeWhatPays(), epochs=3)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def table(rows=200, seed=0):
    """Features, costs that are a product of two linear functions, so that no linear predictor is right."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 4)) * [1, 10, 0.1, 1] + [0, 5, 0, 0]
    scaled = (features - [0, 5, 0, 0]) / [1, 10, 0.1, 1]
    mixing = np.random.default_rng(99).normal(size=(2, 4, 5))
    return features, 30 * (scaled @ mixing[0] + 1) * (0.3 * scaled @ mixing[1] + 1)


def optima(costs, sense):
    sign = {"min": -1, "max": 1}[sense]
    return DECISIONS[(sign * costs @ DECISIONS.T).argmax(1)]


def estimator(sense="min", **options):
    return PredictThenOptimize(opaque(sense), **{"epochs": 20, "random_state": 0, **options})


@pytest.mark.parametrize("sense", ["min", "max"])
def test_the_score_is_one_minus_the_normalised_regret_by_enumeration(sense):
    features, costs = table()
    model = estimator(sense, epochs=2).fit(features, costs)
    predicted = model.predict(features)
    assert predicted.shape == costs.shape
    decided, best = optima(predicted, sense), optima(costs, sense)
    assert np.array_equal(model.decide(features), decided)
    regrets = np.abs((decided * costs).sum(1) - (best * costs).sum(1))
    expected = 1 - regrets.sum() / np.abs((best * costs).sum(1)).sum()
    assert expected < 0.99
    assert model.score(features, costs) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sense", ["min", "max"])
@pytest.mark.parametrize("supervision", ["costs", "solutions"])
def test_it_learns_to_decide(sense, supervision):
    features, costs = table()
    new_features, new_costs = table(seed=1)
    labels, new_labels = (y if supervision == "costs" else optima(y, sense) for y in (costs, new_costs))
    untrained = estimator(sense, supervision=supervision, epochs=1, learning_rate=1e-9)
    model = estimator(sense, supervision=supervision).fit(features, labels)
    before = untrained.fit(features, labels).score(new_features, new_labels)
    assert model.score(new_features, new_labels) > 0.8 > 0.6 > before


def test_the_score_from_solutions_is_their_overlap():
    features, costs = table()
    solutions = optima(costs, "min")
    model = estimator(supervision="solutions", epochs=1).fit(features, solutions)
    decided = model.decide(features)
    common = (decided * solutions).sum()
    expected = 2 * common / (decided.sum() + solutions.sum())
    assert 0 < expected < 1
    assert model.score(features, solutions) == pytest.approx(expected, rel=1e-12)
    assert model.score(features, decided) == 1


def test_two_stage_regression_finds_a_linear_rule():
    features, _ = table()
    costs = 7 * features @ np.arange(20).reshape(4, 5) / 10 - 3
    model = estimator(loss="mse", epochs=200, learning_rate=0.05).fit(features, costs)
    assert np.abs(model.predict(features) - costs).max() < 1e-2 * np.abs(costs).mean()
    assert model.cost_scale_ == pytest.approx(np.abs(costs).mean())


def test_the_random_state_decides_all():
    features, costs = table(50)
    first = estimator(model="mlp", epochs=2, patience=1).fit(features, costs).predict(features)
    again = estimator(model="mlp", epochs=2, patience=1).fit(features, costs).predict(features)
    other = estimator(model="mlp", epochs=2, patience=1, random_state=1).fit(features, costs)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other.predict(features))


def test_labels_may_have_the_solvers_shape_or_be_flattened():
    rng = np.random.default_rng(0)
    features, costs = rng.normal(size=(30, 4)), rng.uniform(1, 2, (30, 3, 3))
    options = {"epochs": 2, "random_state": 0}
    shaped = PredictThenOptimize(grid_path((3, 3)), **options).fit(features, costs)
    flat = PredictThenOptimize(grid_path((3, 3)), **options).fit(features, costs.reshape(30, 9))
    assert shaped.predict(features).shape == shaped.decide(features).shape == (30, 3, 3)
    assert np.array_equal(shaped.predict(features), flat.predict(features))
    assert shaped.score(features, costs) == flat.score(features, costs.reshape(30, 9))


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_costs_stay_legal_where_the_solver_takes_no_negative_ones(model):
    rng = np.random.default_rng(0)
    features, costs = rng.normal(size=(60, 4)), rng.exponential(size=(60, 3, 3))
    for supervision in ("costs", "solutions"):
        labels = costs if supervision == "costs" else grid_path((3, 3)).solve(costs).decisions
        fitted = PredictThenOptimize(
            grid_path((3, 3)), model=model, supervision=supervision, epochs=5, learning_rate=0.1
        ).fit(features, labels)
        assert (fitted.predict(10 * features) >= 0).all()


def test_the_default_noise_fits_the_solver():
    def noise_of(solver):
        rng = np.random.default_rng(0)
        model = PredictThenOptimize(solver, epochs=1, loss="mse")
        model.fit(rng.normal(size=(3, 2)), rng.uniform(1, 2, (3, *solver.shape)))
        return model._default_noise()

    assert noise_of(grid_path((2, 2))) == Exponential(0.25)
    assert noise_of(grid_path((2, 2), neighbours=2)) == Normal(0.25)
    assert noise_of(opaque("max")) == Normal(0.25)
    gains = Recorder("max")  # exponential noise would make its costs negative
    gains.traits = replace(gains.traits, cost_domain=CostDomain.NONNEGATIVE)
    assert noise_of(gains) == Normal(0.25)


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_the_units_of_the_features_do_not_matter(model):
    features, costs = table(50)
    options = {"model": model, "epochs": 3}
    plain = estimator(**options).fit(features, costs).predict(features)
    scaled = 1000 * features + [5, -3e4, 0, 1]
    np.testing.assert_allclose(estimator(**options).fit(scaled, costs).predict(scaled), plain, rtol=1e-6)


def test_models_and_losses_of_ones_own():
    features, costs = table(40)
    seen = []

    def loss(predicted, labels):
        seen.append((predicted.shape, labels.shape))
        return (predicted - labels).abs().sum(1)

    model = estimator(
        model=lambda inputs, outputs: nn.Linear(inputs, outputs, bias=False), loss=loss, epochs=1
    )
    model.fit(features, costs)
    assert seen == [((32, 5), (32, 5)), ((8, 5), (8, 5))]
    assert np.allclose(model.predict(2 * features), 2 * model.predict(features))


def test_early_stopping_keeps_the_best_weights_by_rows_held_out():
    features, costs = table(100)
    model = estimator(model="mlp", patience=2, epochs=60, learning_rate=0.05, validation_fraction=0.25)
    result = model.fit(features, costs).fit_result_
    values = [record["validation"] for record in result.history]
    assert len(values) < 60
    assert result.stopped_early
    assert result.best_validation == min(values)
    assert len(values) == result.best_epoch + 2


def test_rows_held_out_are_not_trained_on():
    features, costs = table(10)
    solver = Recorder()
    model = PredictThenOptimize(
        solver, patience=1, epochs=1, validation_fraction=0.3, num_samples=2, random_state=0
    )
    model.fit(features, costs)
    assert solver.rows == [2 * 7, 2 * 7, 3, 3]


def test_pipelines_and_searches():
    features, costs = table(90)
    pipeline = make_pipeline(StandardScaler(), estimator(epochs=8))
    assert cross_val_score(pipeline, features, costs, cv=3).shape == (3,)
    grid = {
        "predictthenoptimize__noise": [Normal(0.1), Normal(50.0)],
        "predictthenoptimize__learning_rate": [1e-6, 0.05],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(features, costs)
    assert search.best_params_["predictthenoptimize__learning_rate"] == 0.05
    assert search.best_score_ > search.cv_results_["mean_test_score"].min()
    assert search.score(features, costs) == search.best_estimator_.score(features, costs)
    assert search.best_estimator_[-1].decide(features).shape == costs.shape


def test_clones_and_pickles():
    features, costs = table(20)
    model = PredictThenOptimize(grid_path((1, 5)), epochs=1, random_state=0)
    fresh = clone(model)
    assert fresh.get_params().keys() == model.get_params().keys()
    assert fresh.set_params(epochs=2).epochs == 2
    model.fit(features, np.abs(costs))
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(features), model.predict(features))


def test_names_of_features_are_kept():
    features, costs = table(30)
    frame = pd.DataFrame(features, columns=list("abcd"))
    model = estimator(epochs=2, patience=1).fit(frame, costs)
    assert list(model.feature_names_in_) == list("abcd")
    assert model.n_features_in_ == 4
    assert model.predict(frame).shape == costs.shape


def test_before_fit_it_says_so():
    for call in ("predict", "decide"):
        with pytest.raises(NotFittedError):
            getattr(estimator(), call)(np.zeros((2, 4)))
    with pytest.raises(NotFittedError):
        estimator().score(np.zeros((2, 4)), np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"supervision": "paths"}, "`supervision` must be one of 'costs', 'solutions'"),
        ({"model": "forest"}, "`model` must be one of"),
        ({"loss": "spo"}, "`loss` must be one of"),
        ({"noise": "none"}, "`noise` must be one of"),
        ({"loss": "mse", "supervision": "solutions"}, "cannot learn from solutions"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"patience": 2, "validation_fraction": 0.0}, "leaves nothing to train on or to watch"),
        ({"patience": 2, "validation_fraction": 1.0}, "leaves nothing to train on or to watch"),
    ],
)
def test_bad_options(options, message):
    features, costs = table(10)
    with pytest.raises(InvalidInputError, match=message):
        estimator(**options).fit(features, costs)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda y: y[:, :4], r"`y` must have shape \(rows, 5\)"),
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: np.where(y > y.mean(), np.nan, y), "y contains NaN"),
        (lambda y: None, "requires y to be passed, but the target y is None"),
    ],
)
def test_bad_labels(spoil, message):
    features, costs = table(10)
    with pytest.raises(ValueError, match=message):
        estimator().fit(features, spoil(costs))


def test_training_solves_in_the_models_own_unit_beside_which_its_fixed_costs_stand():
    solver = Recorder("max")
    rng = np.random.default_rng(0)
    features, costs = rng.normal(size=(20, 3)), 1000 + rng.normal(size=(20, 5))
    PredictThenOptimize(solver, epochs=3, random_state=0).fit(features, costs)
    of_labels = np.concatenate([batch for batch, _, _ in solver.calls]).mean(axis=1)
    assert of_labels.max() > 500  # the true costs, solved for the targets, are not in units of 1000
