"""Batches of any shape: where their features are, and how they move to a device."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from imle_opt.profiling import StepProfile
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["device_of", "features_of", "moved", "place"]


def place(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """Move a model, if a device is given, and return where it is."""
    if device is not None:
        model.to(device)
    return device_of(model)


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's parameters are; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def moved(loader: Iterable[Any], device: torch.device, profile: StepProfile | None = None) -> Generator[Any]:
    """Yield the batches of a loader, with their tensors on a device; each is a step of the profile."""
    if profile is None:
        yield from (_to(batch, device) for batch in loader)
        return
    for batch in profile.steps(loader):
        with profile.transferring():
            there = _to(batch, device)
        yield there


def _to(item: Any, device: torch.device) -> Any:
    if isinstance(item, Tensor):
        return item.to(device)
    if isinstance(item, Mapping):
        return {key: _to(value, device) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_to(value, device) for value in item))
    if isinstance(item, (tuple, list)):
        return type(item)(_to(value, device) for value in item)
    return item


def features_of(batch: Any) -> Any:
    """Return what of a batch goes into the model.

    Raises:
        InvalidInputError: neither a tuple or list, nor a mapping with `"features"`.
    """
    if isinstance(batch, Mapping) and "features" in batch:
        return batch["features"]
    if isinstance(batch, (tuple, list)) and batch:
        return batch[0]
    raise InvalidInputError(
        f"`loader` must yield tuples that begin with the features, or mappings that hold 'features'; it "
        f"yielded {type(batch).__name__}."
    )
