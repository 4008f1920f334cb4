from __future__ import annotations

import math

import pytest
import torch

import imle_opt.estimators
from cases_estimators import (
    CASES,
    FAMILIES,
    IDS,
    LARGEST_Z,
    REPLICATES,
    ROWS,
    gradients_of,
    rows,
    smooth,
    theta_of,
)
from imle_opt.diagnostics import gradient_stats
from imle_opt.estimators import (
    AR,
    ARM,
    ARS,
    ARSM,
    DisARM,
    Enumerate,
    MovingAverage,
    Rebar,
    Reinforce,
    Relax,
    pathwise,
)
from imle_opt.expectations import estimate, expectation
from imle_opt.families import Bernoulli, Categorical, SpanningTree, applicable
from imle_opt.families.capabilities import METHODS
from imle_opt.layers import StraightThrough
from imle_opt.noise import Gumbel, Logistic
from imle_opt_solvers.errors import InvalidInputError, MissingCapabilityError
from opaque import generator, gradient, opaque

every_row = pytest.mark.parametrize(("case", "name"), ROWS, ids=IDS)


def setup(case, name, *batch, **options):
    family, event = FAMILIES[name]
    return case.make(event), smooth(event), theta_of(event, *batch, **options), family


@every_row
def test_the_mean_gradient_is_the_exact_one(case, name):
    estimator, f, theta, family = setup(case, name)
    stats = gradient_stats(estimator, f, theta, family, REPLICATES, generator=generator(11))
    assert stats.exact.abs().max() > 0.05
    assert stats.largest_z < LARGEST_Z, stats
    assert stats.evaluations <= case.evaluations


@every_row
def test_the_mean_value_is_the_exact_one(case, name):
    estimator, f, theta, family = setup(case, name)
    exact = expectation(f, theta, family, Enumerate())
    values = expectation(f, theta.expand(REPLICATES, *theta.shape), family, estimator, generator=generator(5))
    with_gradient = theta.expand(REPLICATES, *theta.shape).clone().requires_grad_()
    again = expectation(f, with_gradient, family, estimator, generator=generator(6)).detach()
    for drawn in (values, again):
        error = drawn.std() / math.sqrt(REPLICATES)
        assert (drawn.mean() - exact).abs() <= LARGEST_Z * error + 1e-12


@every_row
@pytest.mark.parametrize("batch", [(), (3, 2), (0,)])
def test_shapes_and_calls_of_f(case, name, batch):
    """One call at the samples, and one more where the gradient needs f at other points too."""
    estimator, f, theta, family = setup(case, name, *batch)
    shapes = []

    def recorded(z):
        shapes.append(z.shape)
        return f(z)

    theta.requires_grad_()
    value = expectation(recorded, theta, family, estimator, generator=generator())
    assert value.shape == batch
    value.sum().backward()
    assert theta.grad.shape == theta.shape
    assert theta.grad.isfinite().all()
    assert len(shapes) == (
        2 if case.samples < case.evaluations and (value.numel() or case.differentiates) else 1
    )
    assert all(shape[1:] == theta.shape for shape in shapes)
    assert shapes[0][0] == case.samples or case.name == "enumerate"


@every_row
def test_the_generator_decides_and_global_state_does_not(case, name):
    estimator, f, theta, family = setup(case, name, 3)
    estimator = estimator.eval() if isinstance(estimator, torch.nn.Module) else estimator

    def run(seed):
        return gradient(
            lambda t: expectation(f, t, family, estimator, generator=generator(seed)).sum(), theta
        )

    state = torch.get_rng_state()
    first = run(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(run(1), first)
    assert case.name == "enumerate" or not torch.equal(run(2), first)


@every_row
def test_large_logits_in_single_precision(case, name):
    estimator, f, theta, family = setup(case, name, 50, dtype=torch.float32, scale=1.0)
    theta = 100 * theta.sign()
    if isinstance(family, SpanningTree):
        theta = theta * torch.linspace(0.5, 1, 6)
    result = estimate(f, theta.requires_grad_(), family, estimator, generator=generator())
    result.value.sum().backward()
    assert result.value.isfinite().all()
    assert theta.grad.isfinite().all()
    if result.variance_loss is not None:
        result.variance_loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in estimator.parameters())


