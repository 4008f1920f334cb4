"""Pickling for a worker process, which has modules but not the user's script."""

from __future__ import annotations

import io
import pickle
import traceback
from types import FunctionType
from typing import Any, final

from imle_opt_solvers.errors import ImleOptError, InvalidInputError

__all__ = ["dump_exception", "dumps"]


def dumps(value: object, what: str, mend: str) -> bytes:
    """Pickle `value` so that a process without this one's `__main__` can load it.

    Args:
        value: anything.
        what: what it is, for the message.
        mend: what to do where it cannot be pickled, for the message.

    Raises:
        InvalidInputError: it cannot be pickled, or holds a function or class of `__main__`.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInputError(
            f"{what} cannot be sent to a worker process: it cannot be pickled ({error}). {mend}"
        ) from error
    except _InMainError as error:
        raise InvalidInputError(
            f"{what} cannot be sent to a worker process: it holds {error}, which is defined in the "
            f"script that runs (`__main__`). Workers do not run the script, so that they stay small: move "
            f"{error} to a module that can be imported. {mend}"
        ) from None
    return buffer.getvalue()


def dump_exception(error: Exception) -> bytes:
    """Pickle an exception, its traceback as a note; one that does not survive pickling becomes its text."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"Traceback in the worker process:\n{text}")
    try:
        dumped = pickle.dumps(error)
        pickle.loads(dumped)
    except Exception:  # noqa: BLE001  # an exception's own pickling may fail in any way
        return pickle.dumps(ImleOptError(f"A worker process raised {type(error).__name__}:\n{text}"))
    return dumped


class _InMainError(Exception):
    """Something of `__main__` was met."""


@final
class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> Any:
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            raise _InMainError(f"`{obj.__qualname__}`")
        return NotImplemented
