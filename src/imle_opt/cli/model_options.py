"""What the commands ask about a model, and the solver that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from imle_opt.model_spec import load_solver
from imle_opt.tables import read_table
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

    def load(self, table: Path) -> Solver:
        """Return the solver.

        Args:
            table: whose header names the variables, with `--variables-from-table`.

        Raises:
            ImleOptError: anything wrong with the model or the options.
        """
        if self.variables and self.variables_from_table:
            raise InvalidInputError(
                "--variables and --variables-from-table say the same thing: give one of them."
            )
        limited = self.seconds is not None or self.relative_gap != 0
        limits = Limits(seconds=self.seconds, relative_gap=self.relative_gap) if limited else None
        variables: Sequence[str] | None = self.variables or None
        if self.variables_from_table:
            variables = read_table(table).columns
            if variables is None:
                raise InvalidInputError(
                    f"{table} has no header to take the names of the variables from: add one, or use "
                    f"--variables."
                )
        solver = load_solver(self.model, variables=variables, engine=self.engine, limits=limits)
        return solver.with_on_failure(self.on_failure)
