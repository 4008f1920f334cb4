"""Noise for perturb-and-MAP: drawn once, shared by the forward and the backward solve.

Noise acts on `theta`, never on the costs of a minimisation: a skewed noise on costs samples from the wrong
distribution. A noise of your own is a frozen dataclass that derives from `AdditiveNoise` or `Noise`; give its
scale the name `temperature` and `calibrate_temperature` can tune it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one, check_positive
from imle_opt_solvers.errors import InvalidInputError

__all__ = [
    "AdditiveNoise",
    "Exponential",
    "Gumbel",
    "Multiplicative",
    "NoNoise",
    "Noise",
    "Normal",
    "SumOfGamma",
]

_SMALLEST_EXPONENTIAL = 1e-12
"""Lower bound of an exponential draw whose logarithm is taken: keeps a rounded zero from becoming an outlier
(about 87 in float32), and cuts off a probability of 1e-12."""

_NON_ZERO = 1e-6
"""Entries of a decision below this are a solver's tolerance, not choices."""


class Noise(ABC):
    """What perturbs theta before it is maximised: `draw` it once, `perturb` with it as often as needed."""

    @property
    def is_zero(self) -> bool:
        """Whether this is no noise at all, so that one solve stands for all samples."""
        return False

    @abstractmethod
    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw noise; the same generator state gives bit-equal noise.

        Args:
            shape: of the noise, (S, *batch, *event).
            generator: source of randomness, on `device`; None is torch's default generator of that device.
            dtype: of the theta to be perturbed. Half precision is too coarse for noise (it makes ties), so
                the noise is then drawn, and returned, in float32; theta perturbed by it is float32 too.
            device: where to draw.

        Returns:
            Noise of `shape`, without a graph.
        """

    @abstractmethod
    def perturb(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return theta perturbed by noise from `draw`.

        Args:
            theta: (*batch, *event), always maximised; shapes broadcast against `drawn`.
            drawn: (S, *batch, *event), from `draw`.
        """


