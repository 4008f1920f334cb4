"""The tabulated law of `SumOfGamma`, without random numbers, against closed forms and mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import special

from imle_opt.noise import SumOfGamma
from imle_opt.noise._draws import _sum_of_gammas_table, sums_of_gammas
from imle_opt.noise._quantile_table import look_up, look_up_in_place
from imle_opt_solvers.errors import InvalidInputError

# A cell is 1/64 of its octave. The parabola through its ends and its middle misses the third derivative:
# where log y is (kappa/terms) log r, P(Y <= y) is off by 2 / (128^3 9 sqrt(3)) = 6e-8 of itself:
# times P(Y > y), as r is P(Y <= y) / P(Y > y), at most 1.6e-8. The same holds above.
ABSOLUTE = 2e-8
# Between the nodes, far out above, log y is right to 1e-8, and P(Y > y) of a y about 30 to 3e-7 of itself.
RELATIVE = 5e-7

# E of probabilities from 2^-53 below to exp(-36) above.
EXPONENTIALS = np.concatenate(
    [np.geomspace(2.0**-53, 0.03, 7), [0.1, 0.4, 0.9, 1.7, 3.1, 6.0, 11.0, 20.0, 36.7]]
)

LAWS = [(kappa, terms) for kappa in (0.1, 0.9, 5.0, 15.7, 500.0) for terms in (1, 3, 10)]


def quantiles(kappa: float, terms: int, exponentials: np.ndarray) -> np.ndarray:
    values = np.expm1(np.asarray(exponentials))
    look_up_in_place(_sum_of_gammas_table(1 / kappa, terms, torch.device("cpu")).numpy(), values)
    return values


def distance(kappa: float, terms: int, lower_tail) -> tuple[float, float]:
    """The largest error of a quantile's probability, and the largest relative to the nearer tail."""
    absolute, relative = 0.0, 0.0
    with mpmath.workdps(40):
        for exponential, y in zip(EXPONENTIALS, quantiles(kappa, terms, EXPONENTIALS), strict=True):
            if y < 1e-290:  # nothing, in float64
                continue
            lower = -mpmath.expm1(-exponential)
            error = abs(lower_tail(mpmath.mpf(y)) - lower)
            absolute = max(absolute, float(error))
            relative = max(relative, float(error / min(lower, 1 - lower)))
    return absolute, relative


@pytest.mark.parametrize("terms", [1, 2, 10, 100, 10_000])
def test_kappa_one_is_the_largest_of_exponentials(terms):
    absolute, relative = distance(1.0, terms, lambda y: (-mpmath.expm1(-y)) ** terms)
    assert absolute < ABSOLUTE
    assert relative < RELATIVE


@pytest.mark.parametrize("kappa", [0.02, 0.1, 0.7, 3.0, 29.0, 1000.0])
def test_one_term_is_a_gamma(kappa):
    absolute, relative = distance(
        kappa, 1, lambda y: mpmath.gammainc(mpmath.mpf(1) / kappa, 0, y, regularized=True)
    )
    assert absolute < ABSOLUTE
    assert relative < RELATIVE


@pytest.mark.parametrize(
    ("kappa", "terms"), [(0.1, 10), (0.4, 3), (3.0, 10), (15.7, 10), (500.0, 4), (2.0, 25)]
)
def test_a_sum_has_its_law(kappa, terms):
    def transform(p):
        # Not a power of the product, which winds around 0.
        return mpmath.exp(-sum(mpmath.log(1 + p / i) for i in range(1, terms + 1)) / kappa) / p

    absolute, relative = distance(kappa, terms, lambda y: mpmath.invertlaplace(transform, y, method="talbot"))
    assert absolute < ABSOLUTE
    assert relative < RELATIVE


