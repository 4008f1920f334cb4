"""Per-row data of a batch: each row may have a feasible region of its own.

`instances` is a mapping from a name to an array (or a sequence of objects) with one entry per row, or to a
further mapping of such arrays. Which names a solver takes is the solver's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError

__all__ = ["Instances", "flatten_instances", "take_instance", "take_rows"]

Instances: TypeAlias = Mapping[str, Any]
"""Name -> values, whose leading dimensions are those of the batch."""


def flatten_instances(instances: Instances, batch: tuple[int, ...]) -> dict[str, Any]:
    """Return `instances` with the batch dimensions of every entry made into one.

    Args:
        instances: entries (*batch, ...).
        batch: the batch shape of the costs that they go with.

    Raises:
        InvalidInputError: an entry whose leading dimensions are not those of the batch.
    """
    return {key: _flatten(value, batch, f"instances[{key!r}]") for key, value in instances.items()}


def _flatten(value: object, batch: tuple[int, ...], name: str) -> object:
    if isinstance(value, Mapping):
        return {inner: _flatten(entry, batch, f"{name}[{inner!r}]") for inner, entry in value.items()}
    array = per_row_array(value)
    if array.shape[: len(batch)] != batch:
        raise InvalidInputError(
            f"`{name}` has shape {array.shape}; its leading dimensions must be those of the "
            f"batch, {batch}: one entry per row of `costs`."
        )
    rows = int(np.prod(batch, dtype=np.int64))
    return array.reshape(rows, *array.shape[len(batch) :])


def per_row_array(value: object) -> NDArray[Any]:
    """Return `value` as an array.

    Graphs, strings and tuples (node labels) are single objects: a list of them, nested as the batch is,
    becomes an array of dtype object of the same nesting.
    """
    if isinstance(value, (int, float, str, np.generic)) or hasattr(value, "__array__"):
        return np.asarray(value)
    if not isinstance(value, Sequence):
        return _object_array([value], ())
    leaves, shape = _nested(list(value))
    numeric = all(isinstance(leaf, (int, float, np.generic)) or hasattr(leaf, "__array__") for leaf in leaves)
    if numeric and len({getattr(leaf, "shape", ()) for leaf in leaves}) <= 1:
        return np.asarray(value)
    return _object_array(leaves, shape)


def _nested(items: object) -> tuple[list[object], tuple[int, ...]]:
    """Return the leaves of nested lists in row-major order, and their shape; a ragged part is a leaf."""
    if not isinstance(items, list):
        return [items], ()
    parts = [_nested(item) for item in items]
    shapes = {shape for _, shape in parts}
    if len(shapes) > 1:
        return list(items), (len(items),)
    inner = shapes.pop() if shapes else ()
    return [leaf for leaves, _ in parts for leaf in leaves], (len(parts), *inner)


def _object_array(leaves: list[object], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(leaves), dtype=object)
    for position, leaf in enumerate(leaves):  # one by one: numpy would iterate over a graph
        array[position] = leaf
    return array.reshape(shape)


def take_instance(instances: Instances, row: int) -> dict[str, Any]:
    """Return the entries of one row of flattened instances."""
    return {
        key: take_instance(value, row) if isinstance(value, Mapping) else value[row]
        for key, value in instances.items()
    }


def take_rows(instances: Instances, rows: slice | NDArray[np.intp]) -> dict[str, Any]:
    """Return the entries of some rows of flattened instances."""
    return {
        key: take_rows(value, rows) if isinstance(value, Mapping) else value[rows]
        for key, value in instances.items()
    }
