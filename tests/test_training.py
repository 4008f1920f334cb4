"""The training loop: seeds, best weights, early stopping, errors with a place, and clean ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from imle_opt import ExplicitMLE, InvalidInputError, Normal, SolveError, fit
from imle_opt.training import ValidationRegret, predict_costs
from imle_opt_solvers.timed_solver import TimedSolver
from opaque import DECISIONS, Recorder, opaque


def linear(seed=0, dropout=0.0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 5)).double()


def data(rows=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 3, dtype=torch.float64, generator=generator)
    mixing = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(99))
    return features, features @ mixing


def loader(rows=20, batch_size=8, **options):
    return DataLoader(TensorDataset(*data(rows)), batch_size, **{"shuffle": True, **options})


def squared(costs, batch):
    return (costs - batch[1]).square().mean(1)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def scripted(*values):
    """A validation that returns the given values in turn."""
    remaining = list(values)
    return lambda model: remaining.pop(0)


def trained(seed, loader, dropout=0.5):
    model = linear(dropout=dropout)
    mle = ExplicitMLE(opaque(), noise=Normal(0.5), num_samples=2)
    result = fit(model, loader, lambda costs, batch: mle(costs, costs=batch[1]), epochs=3, seed=seed)
    return weights(model), [record["loss"] for record in result.history]


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    first, again, other = trained(1, loader()), trained(1, loader()), trained(2, loader())
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], other[0])


def test_the_seed_also_sets_a_loaders_own_generator():
    own = loader(generator=torch.Generator().manual_seed(5))
    first = trained(1, own)
    assert torch.equal(first[0], trained(1, own)[0])
    assert not torch.equal(first[0], trained(2, own)[0])


def test_no_seed_leaves_the_generators_alone():
    torch.manual_seed(3)
    first = trained(None, loader())
    torch.manual_seed(3)
    assert torch.equal(first[0], trained(None, loader())[0])


def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened():
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    trained(1, loader())
    assert torch.equal(torch.randn(3), expected)


def test_the_best_weights_are_kept_and_restored():
    model, seen = linear(), []
    result = fit(
        model,
        loader(),
        squared,
        epochs=4,
        validation=scripted(3.0, 1.0, 2.0, 1.0),
        callback=lambda record: seen.append(weights(model)),
    )
    assert torch.equal(weights(model), seen[1])
    assert not torch.equal(seen[1], seen[3])
    assert (result.best_epoch, result.best_validation, result.stopped_early) == (2, 1.0, False)
    assert not model.training


def test_without_validation_the_last_weights_stay():
    model, seen = linear(), []
    result = fit(model, loader(), squared, epochs=2, callback=lambda record: seen.append(weights(model)))
    assert torch.equal(weights(model), seen[-1])
    assert (result.best_epoch, result.best_validation) == (2, None)


def test_patience_ends_the_run():
    result = fit(
        linear(), loader(), squared, epochs=9, validation=scripted(2.0, 1.0, 1.5, 1.0, 0.0), patience=2
    )
    assert [record["validation"] for record in result.history] == [2.0, 1.0, 1.5, 1.0]
    assert (result.best_epoch, result.stopped_early) == (2, True)


def test_it_learns_and_says_how_far_it_is():
    records = []
    adam = torch.optim.Adam
    model = linear()
    result = fit(
        model,
        loader(rows=100),
        squared,
        epochs=40,
        optimizer=adam(model.parameters(), 0.05),
        callback=records.append,
    )
    assert tuple(records) == result.history
    assert [record["epoch"] for record in records] == list(range(1, 41))
    assert records[-1]["loss"] < 1e-3 * records[0]["loss"]
    assert result.seconds == pytest.approx(sum(record["seconds"] for record in records))
    assert np.isnan(result.solver_seconds)


def test_the_loss_of_an_epoch_weighs_every_row_alike():
    features, costs = data(rows=10)
    model = linear()
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    (record,) = fit(model, loader(rows=10, batch_size=8), squared, epochs=1, optimizer=frozen).history
    expected = (model(features) - costs).square().mean().item()
    assert record["loss"] == pytest.approx(expected, rel=1e-12)


class Batch(NamedTuple):
    features: torch.Tensor
    costs: torch.Tensor


@pytest.mark.parametrize(
    ("pack", "costs_of"),
    [
        (lambda x, c: (x, c), lambda batch: batch[1]),
        (lambda x, c: [x, {"costs": c}], lambda batch: batch[1]["costs"]),
        (lambda x, c: {"costs": c, "features": x, "note": "kept"}, lambda batch: batch["costs"]),
        (Batch, lambda batch: batch.costs),
    ],
)
def test_batches_are_tuples_or_mappings(pack, costs_of):
    reference, model = linear(), linear()
    fit(reference, [data()], squared, epochs=2)
    fit(model, [pack(*data())], lambda costs, batch: (costs - costs_of(batch)).square(), epochs=2)
    assert torch.equal(weights(model), weights(reference))


def test_validation_sees_the_model_in_eval_without_gradients():
    modes = []

    def validation(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return 0.0

    fit(linear(), loader(), squared, epochs=2, validation=validation)
    assert modes == [(False, False), (False, False)]


def poisoned(costs, batch, calls):
    """A loss that is NaN from the fifth call on; 20 rows in batches of 8 are three steps an epoch."""
    calls.append(1)
    return squared(costs, batch) * (torch.nan if len(calls) >= 5 else 1.0)


def test_a_loss_that_is_nan_is_an_error_with_its_place_and_a_mend():
    model, seen, calls = linear(), [], []
    with pytest.raises(InvalidInputError, match=r"loss became NaN.*epoch 2, step 2.*learning rate"):
        fit(
            model,
            loader(),
            lambda costs, batch: poisoned(costs, batch, calls),
            epochs=5,
            validation=scripted(1.0),
            callback=lambda record: seen.append(weights(model)),
        )
    assert torch.equal(weights(model), seen[0])


def test_costs_that_are_nan_are_found_before_the_solver_sees_them():
    features, costs = data()
    features[3, 1] = torch.nan
    with pytest.raises(InvalidInputError, match=r"predicted costs became NaN.*epoch 1, step 1"):
        fit(linear(), [(features, costs)], squared, epochs=1)


def test_a_validation_that_is_nan_is_an_error():
    with pytest.raises(InvalidInputError, match=r"`validation` returned nan after epoch 1"):
        fit(linear(), loader(), squared, epochs=1, validation=scripted(float("nan")))


def test_ctrl_c_restores_the_best_weights_and_goes_on_to_the_caller():
    model, seen = linear(), []

    def interrupt_later(record):
        seen.append(weights(model))
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            loader(),
            squared,
            epochs=9,
            validation=scripted(2.0, 1.0, 3.0),
            callback=interrupt_later,
        )
    assert torch.equal(weights(model), seen[1])
    assert not model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"`epochs` must be at least 1"),
        ({"epochs": 1, "patience": 0, "validation": scripted(1.0)}, r"`patience` must be at least 1"),
        ({"epochs": 1, "patience": 2}, r"`patience` needs a `validation`"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidInputError, match=message):
        fit(linear(), loader(), squared, **options)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], r"no batch in epoch 1.*empty"),
        (iter([data()]), r"no batch in epoch 2"),
        ([data()[0]], r"tuples that begin with the features.*yielded Tensor"),
        ([{"x": data()[0]}], r"yielded dict"),
    ],
)
def test_bad_loaders(bad, message):
    with pytest.raises(InvalidInputError, match=message):
        fit(linear(), bad, squared, epochs=2)


def test_solver_errors_reach_the_caller():
    mle = ExplicitMLE(Recorder(), noise=Normal(0.5))
    allowed = {"allowed": np.zeros((20, 7))}
    with pytest.raises(SolveError):
        fit(linear(), [data()], lambda c, batch: mle(c, costs=batch[1], instances=allowed), epochs=1)


def test_nothing_is_printed_unless_asked(capsys):
    fit(linear(), loader(), squared, epochs=2)
    assert capsys.readouterr() == ("", "")
    fit(linear(), loader(), squared, epochs=2, progress=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "epoch 2/2" in printed.err
    assert "loss" in printed.err


def test_validation_regret_is_the_regret_by_enumeration():
    features, costs = data(rows=11)
    model = linear(seed=4, dropout=0.5)
    solver = Recorder("max")
    watch = ValidationRegret(solver, features, costs, batch_size=4)
    for _ in range(2):
        value = watch(model)
    with torch.no_grad():
        decided = DECISIONS[(model.eval()(features).numpy() @ DECISIONS.T).argmax(1)]
    values = costs.numpy() @ DECISIONS.T
    regrets = values.max(1) - (decided * costs.numpy()).sum(1)
    assert regrets.sum() > 0
    assert value == pytest.approx(regrets.sum() / np.abs(values.max(1)).sum(), rel=1e-12)
    assert len(solver.rows) == 3  # the true costs were solved once


def test_learning_lowers_the_validation_regret():
    solver = opaque()
    mle = ExplicitMLE(solver, noise=Normal(0.5), num_samples=4)
    held_out = data(rows=50, seed=1)
    model = linear()
    before = ValidationRegret(solver, *held_out)(model)
    result = fit(
        model,
        loader(rows=200),
        lambda costs, batch: mle(costs, costs=batch[1]),
        epochs=15,
        optimizer=torch.optim.Adam(model.parameters(), 0.05),
        validation=ValidationRegret(solver, *held_out),
    )
    assert before > 0.3
    assert result.best_validation < 0.05
    assert ValidationRegret(solver, *held_out)(model) == pytest.approx(result.best_validation)


def test_predict_costs_is_batched_and_keeps_the_mode():
    features, _ = data(rows=7)
    model = linear(dropout=0.5)
    predicted = predict_costs(model, features, batch_size=3)
    assert model.training
    assert torch.equal(predicted, model.eval()(features))
    assert not predicted.requires_grad


def test_the_clock_tells_solver_from_network():
    clock = TimedSolver(opaque())
    mle = ExplicitMLE(clock, noise=Normal(0.5), num_samples=2)
    result = fit(
        linear(),
        loader(),
        lambda costs, batch: mle(costs, costs=batch[1]),
        epochs=2,
        validation=ValidationRegret(clock, *data()),
        clock=clock,
    )
    assert 0 < result.solver_seconds < result.seconds
    assert result.network_seconds == pytest.approx(result.seconds - result.solver_seconds)
    assert result.solver_seconds < clock.seconds  # the validation's solves are not the training's
    assert clock.rows == 2 * 2 * 2 * 20 + 3 * 20


def test_a_timed_solver_answers_like_the_one_inside():
    inner = Recorder(on_failure="incumbent")
    timed = TimedSolver(inner)
    costs = np.random.default_rng(0).normal(size=(4, 5))
    allowed = {"allowed": np.ones((4, 7))}
    allowed["allowed"][2] = 0
    mine, theirs = timed.solve(costs, instances=allowed), inner.solve(costs, instances=allowed)
    assert np.array_equal(mine.decisions, theirs.decisions, equal_nan=True)
    assert mine.statuses == theirs.statuses
    assert (timed.shape, timed.sense, timed.traits) == (inner.shape, inner.sense, inner.traits)
    with pytest.raises(SolveError):
        timed.with_on_failure("raise").solve(costs, instances=allowed)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_move_to_the_device_that_is_asked_for():
    model = linear()
    fit(model, loader(), squared, epochs=1, device="cuda")
    assert next(model.parameters()).is_cuda
    assert predict_costs(model, data()[0]).is_cuda