class AdditiveNoise(Noise, ABC):
    """Noise that is added: `theta + drawn`."""

    @final
    def perturb(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `theta + drawn`."""
        return theta + drawn


@final
@dataclass(frozen=True)
class Gumbel(AdditiveNoise):
    """Gumbel noise, `-temperature log(-log U)`.

    On one-hot decisions its perturb-and-MAP law is exactly `softmax(theta / temperature)`. Decisions with k
    ones sum k draws, which is not Gumbel: see `SumOfGamma`.

    Args:
        temperature: scale; the mean is 0.5772 and the standard deviation 1.2825 temperatures.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.

    Source: Papandreou and Yuille, ICCV 2011.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw independent Gumbel(0, temperature) noise, as `Noise.draw` says."""
        drawn = _standard_exponential(shape, generator, dtype, device).clamp_(min=_SMALLEST_EXPONENTIAL)
        return _log_in_place(drawn).mul_(-self.temperature)


@final
@dataclass(frozen=True)
class SumOfGamma(AdditiveNoise):
    """Noise of which kappa independent draws sum to a nearly Gumbel variable: for decisions with kappa ones.

        eps = (temperature / kappa) (sum over i <= terms of Gamma(shape 1/kappa, scale kappa/i) - log(terms))

    A sum of kappa draws has the law `P(sum <= x) = max(0, 1 - exp(-x / temperature) / terms)^terms`, whatever
    kappa is: about 0.27 / terms away from Gumbel(0, temperature). One draw is at least
    `-(temperature / kappa) log(terms)`, has mean `(temperature / kappa) (H - log(terms))` with H the harmonic
    number of `terms`, and variance `(temperature^2 / kappa) sum over i <= terms of 1 / i^2`.

    Perturb-and-MAP marginals are not exact under it: different decisions share coordinates. Its temperature
    has to be tuned (the paper tries kappa, 2 kappa and 3 kappa); see `calibrate_temperature`.

    Args:
        kappa: number of ones of a decision, real and positive; `"auto"` counts them on a first batch of
            decisions, see `resolved`. For shortest paths on a K x K grid the paper used int(1.3 K).
        temperature: scale of the sum, that is of the weight of a whole decision.
        terms: length of the sum; each term costs one gamma draw per entry.
        tail_correction: replace `log(terms)` by `H - 0.5772...` and add a normal variable with the mean and
            variance of the terms that were cut off; the distance to Gumbel falls from 0.028 to 0.0006 at
            10 terms. The lower bound of the support goes.

    Raises:
        InvalidInputError: a parameter is out of its range.

    Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Eq. 13 (Section 6 swaps kappa
    and temperature: its SoG(1, 5, 10) is `SumOfGamma(kappa=5, temperature=1, terms=10)`). The tail correction
    is ours.
    """

    kappa: float | Literal["auto"]
    temperature: float = 1.0
    terms: int = 10
    tail_correction: bool = False

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        if isinstance(self.kappa, str):
            if self.kappa != "auto":
                raise InvalidInputError(f"`kappa` must be a positive number or 'auto', not {self.kappa!r}.")
        else:
            check_positive(self.kappa, "kappa", ": it is the number of ones of a decision")
        check_at_least_one(self.terms, "terms")

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

        Cost: `terms` gamma draws per entry, about 25 ns each on one CPU core.
        """
        if isinstance(self.kappa, str):
            raise InvalidInputError(
                "`kappa='auto'` has not been resolved: give `kappa` as a number, or call "
                "`noise.resolved(decisions, event_dim=...)` with some decisions first."
            )
        drawn = torch.zeros(tuple(shape), dtype=_noise_dtype(dtype), device=device)
        for i, gamma in enumerate(_standard_gammas(1 / self.kappa, self.terms, drawn, generator), start=1):
            drawn.add_(gamma, alpha=self.kappa / i)
        if not self.tail_correction:
            return drawn.sub_(math.log(self.terms)).mul_(self.temperature / self.kappa)
        tail_mean, tail_variance = _cut_off_moments(self.terms)
        normal = torch.empty_like(drawn).normal_(generator=generator)
        drawn.add_(tail_mean).add_(normal, alpha=math.sqrt(tail_variance * self.kappa))
        return drawn.mul_(self.temperature / self.kappa)


@final
@dataclass(frozen=True)
class Normal(AdditiveNoise):
    """Normal noise with mean 0.

    Args:
        temperature: its standard deviation, in the units of theta.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.

    Source: Berthet et al., NeurIPS 2020, arXiv 2002.08676.
    """

    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw independent normal noise, as `Noise.draw` says."""
        return _standard_normal(shape, generator, dtype, device).mul_(self.temperature)


@final
@dataclass(frozen=True)
class Exponential(AdditiveNoise):
    """Exponential noise below zero: `theta - temperature E`, E ~ Exp(1).

    In costs of a minimisation it is `costs + temperature E`: what was not negative stays so, and Dijkstra
    stays exact, without clipping. Other than factors (`Multiplicative`), it does not shrink with the costs:
    costs have to stand out from it, so that a network cannot escape the loss by costs of zero.

    For a maximisation whose costs must not be negative it is of no use.

    Args:
        temperature: mean and standard deviation, in the units of theta.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.
    """

    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw independent noise, as `Noise.draw` says."""
        return _standard_exponential(shape, generator, dtype, device).mul_(-self.temperature)


@final
@dataclass(frozen=True)
class Multiplicative(Noise):
    """Log-normal factors with mean 1: `theta exp(temperature Z - temperature^2 / 2)`, Z standard normal.

    Keeps the sign of every entry, so that costs which must not be negative (Dijkstra's) stay legal. An entry
    of theta that is 0 is not perturbed.

    Args:
        temperature: standard deviation of the logarithm of a factor; without unit.

    Raises:
        InvalidInputError: `temperature` is not positive and finite.

    Source: Dalle et al., 2022, arXiv 2207.13513, Section 4.
    """

    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Draw the factors, as `Noise.draw` says."""
        normal = _standard_normal(shape, generator, dtype, device)
        return normal.mul_(self.temperature).sub_(self.temperature**2 / 2).exp_()

    def perturb(self, theta: Tensor, drawn: Tensor) -> Tensor:
        """Return `theta * drawn`."""
        return theta * drawn


@final
@dataclass(frozen=True)
class NoNoise(AdditiveNoise):
    """No noise: nothing is drawn, and theta stays as it is."""

    @property
    def is_zero(self) -> bool:
        """Always true."""
        return True

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Tensor:
        """Return zeros, in `dtype`, and leave the generator alone."""
        return torch.zeros(tuple(shape), dtype=dtype, device=device)


def _check_temperature(temperature: float) -> None:
    check_positive(temperature, "temperature", "; for no noise use NoNoise()")


def _noise_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _standard_normal(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    return torch.empty(tuple(shape), dtype=_noise_dtype(dtype), device=device).normal_(generator=generator)


def _standard_exponential(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    drawn = torch.empty(tuple(shape), dtype=_noise_dtype(dtype), device=device)
    if drawn.device.type != "cpu":
        return drawn.exponential_(generator=generator)
    array = drawn.numpy()
    # Four times as fast as torch's own.
    _numpy_generator(generator).standard_exponential(dtype=array.dtype.type, out=array)
    return drawn


def _log_in_place(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cpu":
        return tensor.log_()
    array = tensor.numpy()
    np.log(array, out=array)  # six times as fast as torch's own
    return tensor


def _numpy_generator(generator: torch.Generator | None) -> np.random.Generator:
    """Return a source of randomness for a CPU, seeded by a torch generator."""
    seed = torch.randint(2**63 - 1, (), generator=generator, device="cpu")
    return np.random.Generator(np.random.SFC64(int(seed)))


def _standard_gammas(
    concentration: float, count: int, like: Tensor, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """Yield `count` independent Gamma(concentration, scale 1) tensors, each valid until the next."""
    if like.device.type != "cpu":
        concentrations = torch.full_like(like, concentration)
        for _ in range(count):
            # The public torch.distributions.Gamma takes no generator.
            yield torch._standard_gamma(concentrations, generator)  # pyright: ignore[reportPrivateUsage,reportPrivateImportUsage]
        return
    # On a CPU NumPy draws gammas three times as fast as torch, and this noise is nothing but gammas.
    source = _numpy_generator(generator)
    gamma = torch.empty_like(like)
    array = gamma.numpy()
    for _ in range(count):
        source.standard_gamma(concentration, dtype=array.dtype.type, out=array)
        yield gamma


def _cut_off_moments(terms: int) -> tuple[float, float]:
    """Mean (centred) and variance of the sum of Exp(i) - 1/i over i > terms, shifted to a Gumbel's mean.

    The whole series, `sum over i of (Exp(i) - 1/i) + 0.5772...`, is a Gumbel variable.
    """
    harmonic = math.fsum(1 / i for i in range(1, terms + 1))
    squares = math.fsum(1 / i**2 for i in range(1, terms + 1))
    euler_gamma = 0.57721566490153286
    return euler_gamma - harmonic, math.pi**2 / 6 - squares
