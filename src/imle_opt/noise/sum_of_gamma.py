"""Sum-of-Gamma noise: nearly Gumbel when summed over the ones of a decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one
from imle_opt.noise._draws import check_temperature, sums_of_gammas
from imle_opt.noise.base import AdditiveNoise
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["SumOfGamma"]

_SMALLEST_KAPPA, _LARGEST_KAPPA, _MOST_TERMS = 1e-4, 1e9, 10**6

_NON_ZERO = 1e-6
"""Entries of a decision below this are a solver's tolerance, not choices."""


@final
@dataclass(frozen=True)
class SumOfGamma(AdditiveNoise):
    """Noise of which kappa independent draws sum to a nearly Gumbel variable: for decisions with kappa ones.

        eps = (temperature / kappa) (sum over i <= terms of Gamma(shape 1/kappa, scale kappa/i) - log(terms))

    No gamma is drawn: for given kappa and terms this is one law, whose quantiles are computed once, from
    contour integrals of its transform `prod over i of (1 + p/i)^(-1/kappa)`, and tabulated. A draw is a
    uniform variable, looked up. The probabilities are right to 3e-8, and up to a kappa of 1,000 in both
    tails to 5e-7 of themselves, down to 2^-53; far beyond it the upper tail is less exact (to 3% at 1e9).

    A sum of kappa draws has the law `P(sum <= x) = max(0, 1 - exp(-x / temperature) / terms)^terms`, whatever
    kappa is: about 0.27 / terms away from Gumbel(0, temperature). One draw is at least
    `-(temperature / kappa) log(terms)`, has mean `(temperature / kappa) (H - log(terms))` with H the harmonic
    number of `terms`, and variance `(temperature^2 / kappa) sum over i <= terms of 1 / i^2`.

    Perturb-and-MAP marginals are not exact under it: different decisions share coordinates. Its temperature
    has to be tuned (the paper tries kappa, 2 kappa and 3 kappa); see `calibrate_temperature`.

    Args:
        kappa: number of ones of a decision, real and positive; `"auto"` counts them on a first batch of
            decisions, see `resolved`. For shortest paths on a K x K grid the paper used int(1.3 K). The
            table is made for 1e-4 to 1e9.
        temperature: scale of the sum, that is of the weight of a whole decision.
        terms: length of the sum, at most a million; more terms cost nothing.
        tail_correction: replace `log(terms)` by `H - 0.5772...` and add a normal variable with the mean and
            variance of the terms that were cut off; the distance to Gumbel falls from 0.028 to 0.0006 at
            10 terms. The lower bound of the support goes.

    Raises:
        InvalidInputError: a parameter is out of its range.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Eq. 13 (Section 6 swaps kappa
    and temperature: its SoG(1, 5, 10) is `SumOfGamma(kappa=5, temperature=1, terms=10)`). The tail correction
    and the table are ours.
    """

    kappa: float | Literal["auto"]
    temperature: float = 1.0
    terms: int = 10
    tail_correction: bool = False

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if isinstance(self.kappa, str):
            if self.kappa != "auto":
                raise InvalidInputError(f"`kappa` must be a positive number or 'auto', not {self.kappa!r}.")
        elif not _SMALLEST_KAPPA <= self.kappa <= _LARGEST_KAPPA:
            raise InvalidInputError(
                f"`kappa` must be between {_SMALLEST_KAPPA:g} and {_LARGEST_KAPPA:g}, not {self.kappa!r}: "
                "it is the number of ones of a decision."
            )
        check_at_least_one(self.terms, "terms")
        if self.terms > _MOST_TERMS:
            raise InvalidInputError(
                f"`terms` must be at most {_MOST_TERMS}, not {self.terms}: with 10 the sum is 0.03 away "
                "from a Gumbel variable, with 1000 0.0003."
            )

    @property
    def needs_resolving(self) -> bool:
        """Whether `kappa` is still `"auto"`: call `resolved` before the first `draw`."""
        return self.kappa == "auto"

    def resolved(self, decisions: Tensor, *, event_dim: int) -> SumOfGamma:
        """Return the same noise with `kappa="auto"` replaced by the mean number of non-zeros of a decision.

        Args:
            decisions: (*batch, *event), solutions without noise or observed ones; rows with NaN (failed
                solves) do not count, and entries below 1e-6 count as zero.
            event_dim: how many of the last dimensions belong to one decision.

        Returns:
            Noise that can be drawn; itself where `kappa` is a number already.

        Raises:
            InvalidInputError: no decision has a non-zero entry, or there is no decision.
        """
        if not self.needs_resolving:
            return self
        rows = decisions.detach().reshape(-1, math.prod(decisions.shape[decisions.ndim - event_dim :]))
        rows = rows[~rows.isnan().any(-1)]
        counts = (rows.abs() > _NON_ZERO).sum(-1)
        if not counts.any():
            raise InvalidInputError(
                f"`kappa='auto'` counts the non-zeros of decisions, and {len(rows)} decisions had none. "
                "Give `kappa` as a number."
            )
        return replace(self, kappa=counts.double().mean().item())

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw independent SoG(kappa, temperature, terms) noise, as `Noise.draw` says.

        Raises:
            InvalidInputError: `kappa` is still `"auto"`.

        Cost: about 10 ns per entry on one CPU core, 15 in float32 with the tail correction; the first draw
        with a kappa and a number of terms makes their table, in about 10 ms. 32 tables are kept.
        """
        if isinstance(self.kappa, str):
            raise InvalidInputError(
                "`kappa='auto'` has not been resolved: give `kappa` as a number, or call "
                "`noise.resolved(decisions, event_dim=...)` with some decisions first."
            )
        drawn = sums_of_gammas(shape, 1 / self.kappa, self.terms, generator, dtype, device)
        if not self.tail_correction:
            return drawn.sub_(math.log(self.terms) / self.kappa).mul_(self.temperature)
        tail_mean, tail_variance = _cut_off_moments(self.terms)
        normal = torch.empty_like(drawn).normal_(generator=generator)
        drawn.add_(tail_mean / self.kappa).add_(normal, alpha=math.sqrt(tail_variance / self.kappa))
        return drawn.mul_(self.temperature)


def _cut_off_moments(terms: int) -> tuple[float, float]:
    """Mean (centred) and variance of the sum of Exp(i) - 1/i over i > terms, shifted to a Gumbel's mean.

    The whole series, `sum over i of (Exp(i) - 1/i) + 0.5772...`, is a Gumbel variable.
    """
    harmonic = math.fsum(1 / i for i in range(1, terms + 1))
    squares = math.fsum(1 / i**2 for i in range(1, terms + 1))
    euler_gamma = 0.57721566490153286
    return euler_gamma - harmonic, math.pi**2 / 6 - squares
