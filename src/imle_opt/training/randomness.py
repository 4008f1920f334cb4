"""Seeds of a training run, and the state of its generators."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["load_random_state", "random_state", "seeded"]


@contextmanager
def seeded(seed: int | None, loader: Iterable[Any], device: torch.device) -> Generator[None]:
    """Seed torch's generators and the loader's own; torch's are as before afterwards.

    Args:
        seed: None leaves all of them alone.
        loader: whose `generator`, where it has one, is seeded too.
        device: where training is.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
        own = _own_generator(loader)
        if own is not None:
            own.manual_seed(seed)
        yield


def random_state(loader: Iterable[Any], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of the generators that `seeded` seeds."""
    own = _own_generator(loader)
    return {
        "torch": torch.get_rng_state(),
        **({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
        **({} if own is None else {"loader": own.get_state()}),
    }


def load_random_state(state: dict[str, torch.Tensor], loader: Iterable[Any], device: torch.device) -> None:
    """Let the generators go on from what `random_state` returned."""
    own = _own_generator(loader)
    torch.set_rng_state(state["torch"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    if "loader" in state and own is not None:
        own.set_state(state["loader"])


def _own_generator(loader: Iterable[Any]) -> torch.Generator | None:
    own = getattr(loader, "generator", None)
    return own if isinstance(own, torch.Generator) else None
