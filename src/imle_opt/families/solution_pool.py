"""Decisions met so far, looked up instead of solved for: what contrastive and ranking losses compare with."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from imle_opt._bridge import to_array
from imle_opt._checks import at_least_float32, check_at_least_one, check_costs, check_finite, check_floating
from imle_opt._full_precision import full_precision
from imle_opt.families._pool_members import PoolMembers
from imle_opt.families.polytope import Polytope, as_family, count_undecided
from imle_opt.families.protocols import FixedPart, MAPOracle
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["SolutionPool"]


@final
class SolutionPool(nn.Module):
    """Another solver, and the different decisions that it has taken: mostly the best of them is the answer.

        train()   with probability `solve_ratio` a call is solved, and its decisions join the pool; else
                  map(theta) = argmax over z in the pool of <z, theta> + F(z):  one matmul and one argmax
        eval()    every call is solved, and the pool stays as it is

    F(z) is what costs that are not predicted add to the model's maximum; 0 where there are none.

    It is a family: given to a layer or a loss in place of the solver, it trains with a fraction of the
    solves, and switches with it between `train()` and `eval()`. Contrastive and ranking losses compare with
    all `members`. The first call is always solved, unless there are `solutions` to begin with.

    An answer from the pool is feasible, but only the best of the pool, and depends on what was solved before:
    it is not exact, `deterministic` or not, and so say its `traits`. Judge a model by the solver itself.

    Args:
        solver: a solver, or a family of decisions.
        solutions: decisions to begin with, (N, *event), for instance those of the training set; that they are
            feasible is not checked.
        capacity: how many decisions there may be; what was found longest ago goes first.
        solve_ratio: the probability, in [0, 1], that a call in `train()` is solved.
        generator: source of that randomness; None is torch's default. With a ratio of 0 or 1 none is used.

    Attributes:
        solves: calls that were solved so far, in `train()`.
        lookups: calls that were answered from the pool.

    Raises:
        InvalidInputError: an option out of its range; from calls, an unfit theta, or `instances`: rows with
            regions of their own have no pool in common.

    Cost: one solve per row of a call that is solved; O(rows * members * entries) otherwise, on the device of
    theta. The members travel with `state_dict`.

    Source: Mulamba et al., IJCAI 2021, arXiv 2011.05354, Section 4.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        solutions: Tensor | None = None,
        capacity: int = 4096,
        solve_ratio: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(capacity, "capacity")
        if not 0 <= solve_ratio <= 1:
            raise InvalidInputError(f"`solve_ratio` must lie in [0, 1], not {solve_ratio!r}.")
        self.family = as_family(solver)
        self.capacity = capacity
        self.solve_ratio = solve_ratio
        self.generator = generator
        self.solves = self.lookups = 0
        self._members = PoolMembers(capacity)
        self._event: tuple[int, ...] | None = self.shape
        if solutions is not None:
            self.add(solutions)

    @property
    def event_dim(self) -> int:
        """How many of the last dimensions of theta belong to one decision."""
        return self.family.event_dim

    @property
    def sign(self) -> float:
        """`theta = sign * costs`, as of the solver."""
        return self.family.sign

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one decision, where the solver has only one."""
        shape: tuple[int, ...] | None = getattr(self.family, "shape", None)
        return shape

    @property
    def traits(self) -> Traits:
        """Those of the solver, but not exact, and without instances."""
        own = self.family.solver.traits if isinstance(self.family, Polytope) else Traits()
        return replace(own, exact=False, takes_instances=(), engine=f"pool:{own.engine}")

    @property
    def size(self) -> int:
        """How many decisions there are."""
        return len(self._members)

    @property
    def undecided(self) -> int:
        """How many rows had no decision so far, as of the solver."""
        return count_undecided(self.family)

    def members(self, like: Tensor) -> Tensor:
        """Return all decisions of the pool, (M, *event), in the dtype and on the device of `like`."""
        table, _ = self._members.tables(like)
        return table.reshape(-1, *(self._event or ()))

    def fixed_parts(self, like: Tensor) -> Tensor:
        """Return F of each member, (M,), in the dtype and on the device of `like`."""
        _, fixed = self._members.tables(like)
        return fixed

    def add(self, decisions: Tensor, fixed: Tensor | None = None) -> int:
        """Put decisions into the pool; those that are there already count as found again.

        Entries that differ by less than 1e-6 are the same. Rows that hold NaN are passed over.

        Args:
            decisions: (*batch, *event).
            fixed: F of each, (*batch,), in the sense of a maximisation; None for 0.

        Returns:
            How many were new.
        """
        check_floating(decisions, "decisions")
        event = self._checked_event(decisions, "decisions")
        rows = to_array(decisions).reshape(-1, math.prod(event))
        parts = np.zeros(len(rows)) if fixed is None else to_array(fixed).reshape(len(rows))
        decided = ~np.isnan(rows).any(axis=1)
        check_finite(torch.from_numpy(rows[decided]), "decisions", 1)
        self._event = event
        return self._members.add(rows[decided], parts[decided])

    def grow(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> bool:
        """In `train()`, with probability `solve_ratio`, solve and put the decisions into the pool.

        What losses call that use `members` and no optimum.

        Args:
            theta: (*batch, *event), always maximised.
            instances: must be None.
            deterministic: as in `Solver.solve`.

        Returns:
            Whether it was solved. An empty pool always is.
        """
        self._check(theta, instances)
        if not self.training or not self._tossed():
            return False
        self._solve_and_add(theta, deterministic)
        return True

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the optimum, or the best decision of the pool, of each row.

        Args:
            theta: (*batch, *event), always maximised.
            instances: must be None.
            deterministic: of what is solved, as in `Solver.solve`.

        Returns:
            (*batch, *event), in the dtype and on the device of theta, without a graph.
        """
        return self.map_with_fixed(theta, instances=instances, deterministic=deterministic)[0]

    def map_with_fixed(
        self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return the decisions of `map`, and F of each, (*batch,)."""
        self._check(theta, instances)
        if not self.training:
            return self._solved(theta, deterministic)
        if self._tossed():
            return self._solve_and_add(theta, deterministic)
        self.lookups += 1
        return self._best(theta.detach())

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the members, for `state_dict`."""
        like = torch.empty(0, dtype=torch.float64)
        return {"decisions": self.members(like), "fixed": self.fixed_parts(like)}

    def set_extra_state(self, state: Any) -> None:
        """Take the members of a `state_dict` in place of those that are here."""
        self._members = PoolMembers(self.capacity)
        if len(state["decisions"]):
            self.add(state["decisions"], state["fixed"])

    def extra_repr(self) -> str:
        """Show the family and the options."""
        return f"{self.family!r}, capacity={self.capacity}, solve_ratio={self.solve_ratio}"

    def _best(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        batch, event = theta.shape[: theta.ndim - self.event_dim], theta.shape[theta.ndim - self.event_dim :]
        rows = at_least_float32(theta).reshape(math.prod(batch), math.prod(event))
        table, fixed = self._members.tables(rows)
        with full_precision(rows):
            best = torch.addmm(fixed, rows, table.T).argmax(1)
        return table[best].reshape(theta.shape).to(theta.dtype), fixed[best].reshape(batch).to(theta.dtype)

    def _solved(self, theta: Tensor, deterministic: bool) -> tuple[Tensor, Tensor]:
        if isinstance(self.family, FixedPart):
            return self.family.map_with_fixed(theta, deterministic=deterministic)
        decisions = self.family.map(theta, deterministic=deterministic)
        return decisions, decisions.new_zeros(decisions.shape[: decisions.ndim - self.event_dim])

    def _solve_and_add(self, theta: Tensor, deterministic: bool) -> tuple[Tensor, Tensor]:
        decisions, fixed = self._solved(theta, deterministic)
        self.add(decisions, fixed)
        self.solves += 1
        return decisions, fixed

    def _tossed(self) -> bool:
        if self.size == 0 or self.solve_ratio == 1:
            return True
        if self.solve_ratio == 0:
            return False
        device = "cpu" if self.generator is None else self.generator.device
        return torch.rand((), generator=self.generator, device=device).item() < self.solve_ratio

    def _check(self, theta: Tensor, instances: Instances | None) -> None:
        if instances:
            raise InvalidInputError(
                f"SolutionPool takes no `instances` (got {', '.join(map(repr, instances))}): it keeps the "
                f"decisions of one feasible region, and what one row may do another may not. Use the solver "
                f"itself, in a CachedSolver where the same rows come again; or one pool per region."
            )
        check_costs(theta, self.event_dim, self.shape, "theta")
        self._checked_event(theta, "theta")

    def _checked_event(self, tensor: Tensor, name: str) -> tuple[int, ...]:
        """Return the shape of one decision: the pool holds decisions of one shape."""
        event = tuple(tensor.shape[tensor.ndim - self.event_dim :]) if tensor.ndim >= self.event_dim else None
        if event is None or (self._event is not None and event != self._event):
            expected = f"{self.event_dim} event dimension(s)" if self._event is None else f"{self._event}"
            raise InvalidInputError(
                f"`{name}` has shape {tuple(tensor.shape)}; the decisions of this pool have {expected}."
            )
        return event
