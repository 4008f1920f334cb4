"""What the commands ask about a model, and the solver that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

from imle_opt.model_spec import load_solver
from imle_opt.tables import open_table
from imle_opt_solvers import InvalidInputError, Limits, Solver
from imle_opt_solvers.solution import OnFailure

__all__ = ["ModelOptions"]


@final
@dataclass(frozen=True)
class ModelOptions:
    """A MODEL argument with the options that go with it; see `imle-opt regret --help`."""

    model: str
    variables: tuple[str, ...] = ()
    variables_from_table: bool = False
    engine: str = "auto"
    seconds: float | None = None
    relative_gap: float = 0.0
    on_failure: OnFailure = "raise"

    @property
    def limits(self) -> Limits:
        """Of every solve."""
        return Limits(seconds=self.seconds, relative_gap=self.relative_gap)

    def maker(self, table: Path) -> Callable[[], Solver]:
        """Return a function that loads the solver; it can be sent to other processes.

        Args:
            table: whose header names the variables, with `--variables-from-table`.

        Raises:
            ImleOptError: anything wrong with the model or the options.
        """
        if self.variables and self.variables_from_table:
            raise InvalidInputError(
                "--variables and --variables-from-table say the same thing: give one of them."
            )
        limits = None if self.limits == Limits() else self.limits
        variables: Sequence[str] | None = self.variables or None
        if self.variables_from_table:
            variables = open_table(table).columns
            if variables is None:
                raise InvalidInputError(
                    f"{table} has no header to take the names of the variables from: add one, or use "
                    f"--variables."
                )
        return partial(load_solver, self.model, variables=variables, engine=self.engine, limits=limits)

    def load(self, table: Path) -> Solver:
        """Return the solver, with the policy for failures; errors are those of `maker`."""
        return self.maker(table)().with_on_failure(self.on_failure)
