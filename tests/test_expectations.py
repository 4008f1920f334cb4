from __future__ import annotations

import pytest
import torch

from imle_opt.estimators import pathwise
from imle_opt.expectations import expectation
from imle_opt.families import Categorical, KSubset
from imle_opt.layers import IMLE, BlackBox, StraightThrough
from imle_opt.noise import Gumbel, NoNoise
from imle_opt.targets import PID
from imle_opt_solvers.errors import InvalidInputError
from opaque import GivenNoise, Recorder, best, generator, gradient, normal, opaque


def squares(z):
    return (z - 0.3).square().sum(-1)


@pytest.mark.parametrize("sense", ["min", "max"])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_theta_is_maximised_whatever_the_sense(sense, batch):
    theta, eps = normal(*batch, 5), normal(3, *batch, 5, seed=1)
    solver = opaque(sense)
    layer = IMLE(solver, noise=GivenNoise(eps), target=PID(2.0), num_samples=3)
    z = best(theta + eps)
    value = expectation(squares, theta, solver, pathwise(layer))
    torch.testing.assert_close(value, squares(z).mean(0))
    found = gradient(lambda t: expectation(squares, t, solver, pathwise(layer)).sum(), theta)
    expected = (z - best(theta - 2.0 * 2 * (z - 0.3) + eps)).mean(0) / 2.0
    assert expected.count_nonzero() > 0
    torch.testing.assert_close(found, expected)


def test_every_row_and_sample_counts_by_its_own_gradient_whatever_is_done_with_the_result():
    # In a layer under a mean, lambda shrinks with the batch; here it must not.
    solver = opaque("max")
    layer = IMLE(solver, noise=Gumbel(), target=PID(1.0), num_samples=4)
    theta = normal(64, 5)

    def estimate(t):
        return expectation(squares, t, solver, pathwise(layer), generator=generator(1))

    total = gradient(lambda t: estimate(t).sum(), theta)
    mean = gradient(lambda t: estimate(t).mean(), theta)
    assert total.count_nonzero() > 64
    torch.testing.assert_close(mean, total / 64)
    undone = IMLE(solver, noise=Gumbel(), target=PID(1.0), num_samples=4, batch_reduction="mean")
    by_layer = gradient(lambda t: squares(undone(t, generator=generator(1))).mean(), theta)
    torch.testing.assert_close(by_layer, mean)
    ignored = gradient(
        lambda t: expectation(squares, t, solver, pathwise(undone), generator=generator(1)).sum(), theta
    )
    torch.testing.assert_close(ignored, total)
    weights = torch.linspace(0, 1, 64, dtype=torch.float64)
    weighted = gradient(lambda t: (weights * estimate(t)).sum(), theta)
    torch.testing.assert_close(weighted, weights[:, None] * total)


