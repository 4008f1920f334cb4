"""Assignments: a column of its own for every row of a cost matrix."""

from __future__ import annotations

from typing import Literal, final

from imle_opt_solvers._checks import check_option, check_shape, refuse_overflow
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["Assignment"]


@final
class Assignment(Solver):
    """The cheapest (or dearest) assignment: `min <z, costs>` over the z that give each row its own column.

        sum_j z_ij = 1 for all rows i,    sum_i z_ij <= 1 for all columns j,    z in {0, 1}^(n x m)

    Where n = m, z is a permutation matrix. Costs of any sign are exact. Which of several optima is returned
    depends on the row's own costs alone.

    Args:
        n: how many rows: workers, say.
        m: how many columns: tasks. At least n; None for n.
        sense: `"min"` or `"max"`.
        on_failure: see `Solver`; no row can fail.

    Raises:
        InvalidInputError: n below 1, m below n, another sense, or (from `solve`) costs too large to be added
            up.

    It takes no `instances`; forbid a pair by a cost that no assignment would pay. One solve per row: O(n m²).

    Source: R. Jonker and A. Volgenant (1987), "A shortest augmenting path algorithm for dense and sparse
    linear assignment problems".
    """

    def __init__(
        self,
        n: int,
        m: int | None = None,
        *,
        sense: Sense | Literal["min", "max"] = "min",
        on_failure: OnFailure = "raise",
    ) -> None:
        shape = check_shape("n", n) + check_shape("m", n if m is None else m)
        check_option("sense", sense, tuple(Sense))
        if len(shape) != 2 or shape[0] > shape[1]:
            raise InvalidInputError(
                f"`n` and `m` must be whole numbers with n <= m, not {n!r} and {m!r}: every row gets a "
                f"column of its own. Transpose the problem where there are more rows."
            )
        traits = Traits(binary=True, cardinality=shape[0], releases_gil=True, engine="kernel:assignment")
        super().__init__(shape, Sense(sense), traits, on_failure=on_failure)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the batch in one call."""
        from imle_opt_solvers.kernels.assignment import assign

        refuse_overflow(costs.reshape(len(costs), -1))
        decisions = assign(costs if self.sense is Sense.MIN else -costs)
        return Solution.optimal(costs, decisions)