def expected(kappa: float, terms: int, function) -> float:
    """E f(Y) over the tabulated quantiles: the integral of f(y(E)) exp(-E) by Gauss and Legendre."""
    edges = np.concatenate([[0.0], np.geomspace(2.0**-50, 2.0, 52), np.arange(3.0, 37.0)])
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = np.diff(edges)[:, None] / 2
    exponentials = (edges[:-1, None] + half) + half * nodes
    values = function(quantiles(kappa, terms, exponentials))
    return float((values * np.exp(-exponentials) * weights * half).sum())


@pytest.mark.parametrize(
    ("kappa", "terms"), [*LAWS, (0.1, 100), (7.0, 100), (300.0, 100), (1e4, 10), (0.01, 10)]
)
def test_moments_and_transform_are_the_closed_forms(kappa, terms):
    i = np.arange(1, terms + 1)
    cumulants = [math.factorial(n - 1) * np.sum(1.0 / i**n) / kappa for n in (1, 2, 3)]
    mean = expected(kappa, terms, lambda y: y)
    assert mean == pytest.approx(cumulants[0], rel=1e-7)
    for power, cumulant in zip((2, 3), cumulants[1:], strict=True):
        central = expected(kappa, terms, lambda y, power=power: (y - cumulants[0]) ** power)
        assert central == pytest.approx(cumulant, rel=1e-5)
    for p in (0.3, 2.0, 40.0):
        transform = np.exp(-np.log1p(p / i).sum() / kappa)
        assert expected(kappa, terms, lambda y, p=p: np.exp(-p * y)) == pytest.approx(transform, rel=1e-6)


def test_tensors_and_arrays_are_looked_up_alike():
    table = _sum_of_gammas_table(0.2, 10, torch.device("cpu"))
    odds = torch.tensor([0.0, 2.0**-53, 1e-9, 0.3, 1.0, 7.0, 1e3, 2.0**53 - 1, 2.0**53], dtype=torch.float64)
    odds = odds[:, None].expand(9, 3).contiguous()
    found = look_up(table, odds)
    assert found.shape == odds.shape
    by_arrays = odds.numpy().copy()
    look_up_in_place(table.numpy(), by_arrays)
    np.testing.assert_allclose(found, by_arrays, rtol=1e-12)
    assert torch.isfinite(found).all()
    assert (found.diff(dim=0)[:-1] > 0).all()


def test_blocks_share_one_stream():
    # Two blocks and a bit; every entry is drawn once, whatever the shape.
    shape = (3, 5, 1100)
    drawn = sums_of_gammas(shape, 0.2, 10, torch.Generator().manual_seed(1), torch.float64, "cpu")
    assert drawn.shape == shape
    assert len(drawn.unique()) == drawn.numel()
    flat = sums_of_gammas((16500,), 0.2, 10, torch.Generator().manual_seed(1), torch.float64, "cpu")
    assert torch.equal(drawn.flatten(), flat)
    single = sums_of_gammas(shape, 0.2, 10, torch.Generator().manual_seed(1), torch.float32, "cpu")
    assert torch.equal(single, drawn.float())


def test_a_table_is_made_once():
    device = torch.device("cpu")
    assert _sum_of_gammas_table(0.25, 10, device) is _sum_of_gammas_table(0.25, 10, device)


@pytest.mark.parametrize("kappa", [1e-5, 1e10])
def test_kappa_beyond_the_tables_is_refused(kappa):
    with pytest.raises(InvalidInputError, match="`kappa` must be between"):
        SumOfGamma(kappa)


def test_too_many_terms_are_refused():
    with pytest.raises(InvalidInputError, match="`terms` must be at most 1000000"):
        SumOfGamma(2.0, terms=10**7)


@pytest.mark.parametrize("terms", [1, 10, 10**6])
@pytest.mark.parametrize("kappa", [1e-4, 1e9])
def test_tables_at_the_ends_of_their_range(kappa, terms):
    y = quantiles(kappa, terms, np.linspace(0.01, 36, 500))
    assert np.isfinite(y).all()
    assert (np.diff(y) >= 0).all()
    mean = special.psi(terms + 1) - special.psi(1)
    assert expected(kappa, terms, lambda y: y) == pytest.approx(mean / kappa, rel=1e-4)
