"""Checks at the public edge of the numpy side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray


def check_costs(costs: ArrayLike, shape: tuple[int, ...], name: str = "costs") -> FloatArray:
    """Return `costs` as finite float64 in C order, writeable, or say what is wrong with them.

    Nobody writes to them, but a kernel is compiled anew for arrays that are read-only.

    Args:
        costs: (*batch, *shape), real numbers.
        shape: the shape of one instance.
        name: the argument's name in the error message.

    Raises:
        InvalidInputError: not real numbers, another shape, or entries that are NaN or infinite.
    """
    array = as_real_array(costs, name)
    batch_rank = array.ndim - len(shape)
    if batch_rank < 0 or array.shape[batch_rank:] != shape:
        raise InvalidInputError(
            f"`{name}` must have shape (*batch, {', '.join(map(str, shape))}), not {array.shape}: the "
            f"last {len(shape)} dimension(s) are the solver's `shape`, any batch dimensions come before."
        )
    check_finite(array, name, row_rank=len(shape))
    return array if array.flags.writeable else array.copy()


def as_real_array(values: ArrayLike, name: str) -> FloatArray:
    """Return `values` as a float64 array in C order; refuse what is not made of real numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise InvalidInputError(f"`{name}` must be an array of numbers, not ragged: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InvalidInputError(f"`{name}` must hold real numbers, not dtype {array.dtype}.")
    return np.asarray(array, dtype=np.float64, order="C")


def check_finite(array: FloatArray, name: str, row_rank: int) -> None:
    """Refuse NaN and infinite entries, naming the first one."""
    finite = np.isfinite(array)
    if finite.all():
        return
    bad = np.argwhere(~finite)
    first = tuple(int(i) for i in bad[0])
    batch_rank = array.ndim - row_rank
    where = f"entry {_index(first[batch_rank:])}"
    if batch_rank:
        where = f"row {_index(first[:batch_rank])}, {where}"
    raise InvalidInputError(
        f"`{name}` must be finite: {len(bad)} of {array.size} entries are NaN or infinite "
        f"(first {array[first]} at {where}). Check the predictor's output and the data it was fed."
    )


def _index(index: tuple[int, ...]) -> str:
    return str(index[0]) if len(index) == 1 else str(index)


def check_option(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse an option that does not exist."""
    if value not in allowed:
        options = ", ".join(repr(str(option)) for option in allowed)
        raise InvalidInputError(f"`{name}` must be one of {options}, not {value!r}.")


def refuse_overflow(costs: FloatArray, largest_decision: float = 1.0) -> None:
    """Refuse finite costs (B, m) whose sums, with decisions up to `largest_decision`, may not be finite."""
    largest = max(float(costs.max(initial=0.0)), -float(costs.min(initial=0.0)))
    if largest > np.finfo(np.float64).max / ((2 * costs.shape[1] + 2) * largest_decision):
        raise InvalidInputError(
            f"`costs` are too large to be added up (up to {largest:.3g}): scale them down."
        )


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one row of costs, given as a whole number or as several.

    Raises:
        InvalidInputError: something else, or an extent below 1.
    """
    extents = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    whole = [isinstance(each, (int, np.integer)) and not isinstance(each, bool) for each in extents]
    if not extents or not all(whole) or min(extents) < 1:
        raise InvalidInputError(
            f"`{name}` must be a whole number, at least 1, or a tuple of such, not {shape!r}."
        )
    return tuple(int(each) for each in extents)
