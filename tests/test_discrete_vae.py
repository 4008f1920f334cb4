"""The experiment on discrete autoencoders: figures against enumeration, the choice of rates, the digits."""

from __future__ import annotations

import gzip
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from imle_opt import Categorical, Enumerate, KSubset, expectation

ROOT = Path(__file__).parent.parent
LATENTS = {
    "categorical": (Categorical(event_dim=2), (2, 3)),
    "k-subset": (KSubset(2, event_dim=2), (2, 4)),
}


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "experiments"))
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.fixture(params=LATENTS)
def small(request, load):
    """An autoencoder of five pixels, digits for it, and all of its decisions."""
    script = load("discrete_vae")
    latent = script.Latent(*LATENTS[request.param])
    setting = script.Setting((7,), (6,), {}, epochs=1, every=1)
    source = torch.Generator().manual_seed(3)
    model = script.Model(5, setting, latent, source).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 4
    x = torch.randint(2, (30, 5), generator=source).double()
    return script, model, x, latent.family.support(latent.shape, dtype=torch.float64)


def log_likelihoods(script, model, x, support):
    """Return log p(x | z) for each decision z, (M, runs, rows), by the probabilities of the pixels."""
    runs = script.RUNS
    z = support[:, None, None].expand(-1, runs, len(x), -1, -1)
    ones = torch.sigmoid(model.decoder(z.flatten(-2)))
    return torch.where(x.bool(), ones, 1 - ones).log().sum(-1)


def exact_elbo(script, model, x, support):
    """Return the ELBO, (runs, rows), the standard deviation of a sample of its first part, and log p(x)."""
    logits = model.logits(x.expand(script.RUNS, -1, -1))
    law = (support[:, None, None] * logits).sum((-1, -2)).softmax(0)
    likelihoods = log_likelihoods(script, model, x, support)
    mean = (law * likelihoods).sum(0)
    variance = (law * (likelihoods - mean).square()).sum(0)
    prior = -math.log(len(support))
    divergence = (law * (law.log() - prior)).sum(0)
    return mean - divergence, variance.sqrt(), (likelihoods + prior).logsumexp(0), divergence


def test_the_divergence_is_that_of_all_decisions(small):
    script, model, x, support = small
    *_, expected = exact_elbo(script, model, x, support)
    found = model.latent.divergence(model.logits(x.expand(script.RUNS, -1, -1)))
    torch.testing.assert_close(found, expected)
    assert found.min() > 0.01


def test_the_figure_is_the_elbo_and_below_the_evidence(small, monkeypatch):
    script, model, x, support = small
    samples = 2000
    monkeypatch.setattr(script, "SAMPLES", samples)
    expected, deviation, evidence, divergence = exact_elbo(script, model, x, support)
    found = script.figures(model, x, Enumerate())
    error = (deviation.square().mean(1) / (samples * len(x))).sqrt()
    assert ((found["elbo"] - expected.mean(1)).abs() < 4.5 * error).all()
    torch.testing.assert_close(found["kl"], divergence.mean(1))
    assert (expected < evidence).all()
    # Were the KL left out or added, the test above would tell.
    assert (divergence.mean(1) > 20 * error).all()


def test_a_step_with_the_exact_gradient_goes_down_the_exact_elbo(small):
    script, model, x, support = small
    parameters = list(model.parameters())
    elbo, *_ = exact_elbo(script, model, x, support)
    expected = torch.autograd.grad(-elbo.mean(1).sum(), parameters)
    before = [parameter.detach().clone() for parameter in parameters]
    descent = torch.optim.SGD(parameters, lr=1.0)
    source = torch.Generator().manual_seed(0)
    decoded = script.step(model, Enumerate(), x.expand(script.RUNS, -1, -1), descent, None, source)
    assert decoded == len(support) * script.RUNS * len(x)
    for start, parameter, gradient in zip(before, parameters, expected, strict=True):
        torch.testing.assert_close(start - parameter.detach(), gradient)


