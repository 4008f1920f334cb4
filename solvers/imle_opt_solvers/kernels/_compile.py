"""How kernels are compiled: on first use, without the GIL, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

__all__ = ["compiled"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return `function` to be compiled at its first call.

    The machine code is kept beside the source or, where that cannot be written, in the user's cache folder
    (`NUMBA_CACHE_DIR` names another). Where no folder can be written, every process compiles anew.
    """
    try:
        kernel = njit(function, cache=True, nogil=True)
    except RuntimeError:  # numba's "no locator available": nowhere to keep it
        kernel = njit(function, nogil=True)
    return cast("Callable[Arguments, Result]", kernel)
