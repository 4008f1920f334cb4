"""Draws of standard noise: on a CPU by NumPy where that is faster than torch, elsewhere by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imle_opt._checks import check_positive
from imle_opt.noise._quantile_table import look_up, look_up_in_place, tabulate

__all__ = [
    "check_temperature",
    "log_in_place",
    "noise_dtype",
    "standard_exponential",
    "standard_logistic",
    "standard_normal",
    "sums_of_gammas",
]

_BLOCK = 8192
"""Entries that are drawn in float64 at a time."""

_SMALLEST_UNIFORM = 2.0**-54
"""Stands for a uniform draw of 0, whose probability is 2^-53."""


def check_temperature(temperature: float) -> None:
    check_positive(temperature, "temperature", "; for no noise use NoNoise()")


def noise_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def standard_normal(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    return torch.empty(tuple(shape), dtype=noise_dtype(dtype), device=device).normal_(generator=generator)


def standard_exponential(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    drawn = torch.empty(tuple(shape), dtype=noise_dtype(dtype), device=device)
    if drawn.device.type != "cpu":
        return drawn.exponential_(generator=generator)
    array = drawn.numpy()
    # Four times as fast as torch's own.
    _numpy_generator(generator).standard_exponential(dtype=array.dtype.type, out=array)
    return drawn


def standard_logistic(
    shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    drawn = torch.empty(tuple(shape), dtype=noise_dtype(dtype), device=device)
    # Uniform in float64: in float32 it ends at 1 - 6e-8, and its logit at 17.
    if drawn.device.type != "cpu":
        uniform = torch.empty(drawn.shape, dtype=torch.float64, device=drawn.device)
        return drawn.copy_(uniform.uniform_(generator=generator).logit_(eps=_SMALLEST_UNIFORM))
    return _filled(drawn, generator, _fill_logistic)


def _fill_logistic(source: np.random.Generator, block: NDArray[np.float64]) -> None:
    source.random(out=block)
    np.maximum(block, _SMALLEST_UNIFORM, out=block)
    block /= 1 - block
    np.log(block, out=block)


def log_in_place(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cpu":
        return tensor.log_()
    array = tensor.numpy()
    np.log(array, out=array)  # six times as fast as torch's own
    return tensor


def _numpy_generator(generator: torch.Generator | None) -> np.random.Generator:
    """Return a source of randomness for a CPU, seeded by a torch generator."""
    seed = torch.randint(2**63 - 1, (), generator=generator, device="cpu")
    return np.random.Generator(np.random.SFC64(int(seed)))


def sums_of_gammas(
    shape: Sequence[int],
    concentration: float,
    terms: int,
    generator: torch.Generator | None,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    """Draw independent `Y = sum over i <= terms of Gamma(concentration, scale 1/i)`, from a table.

    The table takes some 10 ms, at the first draw with these parameters. The uniform variable that is looked
    up is drawn in float64: in float32 the tails would end at a probability of 1e-7.
    """
    drawn = torch.empty(tuple(shape), dtype=noise_dtype(dtype), device=device)
    if drawn.device.type != "cpu":
        uniform = torch.empty(drawn.shape, dtype=torch.float64, device=drawn.device)
        uniform.uniform_(generator=generator)
        table = _sum_of_gammas_table(concentration, terms, drawn.device)
        return drawn.copy_(look_up(table, uniform / (1 - uniform)))
    coefficients = _sum_of_gammas_table(concentration, terms, drawn.device).numpy()

    def fill(source: np.random.Generator, block: NDArray[np.float64]) -> None:
        source.random(out=block)
        block /= 1 - block
        look_up_in_place(coefficients, block)

    return _filled(drawn, generator, fill)


def _filled(
    drawn: Tensor,
    generator: torch.Generator | None,
    fill: Callable[[np.random.Generator, NDArray[np.float64]], None],
) -> Tensor:
    """Fill a tensor on a CPU with what is drawn in float64, by parts that stay in the cache."""
    source = _numpy_generator(generator)
    entries = drawn.numpy().reshape(-1)
    block = np.empty(min(_BLOCK, entries.size))
    for start in range(0, entries.size, _BLOCK):
        part = entries[start : start + _BLOCK]
        fill(source, block[: part.size])
        part[:] = block[: part.size]
    return drawn


@lru_cache(maxsize=32)
def _sum_of_gammas_table(concentration: float, terms: int, device: torch.device) -> Tensor:
    """Return the table of `sums_of_gammas`, 160 KiB."""
    # An import at the top would load SciPy with this library.
    from imle_opt.noise._sum_of_gamma_law import log_quantiles

    return torch.from_numpy(tabulate(log_quantiles(concentration, terms))).to(device)