@pytest.mark.parametrize("name", ["RELAX", "RELAX, black box"])
def test_gradients_with_a_surrogate_are_unbiased_for_every_run(name, load):
    script = load("discrete_vae")
    latent, replicates = script.Latent(*LATENTS["categorical"]), 3000
    source = torch.Generator().manual_seed(5)
    model = script.Model(5, script.Setting((7,), (6,), {}, epochs=1, every=1), latent, source).double()
    estimator = script.made_estimator(script.methods(latent)[name], 5, latent, source).double()
    x = torch.tensor([1.0, 0, 1, 1, 0]).double().expand(script.RUNS, replicates, 5)
    estimator.surrogate.x = x
    logits = (4 * model.logits(x)).detach().requires_grad_()
    drawn, exact = (
        torch.autograd.grad(
            expectation(model.reconstruction(x), logits, latent.family, made, generator=source).sum(), logits
        )[0]
        for made in (estimator, Enumerate())
    )
    error = drawn.std(1) / replicates**0.5
    assert ((drawn.mean(1) - exact[:, 0]).abs() < 4.5 * error).all()
    assert exact.abs().amax() > 10 * error.amin()


def test_the_rate_is_chosen_by_validation_at_the_best_point_of_each_run(load):
    script = load("discrete_vae")

    def record(rate, validation, test):
        curves = {"epoch": [0, 5, 10], "validation": validation, "test": test}
        return {"key": {"latent": "k-subset", "method": "ARSM", "rate": rate, "runs": 2}, "curves": curves}

    slow = record(0.1, [[-9, -9], [-5, -7], [-6, -6]], [[-9, -9], [-1, -2], [-3, -4]])
    fast = record(1.0, [[-9, -9], [-7, -7], [-8, -6]], [[0, 0], [-0.5, 0], [0, 0]])
    (chosen,) = script.chosen_rates([fast, slow], "k-subset")
    assert chosen is slow
    assert script.at_best(chosen, "test") == [-1, -4]


def test_digits_are_split_into_parts_of_zeros_and_ones(load):
    digits = load("digits").small_digits()
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part) for part in parts] == [1200, 200, 397]
    assert all(part.shape[1] == 64 and part.unique().tolist() == [0, 1] for part in parts)


@pytest.mark.parametrize("kind", ["npz", "idx", "gz"])
def test_mnist_is_read_from_either_kind_of_file(kind, load, tmp_path):
    random = np.random.RandomState(0)
    train, test = (random.randint(0, 256, (rows, 4, 3), dtype=np.uint8) for rows in (12, 5))
    path = tmp_path
    if kind == "npz":
        path = tmp_path / "mnist.npz"
        np.savez(path, x_train=train, x_test=test)
    else:
        for name, images in (("train", train), ("t10k", test)):
            content = np.array([0x0803, *images.shape], ">u4").tobytes() + images.tobytes()
            suffix, content = (".gz", gzip.compress(content)) if kind == "gz" else ("", content)
            (tmp_path / f"{name}-images-idx3-ubyte{suffix}").write_bytes(content)
    digits = load("digits").mnist(path)
    expected = torch.from_numpy(train.reshape(12, 12) >= 128).float()
    assert torch.equal(digits.train, expected[:10])
    assert torch.equal(digits.validation, expected[10:])
    assert torch.equal(digits.test, torch.from_numpy(test.reshape(5, 12) >= 128).float())


def test_another_idx_file_is_refused(load, tmp_path):
    labels = np.array([0x0801, 2, 0, 0], ">u4").tobytes()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(labels)
    with pytest.raises(ValueError, match="starts with 0x801"):
        load("digits").mnist(tmp_path)


def test_the_page_shows_the_saved_runs(load):
    script, experiment = load("discrete_vae"), load("experiment")
    found = experiment.Runs(experiment.RESULTS / "discrete_vae.jsonl").read()
    assert script.text(found) == (experiment.PAGES / "discrete_vae.md").read_text(encoding="utf-8")
