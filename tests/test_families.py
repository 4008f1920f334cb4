from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import stats
from torch.autograd import gradcheck

import imle_opt.layers
import imle_opt.losses
from imle_opt.families import (
    Bernoulli,
    Categorical,
    Enumerable,
    ExactSampler,
    KSubset,
    MAPOracle,
    Marginals,
    Polytope,
    Reparameterized,
    Sampler,
    SpanningTree,
    applicable,
    as_family,
    require,
)
from imle_opt.families.capabilities import METHODS
from imle_opt.solvers import SpanningTree as SpanningTreeSolver
from imle_opt_solvers import FunctionSolver
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError

BATCHES = [(), (3, 2)]
EXACT = [
    pytest.param(KSubset(0), (4,), id="0-of-4"),
    pytest.param(KSubset(1), (1,), id="1-of-1"),
    pytest.param(KSubset(2), (5,), id="2-of-5"),
    pytest.param(KSubset(4), (6,), id="4-of-6"),
    pytest.param(KSubset(5), (5,), id="5-of-5"),
    pytest.param(KSubset(1, event_dim=2), (2, 3), id="2x1-of-3"),
    pytest.param(KSubset(2, event_dim=3), (2, 1, 4), id="2x1x2-of-4"),
    pytest.param(Categorical(), (2,), id="2-classes"),
    pytest.param(Categorical(), (5,), id="5-classes"),
    pytest.param(Categorical(event_dim=2), (3, 4), id="3-variables"),
    pytest.param(Bernoulli(), (1,), id="1-bit"),
    pytest.param(Bernoulli(), (5,), id="5-bits"),
    pytest.param(Bernoulli(event_dim=2), (2, 3), id="2x3-bits"),
    pytest.param(SpanningTree(2), (1,), id="tree-2"),
    pytest.param(SpanningTree(3), (3,), id="tree-3"),
    pytest.param(SpanningTree(5), (10,), id="tree-5"),
]
REPARAMETERIZED = [case for case in EXACT if isinstance(case.values[0], Reparameterized)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_theta(*shape: int, seed: int = 0, scale: float = 1.5) -> torch.Tensor:
    return scale * torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def brute_force_support(family, event):
    """Every 0/1 array of the shape that satisfies the definition of the family."""
    arrays = np.array(list(itertools.product((0.0, 1.0), repeat=math.prod(event)))).reshape(-1, *event)
    if isinstance(family, KSubset):
        keep = (arrays.sum(-1) == family.k).reshape(len(arrays), -1).all(-1)
    elif isinstance(family, Bernoulli):
        keep = np.ones(len(arrays), dtype=bool)
    elif isinstance(family, SpanningTree):
        keep = np.array([is_tree(array, family.n) for array in arrays])
    else:
        keep = (arrays.sum(-1) == 1).reshape(len(arrays), -1).all(-1)
    return torch.from_numpy(arrays[keep])


def is_tree(edges, n):
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(itertools.compress(itertools.combinations(range(n), 2), edges))
    return nx.is_tree(graph)


def enumerated(family, theta, temperature=1.0):
    """Support (M, D), its log weights (*batch, M) and probabilities."""
    event = theta.shape[theta.ndim - family.event_dim :]
    support = brute_force_support(family, event).reshape(-1, math.prod(event))
    weights = theta.reshape(*theta.shape[: theta.ndim - family.event_dim], -1) @ support.T / temperature
    return support, weights, weights.softmax(-1)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("family", "event"), EXACT)
def test_map_is_the_best_of_all_decisions(family, event, batch):
    theta = random_theta(*batch, *event)
    support, weights, _ = enumerated(family, theta)
    decisions = family.map(theta)
    assert decisions.shape == theta.shape
    torch.testing.assert_close((decisions * theta).reshape(*batch, -1).sum(-1), weights.max(-1).values)
    rows = {tuple(row) for row in support.tolist()}
    assert all(tuple(row) in rows for row in decisions.reshape(-1, support.shape[1]).tolist())


