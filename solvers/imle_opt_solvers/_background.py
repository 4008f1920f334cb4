"""Calls one after another on a thread of their own, as futures."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias, final

__all__ = ["Background"]

_Entry: TypeAlias = tuple["Future[Any]", Callable[[], Any]] | None


@final
class Background:
    """A daemon thread, started with the first call: the interpreter does not wait for it when it ends."""

    def __init__(self) -> None:
        self._entries: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self._started = False
        self._lock = threading.Lock()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Have `call` run after those submitted before."""
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(
                    target=_work_off, args=(self._entries,), name="imle-opt-submit", daemon=True
                ).start()
        future: Future[Any] = Future()
        self._entries.put((future, call))
        return future

    def close(self) -> None:
        """Cancel what has not begun, and let the thread end."""
        while not self._entries.empty():
            entry = self._entries.get()
            if entry is not None:
                entry[0].cancel()
        self._entries.put(None)


def _work_off(entries: queue.SimpleQueue[_Entry]) -> None:
    while (entry := entries.get()) is not None:
        future, call = entry
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  # it is raised where the future is read
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
        # The thread must not keep a pool alive that nobody else holds.
        del entry, future, call
