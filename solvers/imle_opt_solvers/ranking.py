"""The ranks of a row of scores, as the solution of a linear problem over permutations."""

from __future__ import annotations

from typing import Literal, final

from imle_opt_solvers._checks import check_option, check_shape, refuse_overflow
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["Ranking"]


@final
class Ranking(Solver):
    """The ranks of scores: `min <z, costs>` (or max) over the permutations z of 1, ..., n.

    By the rearrangement inequality the minimum gives rank 1 to the largest cost and rank n to the smallest:
    with `sense="min"`, costs are scores, and 1 is the best. With `sense="max"`, rank n goes to the largest.
    Decisions are whole numbers, not 0 or 1; their convex hull is the permutahedron. Costs of any sign are
    exact. Of equal entries, the first has the smaller rank.

    Args:
        n: how many entries one row has.
        sense: `"min"` for rank 1 at the largest cost, `"max"` for rank n there.
        on_failure: see `Solver`; no row can fail.

    Raises:
        InvalidInputError: n below 1, another sense, or (from `solve`) costs too large to be added up.

    One solve per row: O(n log n). It takes no `instances`.

    Source: M. Rolínek, V. Musil, A. Paulus, M. Vlastelica, C. Michaelis and G. Martius (2020), "Optimizing
    Rank-based Metrics with Blackbox Differentiation", arXiv:1912.03500, Proposition 1 (the case "min").
    """

    def __init__(
        self,
        n: int,
        *,
        sense: Sense | Literal["min", "max"] = "min",
        on_failure: OnFailure = "raise",
    ) -> None:
        shape = check_shape("n", n)
        if len(shape) != 1:
            raise InvalidInputError(f"`n` must be a whole number, at least 1, not {n!r}: a row is ranked.")
        check_option("sense", sense, tuple(Sense))
        traits = Traits(releases_gil=True, engine="kernel:sort")
        super().__init__(shape, Sense(sense), traits, on_failure=on_failure)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the batch in one call."""
        from imle_opt_solvers.kernels.selection import ranks

        refuse_overflow(costs, largest_decision=costs.shape[1])
        decisions = ranks(costs if self.sense is Sense.MAX else -costs)
        return Solution.optimal(costs, decisions)
