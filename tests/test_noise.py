from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from imle_opt.noise import Gumbel, Logistic, Multiplicative, NoNoise, Normal, SumOfGamma
from imle_opt_solvers.errors import InvalidInputError

EULER_GAMMA = 0.57721566490153286
# sup |F_n - F| exceeds this over sqrt(n) with probability 1e-6: it is above d with probability at most
# 2 exp(-2 n d^2) (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant).
KS_CRITICAL = math.sqrt(math.log(2 / 1e-6) / 2)
# A mean of n draws is further than this many standard errors off with probability 6e-7.
SIGMAS = 5.0

ALL = [
    Gumbel(0.7),
    Logistic(0.7),
    SumOfGamma(3.5, 0.7),
    SumOfGamma(3.5, 0.7, tail_correction=True),
    Normal(0.7),
    Multiplicative(0.7),
]
ids = [f"{type(n).__name__}-{i}" for i, n in enumerate(ALL)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(noise, shape, dtype=torch.float64, seed=0):
    return noise.draw(shape, generator=seeded(seed), dtype=dtype, device="cpu")


def finite_sum_cdf(x, terms: int, temperature: float):
    return np.maximum(0.0, 1 - np.exp(-x / temperature) / terms) ** terms


def corrected_sum_cdf(x, terms: int):
    """The finite sum's law, moved to H_s - gamma and convolved with the normal tail, by quadrature."""
    harmonic = sum(1 / i for i in range(1, terms + 1))
    variance = math.pi**2 / 6 - sum(1 / i**2 for i in range(1, terms + 1))
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    shifts = math.sqrt(variance) * nodes
    shifted = x[:, None] + harmonic - EULER_GAMMA - math.log(terms) - shifts[None, :]
    return finite_sum_cdf(shifted, terms, 1.0) @ weights / weights.sum()


def gumbel_cdf(x, temperature: float = 1.0):
    return np.exp(-np.exp(-x / temperature))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("terms", [1, 10])
@pytest.mark.parametrize("kappa", [1, 5])
def test_sum_of_kappa_coordinates_has_the_exact_law(kappa, terms, dtype):
    n, temperature = 30_000, 1.7
    noise = SumOfGamma(kappa, temperature, terms)
    sums = draw(noise, (n, kappa), dtype).double().sum(-1).numpy()
    statistic = stats.kstest(sums, lambda x: finite_sum_cdf(x, terms, temperature)).statistic
    assert statistic < KS_CRITICAL / math.sqrt(n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logistic_noise_has_its_law(dtype):
    n = 30_000
    drawn = draw(Logistic(1.7), (n,), dtype).double().numpy()
    assert stats.kstest(drawn, stats.logistic(scale=1.7).cdf).statistic < KS_CRITICAL / math.sqrt(n)


@pytest.mark.parametrize("kappa", [0.4, 3.7, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coordinate_moments_and_support(kappa, dtype):
    n, temperature, terms = 100_000, 2.0, 10
    draws = draw(SumOfGamma(kappa, temperature, terms), (n,), dtype).double()
    harmonic = sum(1 / i for i in range(1, terms + 1))
    mean = temperature / kappa * (harmonic - math.log(terms))
    variance = temperature**2 / kappa * sum(1 / i**2 for i in range(1, terms + 1))
    lower = -temperature / kappa * math.log(terms)
    assert draws.min() >= lower - 1e-6 * abs(lower)
    assert abs(draws.mean() - mean) < SIGMAS * math.sqrt(variance / n)
    squares, cubes = (draws - mean) ** 2, (draws - mean) ** 3
    assert abs(squares.mean() - variance) < SIGMAS * squares.std() / math.sqrt(n)
    # The third cumulant of Gamma(a, scale b) is 2 a b^3.
    third = 2 * temperature**3 / kappa * sum(1 / i**3 for i in range(1, terms + 1))
    assert abs(cubes.mean() - third) < SIGMAS * cubes.std() / math.sqrt(n)


def test_tail_correction_has_the_moments_of_a_gumbel_sum():
    n, kappa, temperature = 100_000, 5.0, 2.0
    draws = draw(SumOfGamma(kappa, temperature, tail_correction=True), (n,))
    mean, variance = temperature * EULER_GAMMA / kappa, temperature**2 * math.pi**2 / 6 / kappa
    assert abs(draws.mean() - mean) < SIGMAS * math.sqrt(variance / n)
    squares = (draws - mean) ** 2
    assert abs(squares.mean() - variance) < SIGMAS * squares.std() / math.sqrt(n)


def test_distances_to_gumbel_are_the_stated_ones():
    x = np.linspace(-4, 12, 20_001)
    plain = np.abs(finite_sum_cdf(x, 10, 1.0) - gumbel_cdf(x)).max()
    corrected = np.abs(corrected_sum_cdf(x, 10) - gumbel_cdf(x)).max()
    assert plain == pytest.approx(0.0280, abs=5e-5)
    assert corrected == pytest.approx(0.0006, abs=5e-5)


def test_only_the_corrected_sum_passes_for_gumbel():
    n, kappa = 100_000, 5
    bound = KS_CRITICAL / math.sqrt(n)
    plain = draw(SumOfGamma(kappa), (n, kappa), torch.float32).double().sum(-1).numpy()
    corrected = draw(SumOfGamma(kappa, tail_correction=True), (n, kappa), torch.float32).double()
    corrected = corrected.sum(-1).numpy()
    distance = stats.kstest(plain, gumbel_cdf).statistic
    assert distance > bound
    assert distance == pytest.approx(0.0280, abs=bound)
    assert stats.kstest(corrected, gumbel_cdf).statistic < bound + 0.0006
    assert stats.kstest(corrected, lambda x: corrected_sum_cdf(x, 10)).statistic < bound


def test_long_sum_with_kappa_one_is_gumbel():
    n, terms = 20_000, 400
    draws = draw(SumOfGamma(1, 1.5, terms), (n,), torch.float32).double().numpy()
    statistic = stats.kstest(draws, lambda x: gumbel_cdf(x, 1.5)).statistic
    assert statistic < KS_CRITICAL / math.sqrt(n) + 0.2707 / terms


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gumbel_and_normal_laws(dtype):
    n = 100_000
    bound = KS_CRITICAL / math.sqrt(n)
    gumbel = draw(Gumbel(2.5), (n,), dtype).double().numpy()
    normal = draw(Normal(2.5), (n,), dtype).double().numpy()
    assert stats.kstest(gumbel, lambda x: gumbel_cdf(x, 2.5)).statistic < bound
    assert stats.kstest(normal, lambda x: stats.norm.cdf(x, scale=2.5)).statistic < bound


def test_multiplicative_has_mean_one_and_keeps_signs():
    n, temperature = 200_000, 0.6
    noise = Multiplicative(temperature)
    factors = draw(noise, (n,))
    deviation = math.sqrt(math.exp(temperature**2) - 1)
    assert abs(factors.mean() - 1) < SIGMAS * deviation / math.sqrt(n)
    logs = factors.log().numpy()
    law = stats.norm(loc=-(temperature**2) / 2, scale=temperature)
    assert stats.kstest(logs, law.cdf).statistic < KS_CRITICAL / math.sqrt(n)
    theta = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    perturbed = noise.perturb(theta, draw(noise, (50, 3)))
    assert torch.equal(perturbed.sign(), theta.sign().expand(50, 3))


def test_additive_noise_is_added():
    theta = torch.tensor([1.0, -2.0])
    drawn = torch.tensor([[0.5, 0.25], [-0.5, 1.0]])
    for noise in (Gumbel(), SumOfGamma(2), Normal(1.0), NoNoise()):
        assert torch.equal(noise.perturb(theta, drawn), theta + drawn)


@pytest.mark.parametrize("noise", ALL, ids=ids)
def test_same_generator_state_gives_equal_bits(noise):
    first = draw(noise, (4, 3, 7), torch.float32, seed=3)
    assert torch.equal(first, draw(noise, (4, 3, 7), torch.float32, seed=3))
    assert not torch.equal(first, draw(noise, (4, 3, 7), torch.float32, seed=4))


@pytest.mark.parametrize("noise", ALL, ids=ids)
def test_an_own_generator_leaves_the_default_one_alone(noise):
    state = torch.get_rng_state()
    draw(noise, (5,))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("noise", ALL, ids=ids)
def test_without_generator_the_default_one_is_used(noise):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = noise.draw((6,), dtype=torch.float32, device="cpu")
        torch.manual_seed(5)
        assert torch.equal(first, noise.draw((6,), dtype=torch.float32, device="cpu"))


@pytest.mark.parametrize("noise", ALL, ids=ids)
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_precision_is_never_below_float32(noise, asked, given):
    drawn = draw(noise, (2, 3), asked)
    assert drawn.dtype == given
    assert drawn.shape == (2, 3)
    theta = torch.zeros(3, dtype=asked)
    assert noise.perturb(theta, drawn).dtype == given


@pytest.mark.parametrize("noise", ALL, ids=ids)
def test_empty_shapes(noise):
    assert draw(noise, (0, 4)).shape == (0, 4)
    assert draw(noise, ()).shape == ()


@pytest.mark.parametrize(
    "noise", [*ALL, SumOfGamma(1e-3), SumOfGamma(1e4), SumOfGamma(1e4, tail_correction=True)]
)
def test_draws_are_finite(noise):
    assert torch.isfinite(draw(noise, (200_000,), torch.float32)).all()


def test_an_exponential_of_zero_does_not_become_an_outlier(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self, **_: self.zero_())
    assert (draw(Gumbel(2.0), (3,), torch.float32) < 2.0 * 30).all()


def test_extreme_values_are_not_clamped():
    # A million draws reach the quantiles of one in 10^5 on either side.
    draws = draw(Gumbel(), (1_000_000,), torch.float32)
    assert draws.max() > -math.log(1e-5)
    assert draws.min() < -math.log(-math.log(1e-5))
    sums = draw(SumOfGamma(1.0, 100.0), (100_000,), torch.float32)
    assert sums.max() > 100 * -math.log(1e-4)


def test_both_tails_of_logistic_noise_are_drawn():
    # In float32, 2^24 uniform numbers would end at 17 on one side; 4 million draws reach 13 on both.
    draws = draw(Logistic(), (4_000_000,), torch.float32).double().numpy()
    for tail in (draws, -draws):
        # Of n draws, n / (1 + e^x) are expected above x: 50 and a standard deviation of 7.
        assert abs((tail > 11.3).sum() - 4e6 / (1 + math.exp(11.3))) < SIGMAS * math.sqrt(50)
        assert 12.5 < tail.max() < 30


def test_a_uniform_draw_of_zero_has_a_finite_logit(monkeypatch):
    class Zeros:
        def random(self, out):
            out[:] = 0.0

    monkeypatch.setattr("imle_opt.noise._draws._numpy_generator", lambda generator: Zeros())
    drawn = draw(Logistic(), (5,), torch.float32)
    assert torch.isfinite(drawn).all()
    assert (drawn < -36).all()


def test_no_noise_draws_nothing():
    state = torch.get_rng_state()
    generator = seeded()
    own = generator.get_state()
    drawn = NoNoise().draw((2, 3), generator=generator, dtype=torch.float16, device="cpu")
    assert torch.equal(drawn, torch.zeros(2, 3, dtype=torch.float16))
    assert torch.equal(generator.get_state(), own)
    assert torch.equal(torch.get_rng_state(), state)
    assert NoNoise().is_zero
    assert not any(noise.is_zero for noise in ALL)


def test_auto_kappa_counts_the_ones_of_a_decision():
    decisions = torch.zeros(3, 2, 4)
    decisions[0, 0, :3] = 1
    decisions[1, :, 1] = 1
    decisions[2] = 1
    decisions[2, 0, 0] = 1e-9
    noise = SumOfGamma("auto", 2.0, 7, tail_correction=True)
    assert noise.needs_resolving
    resolved = noise.resolved(decisions, event_dim=2)
    assert resolved == SumOfGamma((3 + 2 + 7) / 3, 2.0, 7, tail_correction=True)
    assert not resolved.needs_resolving
    assert resolved.resolved(torch.zeros(0, 4), event_dim=1) is resolved
    assert noise.resolved(decisions, event_dim=1).kappa == (3 + 2 + 7) / 6


def test_auto_kappa_skips_failed_rows():
    decisions = torch.tensor([[1.0, 1.0, 0.0], [math.nan, math.nan, math.nan]])
    assert SumOfGamma("auto").resolved(decisions, event_dim=1).kappa == 2


@pytest.mark.parametrize("decisions", [torch.zeros(4, 3), torch.zeros(0, 3), torch.full((2, 3), math.nan)])
def test_auto_kappa_needs_a_decision_with_ones(decisions):
    with pytest.raises(InvalidInputError, match="Give `kappa` as a number"):
        SumOfGamma("auto").resolved(decisions, event_dim=1)


def test_auto_kappa_cannot_be_drawn():
    with pytest.raises(InvalidInputError, match="has not been resolved"):
        draw(SumOfGamma("auto"), (3,))


@pytest.mark.parametrize("make", [Gumbel, Normal, Multiplicative, lambda t: SumOfGamma(3, t)])
@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_temperature_must_be_positive_and_finite(make, temperature):
    with pytest.raises(InvalidInputError, match=r"`temperature` must be positive and finite.*NoNoise\(\)"):
        make(temperature)


@pytest.mark.parametrize("kappa", [0, -2.0, math.inf, math.nan, "many"])
def test_kappa_must_be_positive_and_finite(kappa):
    with pytest.raises(InvalidInputError, match="`kappa` must be"):
        SumOfGamma(kappa)


def test_a_sum_needs_terms():
    with pytest.raises(InvalidInputError, match="`terms` must be at least 1"):
        SumOfGamma(3, terms=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("noise", ALL, ids=ids)
def test_draws_on_the_given_device(noise):
    def once():
        generator = torch.Generator("cuda").manual_seed(0)
        return noise.draw((3, 5), generator=generator, dtype=torch.float32, device="cuda")

    assert once().device.type == "cuda"
    assert torch.equal(once(), once())
    assert torch.isfinite(noise.draw((100_000,), dtype=torch.float32, device="cuda")).all()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_exact_law_on_cuda():
    n, kappa = 50_000, 5
    drawn = SumOfGamma(kappa).draw((n, kappa), dtype=torch.float32, device="cuda")
    sums = drawn.double().sum(-1).cpu().numpy()
    assert stats.kstest(sums, lambda x: finite_sum_cdf(x, 10, 1.0)).statistic < KS_CRITICAL / math.sqrt(n)
