"""Clocks, and variants that take turns."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Clock = Callable[[], float]


def processor_seconds() -> float:
    """Return what this process and the children that it waited for have used: PuLP runs CBC as a child."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds_of(call: Callable[[], object], clock: Clock = processor_seconds) -> float:
    began = clock()
    call()
    return clock() - began


def interleaved(
    variants: Mapping[str, Callable[[], object]], repeats: int, clock: Clock = processor_seconds
) -> dict[str, FloatArray]:
    """Return the seconds of every repeat of each variant; they take turns, which can be compared."""
    turns = [[seconds_of(call, clock) for call in variants.values()] for _ in range(repeats)]
    return dict(zip(variants, np.array(turns).T, strict=True))
