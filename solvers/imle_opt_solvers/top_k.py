"""The k best of a row, and the one best: the smallest combinatorial problems there are."""

from __future__ import annotations

import math
from typing import Literal, final

import numpy as np

from imle_opt_solvers._checks import check_option, check_shape, refuse_overflow
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["OneHot", "TopK"]


@final
class TopK(Solver):
    """The k best entries: `max <z, costs>` (or min) over the z in {0, 1}^n with k ones.

    Costs of any sign are exact. Of equal entries, the first in row-major order is chosen first.

    Args:
        shape: the shape of one row of costs; n for `(n,)`. The k best are those of the whole row.
        k: how many, from 1 to the number of entries.
        sense: `"max"` for the largest entries, `"min"` for the smallest.
        on_failure: see `Solver`; no row can fail.

    Raises:
        InvalidInputError: a shape without entries, k out of its range, another sense, or (from `solve`) costs
            too large to be added up.

    One solve per row: O(n log k). It takes no `instances`. For the exact distribution over k-subsets, its
    samples and marginals, use the family `KSubset` of the torch side.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        k: int,
        *,
        sense: Sense | Literal["min", "max"] = "max",
        on_failure: OnFailure = "raise",
    ) -> None:
        shape = check_shape("shape", shape)
        check_option("sense", sense, tuple(Sense))
        self.k = math.prod(check_shape("k", k))
        if self.k > math.prod(shape):
            raise InvalidInputError(f"`k` is {k!r}, and there are {math.prod(shape)} entries to choose from.")
        traits = Traits(binary=True, cardinality=self.k, releases_gil=True, engine="kernel:top-k")
        super().__init__(shape, Sense(sense), traits, on_failure=on_failure)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the batch in one call."""
        from imle_opt_solvers.kernels.selection import top_k

        flat = costs.reshape(len(costs), -1)
        refuse_overflow(flat)
        return Solution.optimal(costs, top_k(flat if self.sense is Sense.MAX else -flat, self.k))


@final
class OneHot(Solver):
    """The best entry: `max <z, costs>` (or min) over the unit vectors z.

    Costs of any sign are exact. Of equal entries, the first in row-major order is chosen.

    Args:
        shape: the shape of one row of costs; n for `(n,)`. The best entry is that of the whole row.
        sense: `"max"` or `"min"`.
        on_failure: see `Solver`; no row can fail.

    Raises:
        InvalidInputError: a shape without entries, or another sense.

    One solve per row: n steps. It takes no `instances`. For the exact categorical distribution use the family
    `Categorical` of the torch side.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        *,
        sense: Sense | Literal["min", "max"] = "max",
        on_failure: OnFailure = "raise",
    ) -> None:
        check_option("sense", sense, tuple(Sense))
        traits = Traits(binary=True, cardinality=1, releases_gil=True, engine="kernel:argmax")
        super().__init__(check_shape("shape", shape), Sense(sense), traits, on_failure=on_failure)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the batch in one call; numpy's own argmax is faster than a kernel of ours."""
        flat = costs.reshape(len(costs), -1)
        best = flat.argmax(axis=1) if self.sense is Sense.MAX else flat.argmin(axis=1)
        decisions = np.zeros_like(flat)
        decisions[np.arange(len(flat)), best] = 1.0
        return Solution.optimal(costs, decisions)