def test_f_is_called_once_with_all_samples_stacked_and_its_parameters_learn():
    shapes = []
    decoder = torch.nn.Linear(5, 2).double()

    def f(z):
        shapes.append(tuple(z.shape))
        return decoder(z).square().sum(-1)

    layer = IMLE(KSubset(2), noise=Gumbel(), target=PID(1.0), num_samples=3)
    theta = normal(4, 5).requires_grad_()
    value = expectation(f, theta, KSubset(2), pathwise(layer), generator=generator(1))
    value.mean().backward()
    assert shapes == [(3, 4, 5)]
    assert theta.grad.abs().sum() > 0
    z = layer(theta.detach(), generator=generator(1))
    expected = torch.autograd.grad(decoder(z).square().sum(-1).mean(), decoder.weight)[0]
    torch.testing.assert_close(decoder.weight.grad, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_f_gets_samples_in_the_dtype_of_theta(dtype):
    decoder = torch.nn.Linear(5, 1, dtype=dtype)
    layer = IMLE(KSubset(2), noise=Gumbel(), target=PID(1.0), num_samples=3)
    for needs_gradient in (True, False):
        theta = normal(4, 5).to(dtype).requires_grad_(needs_gradient)
        value = expectation(lambda z: decoder(z).squeeze(-1).square(), theta, KSubset(2), pathwise(layer))
        value.sum().backward()
    assert decoder.weight.grad.isfinite().all()
    assert value.dtype == dtype


def test_what_f_does_with_theta_itself_is_differentiated_too():
    theta = normal(4, 5)
    layer = StraightThrough(KSubset(2))

    def estimate(t):
        return expectation(lambda z: (z * 2).sum(-1) + t.square().sum(-1), t, KSubset(2), pathwise(layer))

    torch.testing.assert_close(gradient(lambda t: estimate(t).sum(), theta), 2 + 2 * theta)


@pytest.mark.parametrize("layer", [BlackBox(KSubset(2), 1.0), StraightThrough(KSubset(2)), IMLE(KSubset(2))])
def test_every_layer_lifts(layer):
    theta = normal(4, 5)
    found = gradient(lambda t: expectation(squares, t, KSubset(2), pathwise(layer)).sum(), theta)
    assert found.shape == theta.shape


def test_without_gradients_no_rule_runs_and_nothing_adapts():
    solver = Recorder()
    layer = IMLE(solver, noise=Gumbel())
    estimator = pathwise(layer)
    expectation(squares, normal(4, 5), solver, estimator)
    with torch.no_grad():
        value = expectation(squares, normal(4, 5).requires_grad_(), solver, estimator)
    assert not value.requires_grad
    assert solver.rows == [4, 4]
    assert layer.target.running_density.item() == 1
    expectation(squares, normal(4, 5).requires_grad_(), solver, estimator)
    assert layer.target.running_density.item() < 1


def test_it_samples_in_eval_too_but_does_not_adapt():
    estimator = pathwise(IMLE(KSubset(2), noise=Gumbel(5.0), num_samples=50)).eval()
    seen = []
    theta = normal(5).requires_grad_()
    expectation(lambda z: seen.append(z) or z.sum(-1), theta, KSubset(2), estimator)
    assert len(seen[0].unique(dim=0)) > 1
    assert estimator.layer.target.running_density.item() == 1


def test_state_is_saved_with_the_estimator():
    assert "layer.target.alpha" in pathwise(IMLE(KSubset(2))).state_dict()


def test_instances_and_generators_reach_the_layer():
    solver = Recorder()
    layer = IMLE(solver, noise=Gumbel(), target=PID(1.0), num_samples=2, generator=generator(3))
    allowed = torch.zeros(2, 3, 7)
    allowed[..., 2:4] = 1
    theta = normal(2, 3, 5)

    def run(**options):
        return expectation(squares, theta, solver, pathwise(layer), instances={"allowed": allowed}, **options)

    own = run()
    assert solver.calls[0][1]["allowed"].shape == (12, 7)
    assert torch.equal(run(generator=generator(3)), own)


def test_a_family_that_is_not_the_layers_is_refused():
    solver = opaque()
    layer = IMLE(solver)
    for other in (opaque(), KSubset(2)):
        with pytest.raises(InvalidInputError, match=r"`family` is .*the layer's is"):
            expectation(squares, normal(3, 5), other, pathwise(layer))
    expectation(squares, normal(3, 5), layer.family, pathwise(layer))
    with pytest.raises(InvalidInputError, match="`family` is"):
        expectation(squares, normal(3, 5), KSubset(3), pathwise(IMLE(KSubset(2))))


@pytest.mark.parametrize(
    "f", [lambda z: z.detach().sum(-1), lambda z: torch.ones(z.shape[:-1], requires_grad=True)]
)
def test_f_must_be_differentiable(f):
    layer = IMLE(KSubset(2), noise=NoNoise(), target=PID(1.0))
    with pytest.raises(InvalidInputError, match="`f` must be differentiable in the samples"):
        expectation(f, normal(3, 5).requires_grad_(), KSubset(2), pathwise(layer))


def test_f_must_return_one_value_per_sample_and_row():
    layer = IMLE(KSubset(2), noise=NoNoise(), target=PID(1.0), num_samples=2)
    with pytest.raises(InvalidInputError, match=r"one value per sample and row, \(2, 3\).*returned \(\)"):
        expectation(lambda z: z.sum(), normal(3, 5), KSubset(2), pathwise(layer))


def test_a_layer_is_not_an_estimator():
    layer = IMLE(KSubset(2))
    with pytest.raises(InvalidInputError, match=r"`estimator` is a layer: give `pathwise\(layer\)`"):
        expectation(squares, normal(3, 5), KSubset(2), layer)


def test_bad_theta_is_refused_by_name():
    layer = IMLE(Categorical())
    with pytest.raises(InvalidInputError, match="`theta` must be finite"):
        expectation(squares, normal(3, 5) * torch.nan, Categorical(), pathwise(layer))
    solver = opaque()
    with pytest.raises(InvalidInputError, match=r"`theta` must have shape \(\*batch, 5\)"):
        expectation(squares, normal(3, 4), solver, pathwise(IMLE(solver)))