@every_row
def test_ties(case, name):
    estimator, f, theta, family = setup(case, name, 20)
    found = gradient(
        lambda t: expectation(f, t, family, estimator, generator=generator()).sum(), torch.zeros_like(theta)
    )
    assert found.isfinite().all()


@every_row
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward-backward"])
def test_under_autocast_only_f_is_less_precise(case, name, backward):
    estimator, _, theta, family = setup(case, name, 4, dtype=torch.float32)
    event = FAMILIES[name][1]
    # Products of these weights are exact in bfloat16.
    weights = torch.tensor([1.0, 2.0, -1.0, 0.5, 4.0, -2.0])[: torch.Size(event).numel()]

    def f(z):
        return (z.flatten(z.ndim - len(event)) @ weights[:, None]).squeeze(-1)

    def run(enabled):
        leaf = theta.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = expectation(f, leaf, family, estimator, generator=generator())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled and backward):
            value.sum().backward()
        return leaf.grad

    estimator = estimator.eval() if isinstance(estimator, torch.nn.Module) else estimator
    expected, found = run(False), run(True)
    assert found.dtype == torch.float32
    if case.differentiates:  # relaxed decisions are not exact in bfloat16
        assert found.isfinite().all()
        return
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@every_row
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(case, name, dtype):
    estimator, f, theta, family = setup(case, name, 4, dtype=dtype)
    theta.requires_grad_()
    seen = []
    expectation(lambda z: seen.append(z.dtype) or f(z), theta, family, estimator).sum().backward()
    assert set(seen) == {dtype}
    assert theta.grad.dtype == dtype
    assert theta.grad.isfinite().all()


@every_row
def test_a_constant_has_no_gradient_where_it_is_compared(case, name):
    """Estimators that compare values of f give exactly zero where f is constant."""
    estimator, _, theta, family = setup(case, name, 5)
    if case.name in ("leave-one-out", "arm", "disarm", "ars", "ars-pivot", "arsm"):
        dim = family.event_dim

        def constant(z):
            return torch.full(z.shape[: z.ndim - dim], 0.1, dtype=z.dtype)

        found = gradient(lambda t: expectation(constant, t, family, estimator).sum(), theta)
        assert found.abs().max() <= 1e-16
    zero = gradient(lambda t: 0 * expectation(smooth(theta.shape[1:]), t, family, estimator).sum(), theta)
    assert torch.equal(zero, torch.zeros_like(theta))


@every_row
def test_f_learns_from_the_samples_only(case, name):
    """The parameters of f get the gradient of the value: points that are no samples are not in its graph."""
    estimator, _, theta, family = setup(case, name, 6)
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    dims = tuple(range(-family.event_dim, 0))
    size = torch.Size(theta.shape[1:]).numel()
    code = torch.linspace(0.3, 2.0, size, dtype=torch.float64).reshape(theta.shape[1:])
    passed, called, graphs = [], [], []

    def f(z):
        values = weight * (z * code).sum(dims)
        called.append(values.detach())
        if values.requires_grad:
            graphs.append(len(values))
            values.register_hook(lambda grad: passed.append(len(grad)))
        return values

    result = estimate(f, theta.requires_grad_(), family, estimator, generator=generator())
    passed.clear()
    result.value.sum().backward()
    samples = len(family.support(theta.shape[1:])) if case.name == "enumerate" else case.samples
    assert sum(passed) == samples
    assert sum(graphs) == samples + (2 * samples if case.differentiates else 0)
    if case.name != "enumerate":  # both of a pair, and no choice after a swap
        torch.testing.assert_close(result.value, called[0].mean(0))
    # Linear in the weight: its gradient is the value over the weight.
    torch.testing.assert_close(weight.grad * 0.7, result.value.sum().detach())
    if result.variance_loss is not None:
        before, there = weight.grad.clone(), theta.grad.clone()
        result.variance_loss.backward()
        assert torch.equal(weight.grad, before)
        assert torch.equal(theta.grad, there)
        tuned = [p.grad for p in estimator.parameters() if p.grad is not None]
        assert any(g.abs().max() > 0 for g in tuned)


