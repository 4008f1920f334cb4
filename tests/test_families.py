from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from imle_opt.families import (
    Categorical,
    Enumerable,
    ExactSampler,
    KSubset,
    MAPOracle,
    Marginals,
    Polytope,
    as_family,
    require,
)
from imle_opt_solvers import FunctionSolver
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError

BATCHES = [(), (3, 2)]
EXACT = [
    pytest.param(KSubset(0), (4,), id="0-of-4"),
    pytest.param(KSubset(1), (1,), id="1-of-1"),
    pytest.param(KSubset(2), (5,), id="2-of-5"),
    pytest.param(KSubset(4), (6,), id="4-of-6"),
    pytest.param(KSubset(5), (5,), id="5-of-5"),
    pytest.param(Categorical(), (2,), id="2-classes"),
    pytest.param(Categorical(), (5,), id="5-classes"),
    pytest.param(Categorical(event_dim=2), (3, 4), id="3-variables"),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_theta(*shape: int, seed: int = 0, scale: float = 1.5) -> torch.Tensor:
    return scale * torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def brute_force_support(family, event):
    """Every 0/1 array of the shape that satisfies the definition of the family."""
    arrays = np.array(list(itertools.product((0.0, 1.0), repeat=math.prod(event)))).reshape(-1, *event)
    if isinstance(family, KSubset):
        keep = arrays.sum(-1) == family.k
    else:
        keep = (arrays.sum(-1) == 1).reshape(len(arrays), -1).all(-1)
    return torch.from_numpy(arrays[keep])


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


@pytest.mark.parametrize(("family", "event"), EXACT)
def test_derivatives_against_finite_differences(family, event):
    theta = random_theta(2, *event).requires_grad_()
    assert gradcheck(family.log_partition, theta)
    assert gradcheck(family.marginals, theta)
    z = family.sample(theta, 2, seeded())
    assert gradcheck(lambda t: family.log_prob(t, z), theta)


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
    # Some of the 64 or fewer cells is off by 5.5 standard errors with probability below 3e-6.
    assert ((frequencies - probabilities).abs() <= 5.5 * deviations + 1e-12).all()


@pytest.mark.parametrize("family", [KSubset(3), Categorical()])
def test_samples_of_many_entries_have_the_right_means(family):
    num_samples = 4000
    theta = random_theta(40, scale=1.0)
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
@pytest.mark.parametrize("family", [KSubset(20), Categorical()])
def test_log_prob_of_the_likeliest_decision_is_not_lost_in_half_precision(family, dtype):
    theta = random_theta(5, 60, scale=20.0).to(dtype)
    z = family.map(theta)
    exact = family.log_prob(theta.double(), z.double())
    assert exact.abs().max() < 5
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


@pytest.mark.parametrize(("family", "event"), [(KSubset(20), (60,)), (Categorical(event_dim=2), (30, 4))])
def test_a_huge_support_is_refused(family, event):
    with pytest.raises(InvalidInputError, match="too many to list"):
        family.support(event)


def test_support_of_another_rank_is_refused():
    with pytest.raises(InvalidInputError, match=r"`event_shape` must have 1 dimension"):
        Categorical().support((3, 4))
    with pytest.raises(InvalidInputError, match=r"`event_shape` must have 1 dimension"):
        KSubset(2).support((3, 4))


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


@pytest.mark.parametrize("family", [KSubset(1), Categorical()])
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
        for family in (KSubset(2), Categorical()):
            assert isinstance(family, capability)
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
    for part in ("Polytope(FunctionSolver", "KSubset, Categorical", "What works with this one: IMLE"):
        assert part in message
    assert isinstance(caught.value, TypeError)


def test_what_is_no_family_at_all_is_named_too():
    with pytest.raises(MissingCapabilityError, match=r"needs a MAP oracle .*which 3 does not have"):
        require(3, MAPOracle, "IMLE")


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
