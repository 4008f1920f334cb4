"""One object per thread, made where it is used and left behind by pickling."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, final

__all__ = ["PerThread"]

ObjectT = TypeVar("ObjectT")


@final
class PerThread(Generic[ObjectT]):
    """Solver objects that are neither thread-safe nor picklable: each thread and process makes its own."""

    def __init__(self) -> None:
        self._local = threading.local()

    def get(self, make: Callable[[], ObjectT]) -> ObjectT:
        """Return this thread's object; the first time, make it."""
        made: ObjectT | None = getattr(self._local, "made", None)
        if made is None:
            made = self._local.made = make()
        return made

    def keep(self, made: ObjectT) -> None:
        """Let `made` be this thread's object."""
        self._local.made = made

    def __reduce__(self) -> tuple[type[PerThread[ObjectT]], tuple[()]]:
        return PerThread, ()