@pytest.mark.parametrize("estimator", [ARS(), ARSM()], ids=["ARS", "ARSM"])
def test_f_learns_under_autocast_though_it_is_called_again_without_a_graph(estimator):
    network = torch.nn.Linear(12, 1)
    seen = []

    def f(z):
        seen.append(z)
        return network(z.flatten(-2))[..., 0]

    theta = torch.zeros(1, 3, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = expectation(f, theta, Categorical(event_dim=2), estimator, generator=generator())
    value.sum().backward()
    assert len(seen) == 2
    assert torch.equal(network.weight.grad, seen[0].flatten(-2)[0])


@every_row
def test_what_f_learns_is_unbiased(case, name):
    """A parameter of f for each replicate, against enumeration."""
    estimator, f, theta, family = setup(case, name)
    weight = torch.full((REPLICATES,), 0.7, dtype=torch.float64, requires_grad=True)
    many = theta.expand(REPLICATES, *theta.shape).clone().requires_grad_()
    value = expectation(lambda z: torch.cos(weight * f(z)), many, family, estimator, generator=generator(12))
    (found,) = torch.autograd.grad(value.sum(), weight)
    exact = gradient(
        lambda w: expectation(lambda z: torch.cos(w * f(z)), theta, family, Enumerate()), weight.detach()[0]
    )
    assert exact.abs() > 0.02
    assert (found.mean() - exact).abs() <= LARGEST_Z * found.std() / math.sqrt(REPLICATES) + 1e-12


@pytest.mark.parametrize("estimator", [ARS(pivot=1), ARSM()], ids=["ars", "arsm"])
def test_what_f_has_no_slope_at_spoils_nothing_unless_it_is_drawn(estimator):
    """0 times the infinite slope of a choice that was only compared with would be NaN."""
    theta = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64).expand(200, 3).clone().requires_grad_()
    weight = torch.ones(200, dtype=torch.float64, requires_grad=True)
    calls = []

    def f(z):
        calls.append(z)
        return torch.sqrt(weight * (z * torch.arange(3.0, dtype=z.dtype)).sum(-1))

    expectation(f, theta, Categorical(), estimator, generator=generator()).sum().backward()
    drawn = calls[0][0, :, 0] == 1
    assert 0 < drawn.sum() < (calls[1][..., 0] == 1).any(0).sum()
    assert torch.equal(weight.grad.isnan(), drawn)
    assert theta.grad.isfinite().all()


@every_row
def test_what_f_does_with_theta_itself_is_differentiated_too(case, name):
    estimator, _, theta, family = setup(case, name, 3)
    dims = tuple(range(-family.event_dim, 0))

    def f(z, t):
        return (0 * z).sum(dims) + t.square().sum(dims)

    seed = generator(4).get_state()
    plain = gradient(
        lambda t: expectation(lambda z: f(z, theta), t, family, estimator, generator=state(seed)).sum(), theta
    )
    if isinstance(estimator, torch.nn.Module) and case.name == "moving-average":
        estimator = case.make(theta.shape[1:])
    both = gradient(
        lambda t: expectation(lambda z: f(z, t), t, family, estimator, generator=state(seed)).sum(), theta
    )
    torch.testing.assert_close(both, plain + 2 * theta)


def state(saved):
    source = torch.Generator()
    source.set_state(saved)
    return source


@every_row
def test_integers_will_do(case, name):
    estimator, _, theta, family = setup(case, name, 3)
    if case.differentiates:
        return
    dims = tuple(range(-family.event_dim, 0))
    found = gradient(
        lambda t: expectation(lambda z: (z.long() * 3).sum(dims), t, family, estimator).sum(), theta
    )
    assert found.isfinite().all()


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_applicable_works_and_the_rest_says_why(name):
    family, event = FAMILIES[name]
    theta = theta_of(event, 2).requires_grad_()
    names = {"reinforce": "Reinforce", "rebar": "Rebar", "relax": "Relax", "disarm": "DisARM"}
    for case in CASES:
        method = names.get(case.name, type(case.make(event)).__name__)
        if method in applicable(family):
            expectation(smooth(event), theta, family, case.make(event))
        else:
            with pytest.raises(MissingCapabilityError, match=f"`{method}` needs .* What works with this one"):
                expectation(smooth(event), theta, family, case.make(event))


def test_a_solver_has_optima_only():
    solver = opaque("max")
    theta = theta_of((5,), 2).requires_grad_()
    for case in CASES:
        method = type(case.make((5,))).__name__
        assert method not in applicable(solver)
        with pytest.raises(MissingCapabilityError, match=f"`{method}` needs"):
            expectation(smooth((5,)), theta, solver, case.make((5,)))


