"""Whatever a solver optimises over, as a family: maximisation and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast, final

from torch import Tensor

from imle_opt._bridge import Spent, map_decisions, map_with_fixed
from imle_opt._checks import check_event, check_finite
from imle_opt.families.protocols import MAPOracle
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["Polytope", "as_family", "count_undecided"]

Answer = TypeVar("Answer")


@final
class Polytope:
    """The feasible region of a solver, known through its optima only.

    It has a MAP oracle and no exact samples or marginals; methods that need those refuse it.

    Args:
        solver: any solver, wrapped or not; it keeps its own sense: `theta = costs` for a maximisation,
            `theta = -costs` for a minimisation.

    Attributes:
        spent: rows solved, rows without a decision, seconds in the solver and on the way there and back.

    Cost: one solve per row.

    Layers and losses make one of a solver themselves; give it where the same counts are wanted for several.
    Where exact samples are needed and the decisions are subsets or trees, give `KSubset` or `SpanningTree`.
    """

    def __init__(self, solver: Solver) -> None:
        if not isinstance(solver, Solver):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise InvalidInputError(
                f"`solver` must be a Solver, not {type(solver).__name__}: make one with `wrap(model)`."
            )
        self.solver = solver
        self.event_dim = len(solver.shape)
        self.sign = solver.sense.sign
        self.spent = Spent()

    @property
    def undecided(self) -> int:
        """How many rows had no decision so far, under `on_failure="nan"`; each sample counts."""
        return self.spent.undecided

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one decision."""
        return self.solver.shape

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return `argmax over z in C of <z, theta>`, by one solve per row.

        Args:
            theta: (*batch, *shape), always maximised, whatever the sense of the solver.
            instances: per-row data, as in `Solver.solve`.
            deterministic: as in `Solver.solve`.

        Returns:
            Decisions (*batch, *shape), in the dtype and on the device of theta, without a graph.

        Raises:
            InvalidInputError: theta is not finite, or not of that shape.
            SolveError: some row has no proven optimum, and the solver's policy is to raise.
        """
        return self._asked(map_decisions, theta, instances, deterministic)

    def map_with_fixed(
        self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return z = `MAP(theta)`, and F(z), what the model's fixed costs and constant add to the maximum.

        Args:
            theta: (*batch, *shape), always maximised, whatever the sense of the solver.
            instances: per-row data, as in `Solver.solve`.
            deterministic: as in `Solver.solve`.

        Returns:
            Decisions (*batch, *shape), and F(z) (*batch,), which counts towards a maximum; without a graph.

        Raises:
            InvalidInputError: as `map`.
            SolveError: as `map`.
        """
        return self._asked(map_with_fixed, theta, instances, deterministic)

    def _asked(
        self,
        bridge: Callable[..., Answer],
        theta: Tensor,
        instances: Instances | None,
        deterministic: bool,
    ) -> Answer:
        check_event(theta, self.event_dim, self.solver.shape, "theta")
        try:
            return bridge(
                self.solver, theta, instances=instances, deterministic=deterministic, spent=self.spent
            )
        except InvalidInputError:
            # The solver has looked for NaN and infinity already; it calls them costs.
            check_finite(theta, "theta", self.event_dim)
            raise

    def __repr__(self) -> str:
        return f"Polytope({type(self.solver).__name__}, shape={self.solver.shape}, sense={self.solver.sense})"


def as_family(solver_or_family: Solver | MAPOracle) -> MAPOracle:
    """Return a solver as a `Polytope`, and a family as it is.

    Raises:
        InvalidInputError: neither a solver nor a family.
    """
    if isinstance(solver_or_family, Solver):
        return Polytope(solver_or_family)
    given = cast(object, solver_or_family)
    # A class has the attributes of a family, too.
    if isinstance(given, MAPOracle) and not isinstance(given, type):
        return given
    shown = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
    raise InvalidInputError(
        f"expected a solver or a family, not {shown}: wrap a model with "
        "`wrap(model)`, or give KSubset(k), Categorical() or an object with `event_dim`, `sign` and `map`."
    )


def count_undecided(family: MAPOracle) -> int:
    """Return how many rows of a family had no decision so far; each sample counts, forward and backward.

    Rows without a decision there are under `on_failure="nan"` or `"incumbent"`; their gradient is zero. 0 for
    families that always have one.
    """
    undecided: int = getattr(family, "undecided", 0)
    return undecided
