"""SparseMAP, regularised Frank-Wolfe and regularised Fenchel-Young losses, against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import linear_models as models
from imle_opt.families import Categorical, KSubset
from imle_opt.layers import RegularizedFrankWolfe, SparseMAP
from imle_opt.losses import ExplicitMLE, FenchelYoung
from imle_opt.noise import Gumbel, Multiplicative, Normal
from imle_opt.regularized import BinaryEntropy, HalfSquaredNorm, NegativeEntropy, regularized_maximum
from imle_opt.regularized.active_set import _Line
from imle_opt.regularized.combination import ConvexCombination
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.errors import InvalidInputError
from opaque import DECISIONS, SENSES, Recorder, best, generator, gradient, normal, opaque, sign_of

senses = pytest.mark.parametrize("sense", SENSES)
TABLE = torch.as_tensor(DECISIONS)
CUBE = np.array(list(itertools.product([0, 1], repeat=4)))
REGULARIZERS = [HalfSquaredNorm(0.7), NegativeEntropy(0.7), BinaryEntropy(0.7)]
regularizers = pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda omega: type(omega).__name__)


def layer_of(solver, regularizer):
    if isinstance(regularizer, HalfSquaredNorm):
        return SparseMAP(solver, regularizer.temperature)
    return RegularizedFrankWolfe(solver, regularizer)


def root(function, low, high):
    """Return where an increasing function of (rows, 1) is zero, by bisection."""
    low, high = torch.full_like(function(0.0), low), torch.full_like(function(0.0), high)
    for _ in range(100):
        middle = (low + high) / 2
        above = function(middle) > 0
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low


def capped_simplex(theta, k, link):
    """Return link(theta + nu) with nu such that entries sum to k."""
    nu = root(lambda nu: link(theta + nu).sum(-1, keepdim=True) - k, -300.0, 300.0)
    return link(theta + nu)


CLOSED_FORMS = {
    "sparsemax": (
        Categorical(),
        HalfSquaredNorm(0.7),
        lambda theta: capped_simplex(theta / 0.7, 1, lambda x: x.clamp(min=0)),
    ),
    "capped simplex": (
        KSubset(3),
        HalfSquaredNorm(0.7),
        lambda theta: capped_simplex(theta / 0.7, 3, lambda x: x.clamp(0, 1)),
    ),
    "softmax": (Categorical(), NegativeEntropy(0.7), lambda theta: torch.softmax(theta / 0.7, -1)),
    "LML": (
        KSubset(3),
        BinaryEntropy(0.7),
        lambda theta: capped_simplex(theta / 0.7, 3, torch.sigmoid),
    ),
    "sigmoid": (opaque("max", CUBE), BinaryEntropy(0.7), lambda theta: torch.sigmoid(theta / 0.7)),
    "clipping": (opaque("max", CUBE), HalfSquaredNorm(0.7), lambda theta: (theta / 0.7).clamp(0, 1)),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name):
    solver, regularizer, expected = CLOSED_FORMS[name]
    theta = 2 * normal(40, 4 if solver is not Categorical() and "opaque" in repr(solver) else 8)
    if name in ("sigmoid", "clipping"):
        theta = theta[:, :4]
    layer = layer_of(solver, regularizer)
    torch.testing.assert_close(layer(theta)[0], expected(theta), atol=1e-7, rtol=0)
    torch.testing.assert_close(
        gradient(lambda c: (normal(40, theta.shape[-1], seed=1) * layer(c)[0]).sum(), theta),
        gradient(lambda c: (normal(40, theta.shape[-1], seed=1) * expected_of(name, c)).sum(), theta),
        atol=1e-5,
        rtol=1e-5,
    )


def expected_of(name, theta):
    """Return the closed form with its derivative: that of nu by the implicit function theorem."""
    solver, _, closed = CLOSED_FORMS[name]
    if name in ("softmax", "sigmoid", "clipping"):
        return closed(theta)
    k = 1 if isinstance(solver, Categorical) else 3
    link = {"sparsemax": lambda x: x.clamp(min=0), "capped simplex": lambda x: x.clamp(0, 1)}.get(
        name, torch.sigmoid
    )
    scaled = theta / 0.7
    with torch.no_grad():
        nu = root(lambda nu: link(scaled + nu).sum(-1, keepdim=True) - k, -50.0, 50.0)
    point = (scaled + nu).detach().requires_grad_()
    (slope,) = torch.autograd.grad(link(point).sum(), point)
    # d nu = -<slope, d scaled> / sum of slopes
    moving = nu - (slope * (scaled - scaled.detach())).sum(-1, keepdim=True) / slope.sum(-1, keepdim=True)
    return link(scaled + moving)


@regularizers
@senses
def test_no_decision_improves_on_the_optimum(regularizer, sense):
    theta = 2 * normal(60, 5)
    layer = layer_of(opaque(sense), regularizer)
    mu = layer(sign_of(sense) * theta)[0]
    slope = theta - regularizer.gradient(mu)
    gap = (slope @ TABLE.T).amax(-1) - (slope * mu).sum(-1)
    assert gap.max() < 1e-7 * (1 + theta.abs().max())
    # Not at a vertex throughout, or the test says little; and inside the hull of the decisions.
    assert ((mu - best(theta)).abs().amax(-1) > 0.01).sum() > 20
    normals = normal(50, 5, seed=3)
    assert ((mu @ normals.T) <= (TABLE @ normals.T).amax(0) + 1e-9).all()


@regularizers
@pytest.mark.parametrize("tolerance", [1e-2, 1e-6, 1e-10])
def test_the_gap_is_within_the_tolerance_that_was_asked_for(regularizer, tolerance):
    theta = 2 * normal(100, 10)
    family = KSubset(4)
    optimum = regularized_maximum(theta, family, regularizer, tolerance=tolerance, max_iterations=1000)
    slope = theta - regularizer.gradient(optimum.points)
    gap = (slope * (family.map(slope) - optimum.points)).sum(-1)
    assert (gap <= tolerance * (1 + theta.abs().amax(-1)) + 1e-13).all()


@regularizers
@senses
def test_the_gradient_matches_finite_differences(regularizer, sense):
    layer, step = layer_of(opaque(sense), regularizer), 1e-5
    costs, weight = normal(6, 5), normal(6, 5, seed=1)

    found = gradient(lambda c: (weight * layer(c)[0]).sum(), costs)
    assert found.count_nonzero() > 10
    shifts = step * torch.eye(5, dtype=torch.float64)[:, None]  # one entry at a time, in all rows at once
    values = [(weight * layer(costs + shift)[0]).sum(-1) for shift in (shifts, -shifts)]
    torch.testing.assert_close(found, (values[0] - values[1]).T / (2 * step), atol=2e-4, rtol=0)


@regularizers
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_shapes_modes_and_dtypes(regularizer, batch):
    layer = layer_of(opaque(), regularizer)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        costs = normal(*batch, 5).to(dtype).requires_grad_()
        samples = layer.train()(costs)
        assert samples.shape == (1, *batch, 5)
        assert samples.dtype == dtype
        samples.square().sum().backward()
        assert costs.grad.dtype == dtype
        assert costs.grad.isfinite().all()
        assert torch.equal(layer.eval()(costs), best(-costs.detach().double()).to(dtype))


def test_decisions_of_any_rank():
    shaped = opaque("max", DECISIONS[:, :4].reshape(7, 2, 2))
    theta = normal(5, 2, 2)
    flat = SparseMAP(opaque("max", DECISIONS[:, :4]))(theta.reshape(5, 4))
    torch.testing.assert_close(SparseMAP(shaped)(theta).reshape(1, 5, 4), flat)


def test_scale_and_large_numbers():
    theta = normal(20, 8)
    layer = SparseMAP(KSubset(3))
    torch.testing.assert_close(SparseMAP(KSubset(3), 1e6)(1e6 * theta), layer(theta))
    assert torch.equal(layer(1e6 * theta)[0], KSubset(3).map(theta))
    even = layer(torch.full((1, 8), 5.0, dtype=torch.float64))
    torch.testing.assert_close(even, torch.full((1, 1, 8), 3 / 8, dtype=torch.float64))


def test_a_row_does_not_depend_on_its_neighbours():
    theta = normal(6, 5) * torch.logspace(-3, 3, 6, dtype=torch.float64)[:, None]
    layer = SparseMAP(opaque("max"))
    together = layer(theta)
    for row in range(6):
        torch.testing.assert_close(layer(theta[row : row + 1])[0, 0], together[0, row], rtol=0, atol=1e-9)


def test_instances_reach_every_solve_and_rows_without_a_decision_are_nan():
    solver = Recorder("max", on_failure="nan")
    allowed = torch.ones(4, 7)
    allowed[1] = 0
    allowed[2, 3:] = 0
    costs = normal(4, 5).requires_grad_()
    mu = SparseMAP(solver)(costs, instances={"allowed": allowed})[0]
    assert mu.isnan().all(-1).tolist() == [False, True, False, False]
    restricted = SparseMAP(opaque("max", DECISIONS[:3]))(costs.detach()[2:3])[0, 0]
    torch.testing.assert_close(mu[2].detach(), restricted)
    mu.nansum().backward()
    assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))
    assert costs.grad.isfinite().all()


@senses
def test_fixed_costs_of_the_model_weigh_the_decisions(sense):
    from test_likelihood_with_fixed_costs import in_shape, solver, table

    theta = normal(20, 6)
    mu = SparseMAP(solver(sense), 0.5)(sign_of(sense) * in_shape(theta))[0].reshape(20, 6)
    decisions, fixed = table(sense)
    optimum = regularized_maximum(
        in_shape(theta),
        SparseMAP(solver(sense)).family,
        HalfSquaredNorm(0.5),
        tolerance=1e-9,
        max_iterations=100,
    )
    slope = theta - 0.5 * mu
    value = (slope * mu).sum(-1) + optimum.combination.fixed_part
    assert ((slope @ decisions.T + fixed).amax(-1) - value).max() < 1e-8
    without = SparseMAP(opaque("max", decisions.numpy()), 0.5)(theta)[0]
    assert (mu - without).abs().max() > 0.1


def test_linear_programs_are_projected_on_too():
    # Vertices of a polygon, with rounding of the solver in them.
    layer = SparseMAP(HighsSolver(models.polygon()))
    costs = normal(8, 3)
    mu = layer(costs)[0]
    slope = -costs - mu
    vertices = torch.as_tensor(HighsSolver(models.polygon()).solve(-slope.numpy()).decisions)
    _, fixed_at_vertex = layer.family.map_with_fixed(slope)
    optimum = regularized_maximum(-costs, layer.family, HalfSquaredNorm(), tolerance=1e-9, max_iterations=100)
    gap = (slope * (vertices - mu)).sum(-1) + fixed_at_vertex - optimum.combination.fixed_part
    assert gap.abs().max() < 1e-7


@regularizers
def test_no_step_along_a_line_is_better_than_the_best_one(regularizer):
    source = torch.Generator().manual_seed(8)
    rows, size = 60, 4
    point = 0.3 + 0.4 * torch.rand(rows, size, generator=source, dtype=torch.float64)
    direction = 0.2 * torch.rand(rows, size, generator=source, dtype=torch.float64) - 0.1
    direction[::6] = 0  # only the fixed part moves, and that upwards or not at all
    fixed = 0.1 * torch.rand(rows, generator=source, dtype=torch.float64)
    fixed[::12] = 0
    theta = torch.randn(rows, size, generator=source, dtype=torch.float64)
    limit = 2 * torch.rand(rows, generator=source, dtype=torch.float64)
    step = _Line(theta, point, direction, fixed, regularizer).best_step(limit)
    assert ((step >= 0) & (step <= limit)).all()

    def value(t):
        moved = point + t[:, None] * direction
        return (theta * moved - regularizer.value(moved)).sum(-1) + t * fixed

    best = value(step)
    for share in torch.linspace(0, 1, 101, dtype=torch.float64):
        assert (value(share * limit) <= best + 1e-12).all()


def test_a_vertex_without_weight_spans_no_face():
    vertices = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]).double()
    weights = torch.tensor([[0.4, 0.6, 0.0]]).double()
    combination = ConvexCombination(vertices, weights * 0, weights, torch.ones(1, 3, dtype=torch.bool))
    moved = combination.along_face(torch.tensor([[3.0, 1.0, 7.0]]).double(), torch.ones(1, 3).double())
    torch.testing.assert_close(moved, torch.tensor([[1.0, -1.0, 0.0]]).double())


def test_too_few_iterations_are_told():
    with pytest.warns(UserWarning, match=r"of 20 rows did not reach the tolerance 1e-09 in 2 iterations"):
        SparseMAP(KSubset(3), max_iterations=2)(normal(20, 8))


def test_bad_options_are_refused():
    for make, message in (
        (lambda: SparseMAP(opaque(), 0.0), "`temperature` must be positive"),
        (lambda: SparseMAP(opaque(), tolerance=0.0), "`tolerance` must be positive"),
        (lambda: SparseMAP(opaque(), max_iterations=0), "`max_iterations` must be at least 1"),
        (lambda: RegularizedFrankWolfe(opaque(), 1.0), "`regularizer` must be a Regularizer"),
        (lambda: FenchelYoung(opaque(), Gumbel(), regularizer=BinaryEntropy()), "takes the place of noise"),
        (lambda: FenchelYoung(opaque(), num_samples=0), "`num_samples`"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            make()


# Fenchel-Young losses


@senses
@pytest.mark.parametrize("noise", [Gumbel(0.8), Normal(0.8), Multiplicative(0.8)], ids=repr)
def test_the_perturbed_loss_is_explicit_mle(sense, noise):
    costs, y = normal(6, 5).abs(), best(normal(6, 5, seed=2))
    perturbed = FenchelYoung(opaque(sense), noise, num_samples=3)
    likelihood = ExplicitMLE(opaque(sense), noise, num_samples=3)
    for one, other in (
        (
            perturbed(costs, y, generator=generator(1)),
            likelihood(costs, solutions=y, generator=generator(1)),
        ),
        (
            gradient(lambda c: perturbed(c, y, generator=generator(1)).sum(), costs),
            gradient(lambda c: likelihood(c, solutions=y, generator=generator(1)).sum(), costs),
        ),
    ):
        assert torch.equal(one, other)


@regularizers
@senses
def test_the_regularised_loss_is_its_formula(regularizer, sense):
    costs, y = normal(8, 5), best(normal(8, 5, seed=2))
    theta = sign_of(sense) * costs
    loss = FenchelYoung(opaque(sense), regularizer=regularizer)
    mu = layer_of(opaque(sense), regularizer)(costs)[0]
    expected = (theta * (mu - y)).sum(-1) + (regularizer.value(y) - regularizer.value(mu)).sum(-1)
    torch.testing.assert_close(loss(costs, y), expected, atol=1e-6, rtol=0)
    assert loss(costs, y).min() >= 0
    found = gradient(lambda c: loss(c, y).sum(), costs)
    torch.testing.assert_close(found, sign_of(sense) * (mu - y), atol=1e-6, rtol=0)


def test_the_sparsemax_loss_is_zero_beyond_its_margin_and_huber_before():
    # Two classes, in t = theta_0 - theta_1 for the first: 0 from 1 on, (1 - t)^2 / 4 within, -t below -1.
    t = torch.linspace(-3, 3, 25, dtype=torch.float64)
    theta = torch.stack([t, torch.zeros_like(t)], -1)
    y = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(25, 2)
    value = FenchelYoung(Categorical(), regularizer=HalfSquaredNorm())(theta, y)
    expected = torch.where(t >= 1, 0, torch.where(t <= -1, -t, (1 - t) ** 2 / 4))
    torch.testing.assert_close(value, expected, atol=1e-8, rtol=0)


def test_the_loss_of_the_entropy_is_the_cross_entropy():
    theta, y = normal(6, 5), torch.eye(5, dtype=torch.float64)[[0, 1, 2, 3, 4, 0]]
    value = FenchelYoung(Categorical(), regularizer=NegativeEntropy())(theta, y)
    expected = torch.nn.functional.cross_entropy(theta, y, reduction="none")
    torch.testing.assert_close(value, expected, atol=1e-7, rtol=0)


def test_rows_without_a_decision_have_value_nan_and_no_gradient():
    allowed = torch.ones(3, 7)
    allowed[1] = 0
    for options in ({}, {"regularizer": HalfSquaredNorm()}):
        costs = normal(3, 5).requires_grad_()
        loss = FenchelYoung(Recorder(on_failure="nan"), **options)
        value = loss(costs, torch.as_tensor(DECISIONS[:3]), instances={"allowed": allowed})
        assert value.isnan().tolist() == [False, True, False]
        value.nansum().backward()
        assert torch.equal(costs.grad[1], torch.zeros(5, dtype=torch.float64))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@regularizers
def test_layers_and_losses_stay_on_the_device(regularizer):
    costs = normal(6, 5).cuda().requires_grad_()
    mu = layer_of(opaque(), regularizer)(costs)
    value = FenchelYoung(opaque(), regularizer=regularizer)(costs, mu[0].detach())
    (value.sum() + mu.square().sum()).backward()
    assert mu.device == value.device == costs.grad.device == costs.device


# The domain of the entropies


SIGNED = np.array([[1, -1, 0], [0, 1, 0], [-1, 0, 1], [0, 0, 1]])


OUTSIDE = [
    (
        BinaryEntropy(),
        SIGNED,
        r"BinaryEntropy.* lie between 0 and 1: `{}` has -1 \(.*entry 1\)",
    ),
    (BinaryEntropy(), 2 * SIGNED.clip(0), r"BinaryEntropy.* lie between 0 and 1: `{}` has 2 \("),
    (
        NegativeEntropy(),
        SIGNED,
        r"NegativeEntropy.* not be negative: `{}` has -1 \(.*entry 1\)",
    ),
]


@pytest.mark.parametrize(("regularizer", "decisions", "message"), OUTSIDE, ids=["negative", "two", "sign"])
def test_decisions_outside_the_domain_are_refused(regularizer, decisions, message):
    """Their entropy is not a number, and what came out of it would not be the optimum."""
    theta = torch.tensor([[3.0, -2.0, 0.0], [0.0, 3.0, 1.0]])
    with pytest.raises(InvalidInputError, match=message.format("decisions")):
        RegularizedFrankWolfe(opaque("max", decisions), regularizer)(theta)
    loss = FenchelYoung(opaque("max", np.eye(3)), regularizer=regularizer)
    with pytest.raises(InvalidInputError, match=message.format("solutions")):
        loss(theta, torch.tensor(decisions[:2]).float())


@pytest.mark.parametrize("regularizer", REGULARIZERS[1:], ids=lambda omega: type(omega).__name__)
def test_decisions_that_a_solver_rounded_have_an_entropy(regularizer):
    """A linear program's zero may come out as -1e-9, and its one as a little more."""
    rounded = np.eye(3) + 1e-9 * np.where(np.eye(3) > 0, 1, -1)
    value = regularizer.value(torch.tensor(rounded))
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-7, rtol=0)
    theta = 2 * normal(20, 3)
    near, exact = (
        RegularizedFrankWolfe(opaque("max", table), regularizer)(theta) for table in (rounded, np.eye(3))
    )
    torch.testing.assert_close(near, exact, atol=1e-5, rtol=0)


