"""Checks of tensors at the public edge of layers, losses and estimators."""

from __future__ import annotations

import math
from numbers import Integral

import torch
from torch import Tensor

from imle_opt_solvers.errors import InvalidInputError

__all__ = [
    "at_least_float32",
    "check_at_least_one",
    "check_choice",
    "check_costs",
    "check_event",
    "check_finite",
    "check_floating",
    "check_generator",
    "check_kind",
    "check_like",
    "check_not_negative",
    "check_positive",
    "check_samples_of",
    "check_tensor",
]


def check_costs(
    costs: Tensor, event_dim: int, event_shape: tuple[int, ...] | None, name: str = "costs"
) -> None:
    """Refuse costs that are not finite floating point numbers of the right shape.

    Args:
        costs: (*batch, *event).
        event_dim: how many of the last dimensions belong to one decision.
        event_shape: those dimensions, where the family knows them.
        name: the argument's name in the error message.

    Raises:
        InvalidInputError: naming the argument, what is wrong, where, and the mend.
    """
    check_event(costs, event_dim, event_shape, name)
    check_finite(costs, name, event_dim)


def check_event(costs: Tensor, event_dim: int, event_shape: tuple[int, ...] | None, name: str) -> None:
    """Refuse what `check_costs` does, but for NaN and infinite entries: for costs that a solver checks."""
    check_floating(costs, name)
    event = tuple(costs.shape[costs.ndim - event_dim :]) if costs.ndim >= event_dim else None
    if event is None or event_shape not in (None, event):
        expected = f"*event) with {event_dim} event dimension(s)"
        if event_shape is not None:
            expected = f"{', '.join(map(str, event_shape))})"
        raise InvalidInputError(f"`{name}` must have shape (*batch, {expected}, not {tuple(costs.shape)}.")


def check_floating(tensor: Tensor, name: str) -> None:
    """Refuse what is not a tensor of floating point numbers."""
    check_tensor(tensor, name)
    if not tensor.is_floating_point():
        raise InvalidInputError(
            f"`{name}` must be floating point, not {tensor.dtype}: convert it with `.float()`."
        )


def check_tensor(tensor: Tensor, name: str) -> None:
    """Refuse what is not a tensor."""
    if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InvalidInputError(
            f"`{name}` must be a torch.Tensor, not {type(tensor).__name__}: convert it with torch.as_tensor."
        )


def check_finite(tensor: Tensor, name: str, event_dim: int) -> None:
    """Refuse NaN and infinite entries, naming the first one."""
    # One pass: NaN and infinity survive a sum. A sum may also overflow, hence the second look.
    if math.isfinite(tensor.detach().sum().item()):
        return
    finite = torch.isfinite(tensor)
    if finite.all():
        return
    bad = (~finite).nonzero()
    first = tuple(int(i) for i in bad[0])
    batch_dim = tensor.ndim - event_dim
    where = f"entry {_index(first[batch_dim:])}"
    if batch_dim:
        where = f"row {_index(first[:batch_dim])}, {where}"
    raise InvalidInputError(
        f"`{name}` must be finite: {len(bad)} of {tensor.numel()} entries are NaN or infinite "
        f"(first {tensor[first].item()} at {where}). Check the predictor's output and the data it was fed."
    )


def check_like(label: Tensor, costs: Tensor, name: str, event_dim: int) -> None:
    """Refuse a label that is not finite, or not of the shape of the costs that it belongs to.

    Args:
        label: (*batch, *event), true costs or true solutions.
        costs: (*batch, *event).
        name: the label's name in the error message.
        event_dim: how many of the last dimensions belong to one decision.

    Raises:
        InvalidInputError: another shape (nothing is broadcast), or NaN or infinite entries.
    """
    check_tensor(label, name)
    if label.shape != costs.shape:
        raise InvalidInputError(
            f"`{name}` must have the shape of the predicted costs, {tuple(costs.shape)}, not "
            f"{tuple(label.shape)}: one label per row, and nothing is broadcast."
        )
    check_finite(label, name, event_dim)


def check_samples_of(decisions: Tensor, label: Tensor, name: str, event_dim: int) -> None:
    """Refuse decisions whose last dimensions are not those of their label; samples may come before.

    Args:
        decisions: (*samples, *batch, *event).
        label: (*batch, *event).
        name: the label's name in the error message.
        event_dim: how many of the last dimensions belong to one decision.

    Raises:
        InvalidInputError: the shapes do not match.
    """
    extra = decisions.ndim - label.ndim
    if label.ndim < event_dim or extra < 0 or decisions.shape[extra:] != label.shape:
        raise InvalidInputError(
            f"`decisions` must have shape (*samples, *batch, *event) with `{name}` (*batch, *event); they "
            f"are {tuple(decisions.shape)} and {tuple(label.shape)}. A layer in train() puts its samples "
            "first."
        )


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Refuse a generator that cannot draw on the device of the costs."""
    if generator is not None:
        check_kind(generator, torch.Generator, "generator", "torch.Generator().manual_seed(0)")
    if generator is not None and generator.device.type != device.type:
        raise InvalidInputError(
            f"`generator` is on {generator.device} and the costs on {device}: noise is drawn where the costs "
            f"are, so make it with torch.Generator(device='{device}')."
        )


def check_positive(value: float, name: str, advice: str = "") -> None:
    """Refuse an option that is not positive and finite."""
    if not 0 < value < float("inf"):
        raise InvalidInputError(f"`{name}` must be positive and finite, not {value!r}{advice}.")


def check_not_negative(value: float, name: str) -> None:
    """Refuse an option that is negative or not finite."""
    if not 0 <= value < float("inf"):
        raise InvalidInputError(f"`{name}` must be 0 or more, and finite, not {value!r}.")


def check_kind(value: object, kind: type, name: str, example: str) -> None:
    """Refuse an option of another type; a class that was not called is one, too."""
    if not isinstance(value, kind):
        raise InvalidInputError(
            f"`{name}` must be a {kind.__name__}, for example `{example}`, not {value!r}."
        )


def check_at_least_one(value: object, name: str) -> None:
    """Refuse a count that is not a whole number, or below 1."""
    if not isinstance(value, Integral):
        raise InvalidInputError(f"`{name}` must be a whole number, not {value!r}.")
    if value < 1:
        raise InvalidInputError(f"`{name}` must be at least 1, not {value!r}.")


def check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """Refuse an option that is none of the choices."""
    if value not in choices:
        raise InvalidInputError(f"`{name}` must be one of {', '.join(map(repr, choices))}, not {value!r}.")


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return a tensor in a precision in which noise makes no ties: float64 stays, the rest is float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _index(index: tuple[int, ...]) -> str:
    return str(index[0]) if len(index) == 1 else str(index)