@pytest.mark.parametrize("temperature", [1.0, 0.3, 7.0])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("family", "event"), EXACT)
def test_log_partition_and_marginals_against_enumeration(family, event, batch, temperature):
    theta = random_theta(*batch, *event)
    support, weights, probabilities = enumerated(family, theta, temperature)
    torch.testing.assert_close(family.log_partition(theta, temperature), weights.logsumexp(-1))
    marginals = (probabilities @ support).reshape(theta.shape)
    torch.testing.assert_close(family.marginals(theta, temperature), marginals)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("family", "event"), EXACT)
def test_log_prob_and_score_against_enumeration(family, event, batch):
    theta = random_theta(*batch, *event).requires_grad_()
    support, _, probabilities = enumerated(family, theta)
    z = support.reshape(-1, *(1 for _ in batch), *event).expand(-1, *theta.shape)
    log_prob = family.log_prob(theta, z)
    torch.testing.assert_close(log_prob, probabilities.log().movedim(-1, 0))
    score = family.score(theta, z)
    assert not score.requires_grad
    for decision, row in zip(z, score, strict=True):
        (gradient,) = torch.autograd.grad(family.log_prob(theta, decision).sum(), theta)
        torch.testing.assert_close(row, gradient)


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_marginals_are_the_gradient_and_covariance_its_jacobian(family, event):
    theta, temperature = random_theta(*event), 1.7
    support, _, probabilities = enumerated(family, theta, temperature)
    theta.requires_grad_()
    (gradient,) = torch.autograd.grad(family.log_partition(theta, temperature), theta, create_graph=True)
    torch.testing.assert_close(temperature * gradient, family.marginals(theta, temperature))
    mean = probabilities @ support
    covariance = (support * probabilities[:, None]).T @ support - torch.outer(mean, mean)
    size = theta.numel()
    jacobian = torch.autograd.functional.jacobian(lambda t: family.marginals(t, temperature), theta)
    torch.testing.assert_close(temperature * jacobian.reshape(size, size), covariance)
    hessian = torch.autograd.functional.hessian(lambda t: family.log_partition(t, temperature), theta)
    torch.testing.assert_close(temperature**2 * hessian.reshape(size, size), covariance)
    found = family.covariance(theta.detach().expand(2, 1, *event), temperature)
    assert found.shape == (2, 1, *event, *event)
    torch.testing.assert_close(found[1, 0].reshape(size, size), covariance)
    assert not found.requires_grad


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_derivatives_against_finite_differences(family, event):
    theta = random_theta(2, *event).requires_grad_()
    assert gradcheck(family.log_partition, theta)
    assert gradcheck(family.marginals, theta)
    z = family.sample(theta, 2, seeded())
    assert gradcheck(lambda t: family.log_prob(t, z), theta)
    assert gradcheck(family.covariance, theta)


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_samples_have_the_exact_probabilities(family, event):
    num_samples, batch = 8000, (2,)
    theta = random_theta(*batch, *event, seed=1, scale=1.0)
    support, _, probabilities = enumerated(family, theta)
    samples = family.sample(theta, num_samples, seeded(7))
    assert samples.shape == (num_samples, *theta.shape)
    assert not samples.requires_grad
    hits = (samples.reshape(num_samples, *batch, 1, -1) == support).all(-1)
    assert hits.sum(-1).eq(1).all()
    frequencies = hits.double().mean(0)
    deviations = (probabilities * (1 - probabilities) / num_samples).sqrt()
    # Some of the 125 or fewer cells, twice, is off by 5.5 standard errors with probability below 1e-5.
    assert ((frequencies - probabilities).abs() <= 5.5 * deviations + 1e-12).all()


