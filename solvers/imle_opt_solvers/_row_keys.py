"""The content of each row of a batch as a short key."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray

__all__ = ["row_keys"]

_BYTES = 16


def row_keys(costs: FloatArray, instances: Instances | None) -> list[bytes]:
    """Return one key per row: equal for equal costs and instances, bit by bit, and for no others.

    Args:
        costs: (B, *shape), C order.
        instances: flattened, entries with leading dimension B, or None. Objects (graphs) count by what they
            pickle to, so that one that was changed is another one.

    Raises:
        InvalidInputError: an object that cannot be pickled.

    Keys are digests of 128 bits: among 10^9 rows two that differ share one with probability 10^-21.
    """
    names = b"" if instances is None else repr(sorted(_names(instances, ""))).encode()
    keys: list[bytes] = []
    for row in range(len(costs)):
        digest = hashlib.blake2b(costs[row].tobytes(), digest_size=_BYTES)
        if instances is not None:
            digest.update(names)
            for part in _parts(instances, row):
                digest.update(part)  # of known length, or a pickle, which tells where it ends
        keys.append(digest.digest())
    return keys


def _names(instances: Instances, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in instances.items():
        path = f"{prefix}[{key!r}]"
        if isinstance(value, Mapping):
            yield from _names(value, path)
        else:
            yield path, f"{value.dtype.str}{value.shape[1:]}"


def _parts(instances: Instances, row: int) -> Iterator[bytes]:
    for key in sorted(instances, key=repr):
        value = instances[key]
        if isinstance(value, Mapping):
            yield from _parts(value, row)
        else:
            yield _content(value[row])


def _content(value: Any) -> bytes:
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind != "O":
        return value.tobytes()
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInputError(
            f"`instances` holds a {type(value).__name__} that cannot be pickled ({error}), so that a cache "
            f"cannot tell whether it has changed: solve without CachedSolver."
        ) from error