def test_any_decision_has_a_norm():
    theta = 2 * normal(20, 3)
    layer = SparseMAP(opaque("max", SIGNED))
    assert layer(theta).isfinite().all()


@pytest.mark.parametrize("name", ["softmax", "LML", "sigmoid"])
def test_entropies_next_to_a_decision(name):
    """The optimum is closer to the edge than rounding resolves; it is found all the same."""
    solver, regularizer, expected = CLOSED_FORMS[name]
    size = 4 if name == "sigmoid" else 8
    theta = torch.cat([100 * normal(20, size).sign() * torch.linspace(0.5, 1, size), 20 * normal(20, size)])
    found = layer_of(solver, regularizer)(theta)[0]
    torch.testing.assert_close(found, expected(theta), atol=1e-7, rtol=0)


def test_entropies_of_a_thousand_classes():
    """Those far below the best, at less than the layer's 1e-8 each, are left out: in all less than 1e-5."""
    theta, weights = normal(2, 1000), normal(2, 1000, seed=1)
    layer = RegularizedFrankWolfe(Categorical(), NegativeEntropy(0.1))
    found = layer(theta)[0]
    assert (found.count_nonzero(-1) > 50).all()
    torch.testing.assert_close(found, torch.softmax(theta / 0.1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        gradient(lambda c: (weights * layer(c)[0]).sum(), theta),
        gradient(lambda c: (weights * torch.softmax(c / 0.1, -1)).sum(), theta),
        atol=1e-4,  # ten times as much, by the temperature
        rtol=0,
    )


def test_decisions_on_a_line_with_fixed_costs_reach_the_optimum_of_their_envelope():
    """z = 0, 1, 2 or 3 at a charge of its own: the best mu of the concave envelope less a quadratic."""
    matrix = [[1, 0, -1, -2, -3], [0, 1, 1, 1, 1]]
    grid = np.linspace(0, 3, 3001)
    for seed in range(12):
        random = np.random.default_rng(seed)
        charges, theta = random.normal(size=4), random.normal()
        model = models.linear_model(
            "max", matrix, [0, 1], [0, 1], 0, [3, 1, 1, 1, 1], True, predicted=[0], fixed_costs=[0, *charges]
        )
        found = SparseMAP(HighsSolver(model), temperature=5.0)(torch.tensor([[theta]], dtype=torch.double))
        ends = list(itertools.combinations(range(4), 2))
        chords = [
            np.where(
                (grid >= i) & (grid <= j), charges[i] + (charges[j] - charges[i]) * (grid - i) / (j - i), -9
            )
            for i, j in ends
        ]
        values = theta * grid + np.max(chords, axis=0) - 2.5 * grid**2
        at = float(found)
        own = theta * at + np.interp(at, grid, np.max(chords, axis=0)) - 2.5 * at**2
        assert own >= values.max() - 1e-6