@pytest.mark.parametrize("family", [KSubset(3), Categorical(), Bernoulli(), SpanningTree(10)])
def test_samples_of_many_entries_have_the_right_means(family):
    num_samples = 4000
    theta = random_theta(45, scale=1.0)
    marginals = family.marginals(theta)
    frequencies = family.sample(theta.float(), num_samples, seeded(3)).double().mean(0)
    deviations = (marginals * (1 - marginals) / num_samples).sqrt()
    assert ((frequencies - marginals).abs() < 5.5 * deviations + 1 / num_samples).all()


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_same_generator_state_gives_equal_samples(family, event):
    theta = random_theta(3, *event)
    state = torch.get_rng_state()
    first = family.sample(theta, 5, seeded(2))
    assert torch.equal(first, family.sample(theta, 5, seeded(2)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_rows_do_not_depend_on_their_neighbours(family, event):
    theta = random_theta(3, *event)
    other = theta.clone()
    other[1:] = random_theta(2, *event, seed=5, scale=50.0)
    for method in (family.map, family.marginals, family.log_partition):
        assert torch.equal(method(theta)[0], method(other)[0])
    assert torch.equal(family.sample(theta, 4, seeded())[:, 0], family.sample(other, 4, seeded())[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("family", "event"), EXACT)
def test_dtype_is_kept(family, event, dtype):
    theta = random_theta(2, *event).to(dtype)
    z = family.sample(theta, 3)
    for result in (z, family.map(theta), family.marginals(theta), family.log_partition(theta)):
        assert result.dtype == dtype
    assert family.log_prob(theta, z).dtype == dtype
    assert family.score(theta, z).dtype == dtype
    reference = family.marginals(theta.double())
    epsilon = max(torch.finfo(dtype).eps, 1e-6)
    torch.testing.assert_close(family.marginals(theta).double(), reference, atol=epsilon, rtol=epsilon)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", [KSubset(20), Categorical(), Bernoulli(), SpanningTree(12)])
def test_log_prob_of_the_likeliest_decision_is_not_lost_in_half_precision(family, dtype):
    theta = random_theta(5, 66, scale=20.0).to(dtype)
    z = family.map(theta)
    exact = family.log_prob(theta.double(), z.double())
    assert exact.abs().max() < 8
    torch.testing.assert_close(family.log_prob(theta, z).double(), exact, rtol=0.004, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [0, 1, 5, 9, 10])
def test_subset_logits_of_a_hundred(k, dtype):
    family = KSubset(k)
    theta = torch.tensor([100.0, -100.0, 99.0, 0.0, -99.5, 100.0, -100.0, 3.0, 98.0, -1.0], dtype=dtype)
    theta.requires_grad_()
    support, weights, probabilities = enumerated(family, theta.detach().double())
    # The tables hold numbers up to about 1000, so float32 keeps 1e-4 of their difference.
    tolerance = 1e-3 if dtype == torch.float32 else 1e-10
    log_partition, marginals = family.log_partition(theta), family.marginals(theta)
    torch.testing.assert_close(log_partition.double(), weights.logsumexp(-1), atol=tolerance, rtol=1e-6)
    torch.testing.assert_close(marginals.double(), probabilities @ support, atol=tolerance, rtol=0)
    assert (marginals >= 0).all()
    assert marginals.sum().item() == pytest.approx(k, abs=1e-4)
    (first,) = torch.autograd.grad(log_partition, theta, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.arange(10.0, dtype=dtype)).sum(), theta)
    (through,) = torch.autograd.grad((marginals * torch.arange(10.0, dtype=dtype)).sum(), theta)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    torch.testing.assert_close(through, second, atol=10 * tolerance, rtol=0)
    samples = family.sample(theta, 100, seeded())
    assert (samples.sum(-1) == k).all()


@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_a_common_offset_changes_no_subset_law(offset):
    theta = random_theta(8)
    family = KSubset(3)
    torch.testing.assert_close(family.marginals(theta + offset), family.marginals(theta), atol=1e-9, rtol=0)
    expected = family.log_partition(theta) + 3 * offset
    torch.testing.assert_close(family.log_partition(theta + offset), expected, atol=0, rtol=1e-10)
    half = family.marginals((theta + 100).float()).double()
    torch.testing.assert_close(half, family.marginals(theta), atol=1e-4, rtol=0)


def test_many_entries_in_float32():
    theta = random_theta(2, 300, scale=3.0)
    family = KSubset(40)
    marginals = family.marginals(theta.float())
    torch.testing.assert_close(marginals.double(), family.marginals(theta), atol=1e-3, rtol=0)
    torch.testing.assert_close(marginals.sum(-1), torch.full((2,), 40.0), atol=1e-3, rtol=0)
    assert (family.sample(theta.float(), 5, seeded()).sum(-1) == 40).all()


@pytest.mark.parametrize("classes", [1, 2, 1000])
def test_extreme_logits_of_classes(classes):
    theta = torch.linspace(-1e4, 1e4, classes).repeat(2, 1).requires_grad_()
    family = Categorical()
    assert torch.equal(family.map(theta)[:, -1], torch.ones(2))
    marginals = family.marginals(theta)
    expected = torch.softmax(theta.detach().double(), -1)
    torch.testing.assert_close(marginals.double(), expected, atol=1e-3, rtol=0)
    z = family.sample(theta, 10, seeded())
    assert (z.sum(-1) == 1).all()
    (gradient,) = torch.autograd.grad(family.log_prob(theta, z).sum(), theta)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("family", [KSubset(2), Categorical()])
def test_ties_go_to_the_lower_index(family):
    ones = 2 if isinstance(family, KSubset) else 1
    theta = torch.zeros(3, 50)
    expected = torch.zeros(3, 50)
    expected[:, :ones] = 1
    assert torch.equal(family.map(theta), expected)
    theta[:, 7] = theta[:, 9] = 1.0
    decisions = family.map(theta)
    assert decisions[:, 7].eq(1).all()
    assert decisions[:, 9].eq(ones - 1).all()


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_empty_batch(family, event):
    theta = torch.zeros(0, *event)
    assert family.map(theta).shape == theta.shape
    assert family.marginals(theta).shape == theta.shape
    assert family.log_partition(theta).shape == (0,)
    assert family.sample(theta, 4).shape == (4, *theta.shape)


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_support_lists_every_decision_once(family, event):
    support = family.support(event, dtype=torch.float64)
    assert support.shape[1:] == event
    expected = brute_force_support(family, event)
    assert sorted(support.flatten(1).tolist()) == sorted(expected.flatten(1).tolist())
    assert family.support(event).dtype == torch.get_default_dtype()


def test_support_of_joint_classes_counts_like_digits():
    support = Categorical(event_dim=2).support((2, 3))
    assert support.argmax(-1).tolist() == [[a, b] for a in range(3) for b in range(3)]


@pytest.mark.parametrize(
    ("family", "event"),
    [
        (KSubset(20), (60,)),
        (Categorical(event_dim=2), (30, 4)),
        (Bernoulli(), (64,)),
        (SpanningTree(30), (435,)),
    ],
)
def test_a_huge_support_is_refused(family, event):
    with pytest.raises(InvalidInputError, match="too many to list"):
        family.support(event)


def test_support_of_another_rank_is_refused():
    with pytest.raises(InvalidInputError, match=r"`event_shape` must have 1 dimension"):
        Categorical().support((3, 4))
    for family in (KSubset(2), Bernoulli(), SpanningTree(3)):
        with pytest.raises(InvalidInputError, match=r"`event_shape` must have 1 dimension"):
            family.support((3, 4))


def test_more_ones_than_entries():
    for method in ("map", "sample", "marginals", "log_partition"):
        with pytest.raises(InvalidInputError, match="needs at least 4 entries to choose from, not 3"):
            getattr(KSubset(4), method)(torch.zeros(2, 3))
    with pytest.raises(InvalidInputError, match="needs at least 4 entries"):
        KSubset(4).support((3,))
    with pytest.raises(InvalidInputError, match="`k` must not be negative"):
        KSubset(-1)


def test_classes_need_a_dimension():
    with pytest.raises(InvalidInputError, match="`event_dim` must be at least 1"):
        Categorical(event_dim=0)
    with pytest.raises(InvalidInputError, match="at least one class"):
        Categorical().map(torch.zeros(2, 0))


@pytest.mark.parametrize("family", [KSubset(1), Categorical(), Bernoulli(), SpanningTree(3)])
def test_bad_input(family):
    theta = torch.zeros(2, 3)
    theta[1, 2] = math.nan
    for method in ("map", "sample", "marginals", "log_partition"):
        with pytest.raises(InvalidInputError, match=r"`theta` must be finite: 1 of 6 .* row 1, entry 2"):
            getattr(family, method)(theta)
        with pytest.raises(InvalidInputError, match="`theta` must be floating point"):
            getattr(family, method)(torch.zeros(3, dtype=torch.long))
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="`temperature` must be positive"):
            family.marginals(torch.zeros(3), temperature)
        with pytest.raises(InvalidInputError, match="`temperature` must be positive"):
            family.log_partition(torch.zeros(3), temperature)
    with pytest.raises(InvalidInputError, match="`num_samples` must be at least 1"):
        family.sample(torch.zeros(3), 0)
    with pytest.raises(InvalidInputError, match=r"takes no `instances` \(got 'rhs'\)"):
        family.map(torch.zeros(3), instances={"rhs": [1.0]})


def test_trees_need_nodes_and_edges():
    for n in (1, 0, -3):
        with pytest.raises(InvalidInputError, match="`n` must be at least"):
            SpanningTree(n)
    for method in ("map", "sample", "marginals", "log_partition", "covariance"):
        with pytest.raises(InvalidInputError, match=r"SpanningTree\(n=4\) has 6 edges, not 5"):
            getattr(SpanningTree(4), method)(torch.zeros(2, 5))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_heaviest_tree_is_the_solvers(n):
    family, theta = SpanningTree(n), random_theta(3, 2, n * (n - 1) // 2)
    solver = SpanningTreeSolver(nx.complete_graph(n), sense="max")
    assert torch.equal(family.map(theta), Polytope(solver).map(theta))
    tied = theta.round()
    torch.testing.assert_close((family.map(tied) * tied).sum(-1), (Polytope(solver).map(tied) * tied).sum(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tree_logits_of_a_hundred(dtype):
    # At such logits a Laplacian of weights has no determinant in float32, and its inverse none in float64.
    family = SpanningTree(5)
    theta = torch.tensor([100, -100, 99, 0, -99.5, 100, -100, 3, 98, -1], dtype=dtype).requires_grad_()
    support, weights, probabilities = enumerated(family, theta.detach().double())
    tolerance = 1e-3 if dtype == torch.float32 else 1e-10
    log_partition, marginals = family.log_partition(theta), family.marginals(theta)
    torch.testing.assert_close(log_partition.double(), weights.logsumexp(-1), atol=tolerance, rtol=1e-6)
    torch.testing.assert_close(marginals.double(), probabilities @ support, atol=tolerance, rtol=0)
    (first,) = torch.autograd.grad(log_partition, theta, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.arange(10.0, dtype=dtype)).sum(), theta)
    (through,) = torch.autograd.grad((marginals * torch.arange(10.0, dtype=dtype)).sum(), theta)
    assert torch.isfinite(second).all()
    torch.testing.assert_close(through, second, atol=10 * tolerance, rtol=0)
    trees = {tuple(row) for row in support.tolist()}
    assert all(tuple(row) in trees for row in family.sample(theta, 100, seeded()).tolist())


def test_trees_of_equal_weights_number_n_to_the_n_minus_2():
    """Cayley's formula, and by symmetry each edge is in 2/n of the trees."""
    for n in (2, 3, 12, 60):
        zeros = torch.zeros(n * (n - 1) // 2)
        family = SpanningTree(n)
        assert family.log_partition(zeros).item() == pytest.approx((n - 2) * math.log(n), rel=1e-6)
        torch.testing.assert_close(family.marginals(zeros), torch.full_like(zeros, 2 / n))


@pytest.mark.parametrize(("family", "event"), REPARAMETERIZED)
def test_hardened_and_conditioned_variables(family, event):
    """zeta has its law whether it is drawn at once, or z first and zeta given z; and it hardens to z."""
    draws = 20_000
    theta = random_theta(*event, scale=1.0)
    zeta = family.rsample(theta, draws, seeded(1))
    z = family.harden(zeta)
    assert z.shape == zeta.shape == (draws, *event)
    again = family.rsample_given(theta, z, seeded(2))
    assert torch.equal(family.harden(again), z)
    rows = [tuple(row) for row in brute_force_support(family, event).flatten(1).tolist()]
    assert all(tuple(row) in rows for row in z[:50].flatten(1).tolist())
    # A row of the zeta of each entry: the two samples are independent given z, of equal conditional laws.
    frequencies, probabilities = z.mean(0), family.marginals(theta)
    deviations = (probabilities * (1 - probabilities) / draws).sqrt()
    assert ((frequencies - probabilities).abs() <= 5 * deviations + 1e-12).all()
    for here, there, chosen in zip(zeta.flatten(1).T, again.flatten(1).T, z.flatten(1).T.bool(), strict=True):
        for mask in (chosen, ~chosen):
            if mask.sum() > 100:
                assert stats.ks_2samp(here[mask].numpy(), there[mask].numpy()).pvalue > 1e-5


@pytest.mark.parametrize(("family", "event"), REPARAMETERIZED)
def test_conditioning_moves_the_law_as_theta_does(family, event):
    """E over z and zeta given z of h(zeta), differentiated, against finite differences of its own mean."""
    theta = random_theta(*event).requires_grad_()
    z = family.sample(theta, 3, seeded())
    assert gradcheck(lambda t: family.rsample(t, 3, seeded(5)), theta)
    assert gradcheck(lambda t: family.rsample_given(t, z, seeded(5)), theta)


@pytest.mark.parametrize("family", [Bernoulli(), Categorical()])
def test_extreme_logits_of_reparameterised_variables(family):
    theta = torch.tensor([100.0, -100.0, 99.0, -40.0, 0.0]).repeat(200, 1).requires_grad_()
    for z in (family.sample(theta, 3, seeded()), family.support((5,))[:, None].expand(-1, 200, -1)):
        zeta = family.rsample_given(theta, z, seeded(1))
        assert zeta.isfinite().all()
        (slope,) = torch.autograd.grad(family.relax(zeta, 0.1).sum(), theta)
        assert slope.isfinite().all()
    assert torch.equal(family.harden(family.rsample_given(theta, z, seeded(1))), z)


def test_reparameterised_variables_soften():
    zeta = random_theta(4, 3)
    for family in (Bernoulli(), Categorical()):
        torch.testing.assert_close(family.relax(zeta, 1e-3), family.harden(zeta))
        assert ((family.relax(zeta, 3.0) > 0) & (family.relax(zeta, 3.0) < 1)).all()
        with pytest.raises(InvalidInputError, match=r"`z` must have the shape of `theta`, \(4, 3\)"):
            family.rsample_given(zeta, zeta[:2])


def two_corners(sense: str) -> FunctionSolver:
    """Choose one of three entries of a (1, 3) array; asymmetric, and blind to autograd."""

    def choose(costs):
        decision = np.zeros((1, 3))
        decision[0, costs.argmax() if sense == "max" else costs.argmin()] = 1
        return decision

    return FunctionSolver(choose, (1, 3), sense)


@pytest.mark.parametrize("sense", ["min", "max"])
def test_polytope_maximises_theta_in_either_sense(sense):
    family = Polytope(two_corners(sense))
    theta = random_theta(4, 2, 1, 3).float()
    decisions = family.map(theta.requires_grad_())
    assert decisions.dtype == torch.float32
    assert not decisions.requires_grad
    torch.testing.assert_close((decisions * theta).sum((-1, -2)), theta.amax((-1, -2)))
    assert family.event_dim == 2
    assert family.sign == (1.0 if sense == "max" else -1.0)
    costs = family.sign * theta.detach().double().numpy()
    np.testing.assert_array_equal(decisions.numpy(), family.solver.solve(costs).decisions)


def test_polytope_checks_the_shape():
    family = Polytope(two_corners("min"))
    with pytest.raises(InvalidInputError, match=r"`theta` must have shape \(\*batch, 1, 3\), not \(2, 3\)"):
        family.map(torch.zeros(2, 3))
    with pytest.raises(InvalidInputError, match="must be a Solver, not str"):
        Polytope("model.mps")
    assert repr(family) == "Polytope(FunctionSolver, shape=(1, 3), sense=min)"


def test_capabilities_are_structural():
    polytope = Polytope(two_corners("min"))
    assert isinstance(polytope, MAPOracle)
    for capability in (ExactSampler, Marginals, Enumerable):
        assert not isinstance(polytope, capability)
        for family in (KSubset(2), Categorical(), Bernoulli(), SpanningTree(4)):
            assert isinstance(family, capability)
            assert isinstance(family, Sampler)
    for family in (KSubset(2), SpanningTree(4)):
        assert not isinstance(family, Reparameterized)
    assert not isinstance(two_corners("min"), MAPOracle)


def test_as_family():
    solver = two_corners("max")
    family = as_family(solver)
    assert isinstance(family, Polytope)
    assert family.solver is solver
    subset = KSubset(2)
    assert as_family(subset) is subset
    with pytest.raises(InvalidInputError, match=r"not int: wrap a model with `wrap\(model\)`"):
        as_family(3)


@pytest.mark.parametrize(
    ("capability", "missing"),
    [(ExactSampler, "exact sampling"), (Marginals, "exact marginals"), (Enumerable, "enumeration")],
)
def test_a_missing_capability_is_named(capability, missing):
    subset = KSubset(2)
    assert require(subset, capability, "Reinforce") is subset
    with pytest.raises(MissingCapabilityError) as caught:
        require(Polytope(two_corners("min")), capability, "Reinforce")
    message = str(caught.value)
    assert message.startswith(f"`Reinforce` needs {missing}")
    listed = "KSubset, Categorical, Bernoulli, SpanningTree"
    for part in ("Polytope(FunctionSolver", listed, "What works with this one: IMLE, BlackBox"):
        assert part in message
    assert isinstance(caught.value, TypeError)


def test_what_is_no_family_at_all_is_named_too():
    with pytest.raises(MissingCapabilityError, match=r"needs a MAP oracle .*which 3 does not have"):
        require(3, MAPOracle, "IMLE")


def test_every_layer_and_loss_on_families_is_in_the_table():
    takes_families = set(imle_opt.layers.__all__) - {"BatchReduction", "Draw", "Layer"}
    # Losses of decisions, wrappers of targets, and one that asks for a linear model, not for a family.
    others = {"CaVE", "HammingLoss", "RegretLoss", "SolvedTarget"}
    takes_families |= set(imle_opt.losses.__all__) - others
    assert takes_families <= set(METHODS)


def test_what_is_applicable():
    solver = two_corners("min")
    assert applicable(solver) == applicable(Polytope(solver))
    assert "IMLE" in applicable(solver)
    for family in (KSubset(2), Bernoulli(), Categorical(), SpanningTree(3)):
        assert set(applicable(solver)) <= set(applicable(family))
    with pytest.raises(InvalidInputError, match="expected a solver or a family"):
        applicable("KSubset")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("family", "event"), EXACT)
def test_on_cuda(family, event):
    theta = random_theta(3, *event)
    device = theta.cuda()
    generator = torch.Generator("cuda").manual_seed(0)
    z = family.sample(device, 4, generator)
    support = family.support(event, device="cuda")
    for result in (z, support, family.map(device), family.score(device, z), family.log_prob(device, z)):
        assert result.device.type == "cuda"
    assert torch.equal(family.map(device).cpu(), family.map(theta))
    torch.testing.assert_close(family.marginals(device).cpu(), family.marginals(theta))
    torch.testing.assert_close(family.log_partition(device).cpu(), family.log_partition(theta))
    assert torch.equal(z, family.sample(device, 4, torch.Generator("cuda").manual_seed(0)))
