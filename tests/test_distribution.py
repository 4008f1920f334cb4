"""The constrained exponential family, against enumeration."""

from __future__ import annotations

import pytest
import torch

from imle_opt.distribution import ConstrainedExponentialFamily
from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree
from imle_opt.layers import BlackBox, StraightThrough
from imle_opt.noise import Gumbel
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError
from opaque import SENSES, Recorder, best, generator, normal, opaque, sign_of

SIGMAS = 4.5
FAMILIES = {
    "k-subset": KSubset(2),
    "categorical": Categorical(),
    "bernoulli": Bernoulli(),
    "tree": SpanningTree(4),
}
families = pytest.mark.parametrize("name", sorted(FAMILIES))


def table(name, theta, temperature=0.7):
    """Return all decisions (M, 6), and the log probability of each, (*batch, M)."""
    support = FAMILIES[name].support((6,), dtype=torch.float64)
    scores = theta @ support.T / temperature
    return support, scores - scores.logsumexp(-1, keepdim=True)


@families
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_exact_families_match_enumeration(name, batch):
    theta = normal(*batch, 6)
    law = ConstrainedExponentialFamily(theta, FAMILIES[name], temperature=0.7)
    support, log_p = table(name, theta)
    p = log_p.exp()
    torch.testing.assert_close(law.mode, support[log_p.argmax(-1)])
    torch.testing.assert_close(law.marginals(), p @ support)
    torch.testing.assert_close(law.log_partition(), (theta @ support.T / 0.7).logsumexp(-1))
    torch.testing.assert_close(law.entropy(), -(p * log_p).sum(-1))
    every = support.reshape(len(support), *(1,) * len(batch), 6).expand(len(support), *batch, 6)
    torch.testing.assert_close(law.log_prob(every), log_p.movedim(-1, 0))
    assert law.batch_shape == batch
    assert law.event_shape == (6,)


@families
def test_samples_are_exact_and_reproducible(name):
    theta = normal(3, 6)
    law = ConstrainedExponentialFamily(theta, FAMILIES[name], temperature=0.7)
    samples = law.sample(20_000, generator=generator())
    mean = law.marginals()
    error = (mean * (1 - mean) / len(samples)).sqrt()
    assert ((samples.mean(0) - mean).abs() <= SIGMAS * error).all()
    assert torch.equal(samples, law.sample(20_000, generator=generator()))


def test_gradients_of_the_normaliser_are_marginals():
    costs = normal(3, 6).requires_grad_()
    law = ConstrainedExponentialFamily(costs, KSubset(2), temperature=0.7)
    law.log_partition().sum().backward()
    torch.testing.assert_close(costs.grad, law.marginals().detach() / 0.7)


@pytest.mark.parametrize("sense", SENSES)
def test_a_solver_has_its_mode_and_perturb_and_map(sense):
    costs = normal(4, 5)
    law = ConstrainedExponentialFamily(costs, opaque(sense), temperature=0.5)
    assert torch.equal(law.mode, best(sign_of(sense) * costs))
    samples = law.perturb_and_map(2000, generator=generator())
    assert samples.shape == (2000, 4, 5)
    mean, error = law.perturb_and_map_marginals(2000, generator=generator())
    assert torch.equal(mean, samples.mean(0))
    assert ((mean * (1 - mean) / 1999).sqrt() - error).abs().max() < 1e-12
    # Decisions of lower worth are rarer, in the sense of the solver.
    worth = sign_of(sense) * (samples * costs).sum(-1)
    assert (worth.mean(0) > sign_of(sense) * (costs @ opaque_table().T).mean(-1)).all()


def opaque_table():
    from opaque import DECISIONS

    return torch.as_tensor(DECISIONS)


def test_what_only_families_know_is_refused_of_a_solver():
    law = ConstrainedExponentialFamily(normal(4, 5), opaque())
    for method in (
        law.sample,
        law.marginals,
        law.log_partition,
        law.entropy,
        lambda: law.log_prob(normal(4, 5)),
        lambda: law.perturb_and_map_frequencies(10),
    ):
        with pytest.raises(MissingCapabilityError, match="ConstrainedExponentialFamily"):
            method()


