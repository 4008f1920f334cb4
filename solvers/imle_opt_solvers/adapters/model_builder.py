"""`ortools.linear_solver.python.model_builder.Model`.

The order of the costs, where `variables` is not given, is that of the variables' indices: the order in which
they were made. The user's object is exported once and never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from ortools.linear_solver.python import model_builder

from imle_opt_solvers.adapters._mp_model import columns_of, linear_model_of
from imle_opt_solvers.adapters._mp_solver import MpEngine, choose_solver
from imle_opt_solvers.adapters._native import NativeSolver
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import Limits, OnFailure

__all__ = ["ModelBuilderSolver", "read"]


def read(model: Any, variables: object = None) -> LinearModel:
    """Convert a `model_builder.Model`, exactly.

    Args:
        model: the user's object; it is not changed.
        variables: the variables whose costs are predicted: `model_builder.Variable` objects or names, in a
            dict, list or array, or a pandas Series of `new_*_var_series`; None for all with an objective
            coefficient.

    Raises:
        UnsupportedModelError: an enforced (indicator) constraint.
        ModelError: no objective to take the variables from, or a variable that is not in this model.
    """
    return linear_model_of(model.export_to_proto(), variables, _column_of(model))


@final
class ModelBuilderSolver(NativeSolver):
    """A `model_builder.Model` solved by OR-Tools' own solver, on a clone of it.

    Args:
        model: the user's object; it is not changed.
        variables: see `read`.
        solver: `"scip"`, `"cbc"`, `"cp-sat"`, `"glop"`, `"clp"` or `"highs"` (or a commercial one that
            OR-Tools can load); None, since the model names none, for SCIP, or GLOP where no variable is
            integer.
        limits: per row. `seconds` is rounded to milliseconds; `threads` counts for CP-SAT and HiGHS only, the
            others use one. HiGHS gives no incumbent when its time is up.
        on_failure: see `Solver`.

    Raises:
        UnsupportedModelError: a solver that cannot solve this model exactly; only SCIP and CP-SAT take
            enforced constraints.
        MissingDependencyError: a solver that OR-Tools cannot load here.
        ModelError: see `read`.

    One solve per row. CP-SAT works with integers: its rows' `gaps` count the error of rounding the costs.
    """

    def __init__(
        self,
        model: Any,
        variables: object = None,
        *,
        solver: str | None = None,
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
    ) -> None:
        self.proto = model.export_to_proto()
        columns = columns_of(self.proto, variables, _column_of(model))
        self.solver = choose_solver(solver, columns, "model_builder")
        super().__init__(columns, f"native:{self.solver}", limits=limits, on_failure=on_failure)
        self._engines.get(self.build_engine)

    def build_engine(self) -> MpEngine:
        """Load the exported model into a solver object of this thread's own."""
        return MpEngine(self.proto, self.columns, self.solver, self.limits)


def _column_of(model: Any) -> Callable[[Any], int | None]:
    """Return the column of a variable, and None for one of another model."""

    def column_of(item: Any) -> int | None:
        ours = isinstance(item, model_builder.Variable) and item.helper is model.helper
        return int(item.index) if ours else None

    return column_of
