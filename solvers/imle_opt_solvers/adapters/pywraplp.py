"""`ortools.linear_solver.pywraplp.Solver`.

The order of the costs, where `variables` is not given, is that of the variables' indices: the order in which
they were made. The user's object is exported once and never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from ortools.linear_solver import pywraplp

from imle_opt_solvers.adapters._mp_model import columns_of, linear_model_of
from imle_opt_solvers.adapters._mp_solver import MP_SOLVERS, MpEngine, MpModelProto, choose_solver
from imle_opt_solvers.adapters._native import NativeSolver
from imle_opt_solvers.errors import UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import Limits, OnFailure

__all__ = ["PywraplpSolver", "read"]

_VERSIONS = {
    "SCIP": "scip",
    "Cbc": "cbc",
    "CP-SAT": "cp-sat",
    "Glop": "glop",
    "Clp": "clp",
    "Gurobi": "gurobi",
    "CPLEX": "cplex",
    "IBM ILOG CPLEX": "cplex",
    "XPRESS": "xpress",
    "GLPK": "glpk",
}
"""How `SolverVersion()` begins; pywraplp has no other way to say what a solver object is."""


def read(model: Any, variables: object = None) -> LinearModel:
    """Convert a `pywraplp.Solver`, exactly.

    Args:
        model: the user's object; it is not changed.
        variables: the variables whose costs are predicted: `pywraplp.Variable` objects or names, in a dict,
            list or array; None for all with an objective coefficient.

    Raises:
        UnsupportedModelError: a general constraint or a quadratic objective.
        ModelError: no objective to take the variables from, or a variable that is not in this model.
    """
    return linear_model_of(_export(model), variables, _column_of(model))


@final
class PywraplpSolver(NativeSolver):
    """A `pywraplp.Solver` solved by OR-Tools' own solver, on a clone of it.

    Args:
        model: the user's object; it is not changed. Options set on it (time limit, threads, solver-specific
            parameters) cannot be read from it and do not carry over: use `limits`.
        variables: see `read`.
        solver: `"scip"`, `"cbc"`, `"cp-sat"`, `"glop"`, `"clp"` or `"highs"` (or a commercial one that
            OR-Tools can load); None for the one that the object was created with.
        limits: per row. `seconds` is rounded to milliseconds; `threads` counts for CP-SAT and HiGHS only, the
            others use one. HiGHS gives no incumbent when its time is up.
        on_failure: see `Solver`.

    Raises:
        UnsupportedModelError: a solver that cannot solve this model exactly.
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
        proto = _export(model)
        columns = columns_of(proto, variables, _column_of(model))
        own = _own_solver(model) if solver is None else solver
        self.solver = choose_solver(own, columns, "pywraplp")
        self.proto = proto
        super().__init__(columns, f"native:{self.solver}", limits=limits, on_failure=on_failure)
        self._engines.get(self.build_engine)

    def build_engine(self) -> MpEngine:
        """Load the exported model into a solver object of this thread's own."""
        return MpEngine(self.proto, self.columns, self.solver, self.limits)


def _export(model: Any) -> Any:
    proto = MpModelProto()
    model.ExportModelToProto(proto)
    return proto


def _column_of(model: Any) -> Callable[[Any], int | None]:
    """Return the column of a variable: by address, since variables of two models share their indices."""
    columns = {int(variable.this): index for index, variable in enumerate(model.variables())}
    return lambda item: columns.get(int(item.this)) if isinstance(item, pywraplp.Variable) else None


def _own_solver(model: Any) -> str:
    version: str = model.SolverVersion()
    if version.startswith("PDLP") and model.IsMip():
        return "highs"  # pywraplp's HiGHS introduces itself as PDLP, which has no integers
    for prefix, name in _VERSIONS.items():
        if version.startswith(prefix):
            return name
    raise UnsupportedModelError(
        f"The solver of this object ({version}) cannot be used: pywraplp does not tell PDLP from HiGHS on "
        f"linear programs, and PDLP's answers are not vertices. Choose one with `solver`, one of "
        f"{', '.join(MP_SOLVERS)}, or use engine='highs'."
    )
