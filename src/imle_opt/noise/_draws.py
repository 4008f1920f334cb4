"""Draws of standard noise: on a CPU by NumPy where that is faster than torch, elsewhere by torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from imle_opt._checks import check_positive

__all__ = [
    "check_temperature",
    "log_in_place",
    "noise_dtype",
    "standard_exponential",
    "standard_gammas",
    "standard_normal",
]


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


def standard_gammas(
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