def test_gumbel_noise_makes_perturb_and_map_exact_on_choices_and_not_on_subsets():
    theta, samples = normal(6), 50_000
    for name, exact in (("categorical", True), ("k-subset", False)):
        law = ConstrainedExponentialFamily(theta, FAMILIES[name], temperature=0.7, noise=Gumbel(0.7))
        support, frequencies = law.perturb_and_map_frequencies(samples, generator=generator())
        assert frequencies.sum().item() == pytest.approx(1)
        p = law.log_prob(support).exp()
        worst = ((frequencies - p).abs() / (p * (1 - p) / samples).sqrt()).max()
        assert (worst < SIGMAS) == exact


def test_frequencies_count_the_samples():
    law = ConstrainedExponentialFamily(normal(3, 6), KSubset(2), noise=Gumbel())
    support, frequencies = law.perturb_and_map_frequencies(500, generator=generator(1))
    samples = law.perturb_and_map(500, generator=generator(1))
    for row in range(3):
        for z, share in zip(support, frequencies[row], strict=True):
            assert (samples[:, row] == z).all(-1).double().mean().item() == pytest.approx(share.item())


@pytest.mark.parametrize("sense", SENSES)
def test_rsample_lets_gradients_through_by_a_rule(sense):
    costs, weight = normal(4, 5).requires_grad_(), normal(4, 5, seed=1)
    theta = sign_of(sense) * costs.detach()
    law = ConstrainedExponentialFamily(costs, opaque(sense))
    z = law.rsample(layer=BlackBox(opaque(sense), 2.0))
    assert torch.equal(z[0].detach(), best(theta))
    (weight * z).sum().backward()
    expected = sign_of(sense) * (best(theta) - best(theta - 2 * weight)) / 2
    torch.testing.assert_close(costs.grad, expected)
    own = ConstrainedExponentialFamily(costs, opaque(sense)).rsample(50, generator=generator(1))
    assert own.shape == (50, 4, 5)
    costs.grad = None
    (weight * own.mean(0)).sum().backward()
    assert costs.grad.count_nonzero() > 4
    with pytest.raises(InvalidInputError, match="`num_samples` is 3, and the layer's own is 2"):
        law.rsample(3, layer=StraightThrough(opaque(sense), num_samples=2))


def test_instances_reach_every_solve():
    allowed = torch.zeros(3, 7)
    allowed[:, 2] = 1
    solver = Recorder()
    law = ConstrainedExponentialFamily(normal(3, 5), solver, noise=Gumbel(), instances={"allowed": allowed})
    only = opaque_table()[2]
    for found in (law.mode, law.perturb_and_map(4), law.rsample(2).detach()):
        assert (found == only).all()


def test_families_take_no_instances_and_a_given_layer_keeps_its_mode():
    with pytest.raises(InvalidInputError, match="instances"):
        ConstrainedExponentialFamily(normal(3, 5), KSubset(2), instances={"rhs": torch.ones(3)})
    layer = BlackBox(opaque("max"), 2.0).eval()
    assert ConstrainedExponentialFamily(normal(3, 5), opaque("max")).rsample(layer=layer).shape == (1, 3, 5)
    assert not layer.training


def test_bad_options_are_refused():
    for make, message in (
        (lambda: ConstrainedExponentialFamily(normal(3, 5), opaque(), temperature=0.0), "`temperature`"),
        (lambda: ConstrainedExponentialFamily(normal(3, 4), opaque()), "`costs`"),
        (lambda: ConstrainedExponentialFamily(normal(3, 5), opaque()).perturb_and_map(0), "`num_samples`"),
        (
            lambda: ConstrainedExponentialFamily(normal(3, 5), opaque()).perturb_and_map_marginals(1),
            "`num_samples` must be at least 2",
        ),
    ):
        with pytest.raises(InvalidInputError, match=message):
            make()


def test_frequencies_are_counted_in_full_precision_under_autocast():
    """In bfloat16, 1996 entries in common are 2000 of them."""
    law = ConstrainedExponentialFamily(torch.zeros(2000), Categorical(), noise=Gumbel())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, frequencies = law.perturb_and_map_frequencies(50, generator=generator())
    assert frequencies.sum().item() == pytest.approx(1, abs=1e-5)
