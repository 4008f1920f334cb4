"""A bounded set of decisions, as a table on any device."""

from __future__ import annotations

from typing import final

import numpy as np
from torch import Tensor

from imle_opt._bridge import to_tensor
from imle_opt_solvers.solution import FloatArray

__all__ = ["PoolMembers"]

_DECIMALS = 6
"""Decisions that agree to so many are one: solvers of linear programs round."""


@final
class PoolMembers:
    """Different decisions with their fixed parts, the one found longest ago first.

    Args:
        capacity: how many there may be.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._rows: dict[bytes, tuple[FloatArray, float]] = {}
        self._tables: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, decisions: FloatArray, fixed: FloatArray) -> int:
        """Add decisions (N, m) with fixed parts (N,); return how many were new."""
        new = 0
        # A zero has a sign that its bytes show.
        keys = np.round(decisions, _DECIMALS) + 0.0
        for key, decision, part in zip(keys, decisions, fixed, strict=True):
            name = key.tobytes()
            known = self._rows.pop(name, None)
            new += known is None
            self._rows[name] = (decision.copy(), float(part)) if known is None else known
        for name in list(self._rows)[: max(0, len(self._rows) - self.capacity)]:
            del self._rows[name]
        if new:
            self._tables = None
        return new

    def tables(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return decisions (M, m) and fixed parts (M,), in the dtype and on the device of `like`."""
        tables = self._tables
        if tables is None or tables[0].dtype != like.dtype or tables[0].device != like.device:
            rows = list(self._rows.values())
            decisions = np.array([decision for decision, _ in rows])
            tables = (
                to_tensor(decisions, like=like),
                to_tensor(np.array([part for _, part in rows]), like=like),
            )
            self._tables = tables
        return tables