def test_every_estimator_has_rows_and_is_in_the_table():
    public = set(imle_opt.estimators.__all__) - {
        "Estimate",
        "Estimator",
        "Values",
        "Pathwise",
        "MovingAverage",
    }
    assert public <= set(METHODS)
    assert public - {"pathwise"} == {type(case.make((3,))).__name__ for case in CASES}


# Lifts.


def test_straight_through_lifts_on_exact_samples():
    """On a linear f, the mean of the identity rule is the slope itself; the value is exact in the mean."""
    theta = theta_of((3,)).expand(REPLICATES, 3)
    weights = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    for family, noise in ((Bernoulli(), Logistic()), (Categorical(), Gumbel())):
        estimator = pathwise(StraightThrough(family, noise=noise))
        found = gradient(
            lambda t, family=family, estimator=estimator: expectation(
                lambda z: z @ weights, t, family, estimator, generator=generator()
            ).sum(),
            theta,
        )
        torch.testing.assert_close(found, weights.expand_as(found))
        values = expectation(lambda z: z @ weights, theta, family, estimator, generator=generator())
        exact = family.marginals(theta[0]) @ weights
        assert (values.mean() - exact).abs() < LARGEST_Z * values.std() / math.sqrt(REPLICATES)


# Wrong input.


def test_bad_options_are_refused_by_name():
    for make in (Reinforce, ARM, DisARM, AR, ARS, ARSM, Rebar):
        with pytest.raises(InvalidInputError, match="`num_samples` must be"):
            make(0)
    with pytest.raises(InvalidInputError, match="needs `num_samples` of at least 2"):
        Reinforce(1)
    with pytest.raises(InvalidInputError, match=r"`baseline` must be one of .* not 'ema'"):
        Reinforce(2, "ema")
    with pytest.raises(InvalidInputError, match="`decay` must be between 0 and 1"):
        MovingAverage(1.0)
    with pytest.raises(InvalidInputError, match="`temperature` must be positive"):
        Rebar(temperature=0.0)
    with pytest.raises(InvalidInputError, match="`eta` must be finite"):
        Rebar(eta=math.nan)
    with pytest.raises(InvalidInputError, match="`surrogate` must be a Module"):
        Relax(torch.tanh)
    with pytest.raises(InvalidInputError, match="`pivot` must be a class"):
        ARS(pivot=-1)
    with pytest.raises(InvalidInputError, match="`pivot` is 4, and there are 4 classes"):
        gradients_of(ARS(pivot=4), smooth((4,)), rows((4,)), Categorical())


@every_row
def test_wrong_values_and_instances_are_refused(case, name):
    estimator, f, theta, family = setup(case, name, 3)
    theta.requires_grad_()
    with pytest.raises(InvalidInputError, match=r"`f` must return one value per sample and row"):
        expectation(lambda z: f(z).sum(), theta, family, estimator)
    with pytest.raises(InvalidInputError, match=r"takes no `instances` \(got 'rhs'\)"):
        expectation(f, theta, family, estimator, instances={"rhs": [1.0, 2.0, 3.0]})
    if case.differentiates:
        weight = torch.ones((), requires_grad=True)  # with it the values have a graph, but not of z
        for detached in (lambda z: f(z.detach()), lambda z: weight * f(z.detach())):
            with pytest.raises(InvalidInputError, match="`f` must be differentiable at relaxed decisions"):
                expectation(detached, theta, family, estimator)


def test_wrong_networks_are_refused():
    theta = theta_of((3,), 2).requires_grad_()
    f = smooth((3,))
    with pytest.raises(InvalidInputError, match=r"`baseline` must return one value per row, \(2,\)"):
        expectation(f, theta, Bernoulli(), Reinforce(1, torch.nn.Linear(3, 1, dtype=torch.float64)))
    with pytest.raises(InvalidInputError, match=r"`surrogate` must return one value per sample"):
        expectation(f, theta, Bernoulli(), Relax(torch.nn.Linear(3, 1, dtype=torch.float64)))
    with pytest.raises(InvalidInputError, match="`estimator` is the class ARM: call it"):
        expectation(f, theta, Bernoulli(), ARM)
