"""OR-Tools' `MPSolver`, the C++ object behind pywraplp and model_builder: costs changed in place.

SCIP, CBC, GLOP and CLP run on one thread whatever `Limits.threads` says (SCIP's parallel mode loses its proof
of optimality, the CBC that ships with OR-Tools has no threads); CP-SAT and HiGHS use what they are given.
HiGHS returns no incumbent when its time is up, and no bound when it stops at a gap.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from ortools.linear_solver import linear_solver_pb2, pywraplp

from imle_opt_solvers.adapters._native import power_of_two_scale, relative_gap
from imle_opt_solvers.adapters._ortools import canonical_solver, refuse_inexact, refuse_shadowed_highs
from imle_opt_solvers.errors import MissingDependencyError, UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import RowAnswer, exact_integers
from imle_opt_solvers.solution import FloatArray, Limits, Status

__all__ = ["MP_SOLVERS", "MpEngine", "MpModelProto", "choose_solver"]

MpModelProto: Any = linear_solver_pb2.MPModelProto

MP_SOLVERS = ("scip", "cbc", "cp-sat", "glop", "clp", "highs", "gurobi", "cplex", "xpress", "glpk")
_IDENTIFIERS = {"cp-sat": "SAT"}
"""What `CreateSolver` calls a solver, where it is not our name in capitals."""
_KEEPS_BASIS = ("glop",)
"""Solvers that start from their last basis even where `INCREMENTALITY_OFF` asks them not to."""

_STATUSES = {
    pywraplp.Solver.OPTIMAL: Status.OPTIMAL,
    pywraplp.Solver.FEASIBLE: Status.FEASIBLE,
    pywraplp.Solver.INFEASIBLE: Status.INFEASIBLE,
    pywraplp.Solver.UNBOUNDED: Status.UNBOUNDED,
    pywraplp.Solver.NOT_SOLVED: Status.LIMIT,
}
"""Every other status is an error, `_UNKNOWN` apart. GLOP calls an unbounded model infeasible."""
_UNKNOWN = linear_solver_pb2.MPSolverResponseStatus.MPSOLVER_UNKNOWN_STATUS


def choose_solver(solver: str | None, columns: LinearModel, where: str) -> str:
    """Return the solver to use: as asked, else SCIP for integer models and GLOP for linear programs.

    Raises:
        UnsupportedModelError: an unknown solver, or one that cannot solve this kind of model exactly.
    """
    if solver is None:
        return "scip" if columns.is_mixed_integer else "glop"
    name = canonical_solver(solver, MP_SOLVERS, where)
    refuse_inexact(name, columns)
    refuse_shadowed_highs(name)
    return name


@final
class MpEngine:
    """An `MPSolver` for one model; not thread-safe, not picklable: made where it is used.

    Args:
        proto: the exported model.
        columns: its columns.
        solver: one of `MP_SOLVERS`.
        limits: per row.

    Raises:
        MissingDependencyError: OR-Tools cannot load that solver here.
        UnsupportedModelError: that solver cannot hold a construct of the model.
    """

    def __init__(self, proto: Any, columns: LinearModel, solver: str, limits: Limits) -> None:
        self.proto = proto
        self.columns = columns
        self.solver = solver
        self.limits = limits
        self._connect()

    def run(self, costs: FloatArray, *, fresh: bool) -> RowAnswer:
        """Optimise `costs` (columns,) in the model's own sense; `fresh` solves from scratch."""
        if fresh and self.solver in _KEEPS_BASIS:
            self._connect()
        scale = power_of_two_scale(costs, mixed_integer=self.columns.is_mixed_integer)
        for variable, coefficient in zip(self.variables, (costs * scale).tolist(), strict=True):
            self.objective.SetCoefficient(variable, coefficient)
        self.objective.SetOffset(self.columns.offset * scale)
        return self._read(self.mp.Solve(self._parameters(fresh)))

    def _connect(self) -> None:
        self.mp: Any = _load(self.proto, self.solver)
        self.variables: list[Any] = self.mp.variables()
        self.objective: Any = self.mp.Objective()
        _apply_limits(self.mp, self.solver, self.limits)

    def _parameters(self, fresh: bool) -> Any:
        parameters: Any = pywraplp.MPSolverParameters()
        parameters.SetDoubleParam(parameters.RELATIVE_MIP_GAP, self.limits.relative_gap)
        if fresh:
            parameters.SetIntegerParam(parameters.INCREMENTALITY, parameters.INCREMENTALITY_OFF)
        return parameters

    def _read(self, foreign: int) -> RowAnswer:
        status = self._unknown() if foreign == _UNKNOWN else _STATUSES.get(foreign, Status.ERROR)
        if not status.has_decision:
            return RowAnswer(status)
        values = np.array([variable.solution_value() for variable in self.variables], dtype=np.float64)
        return RowAnswer(status, exact_integers(values, self.columns.integrality), self._gap(status))

    def _unknown(self) -> Status:
        """Read the status that says nothing: CP-SAT's for infeasible or unbounded, HiGHS' for a limit."""
        if self.solver == "cp-sat":
            return Status.INFEASIBLE
        limited = self.solver == "highs" and self.limits.seconds is not None
        return Status.LIMIT if limited else Status.ERROR

    def _gap(self, status: Status) -> float:
        proven = status is Status.OPTIMAL
        if proven and (self.limits.relative_gap == 0.0 or not self.mp.IsMip()):
            return 0.0
        if self.solver == "highs" or not self.mp.IsMip():
            return float(np.nan)
        return relative_gap(self.objective.Value(), self.objective.BestBound())


def _load(proto: Any, solver: str) -> Any:
    mp: Any = pywraplp.Solver.CreateSolver(_IDENTIFIERS.get(solver, solver.upper()))
    if mp is None:
        raise MissingDependencyError(
            f"OR-Tools cannot load {solver} here: install it with its licence, or choose another `solver`."
        )
    complaint = mp.LoadModelFromProto(proto)
    if complaint:
        raise UnsupportedModelError(
            f"{solver} cannot take this model: {complaint}. Choose another `solver`; scip takes most."
        )
    return mp


def _apply_limits(mp: Any, solver: str, limits: Limits) -> None:
    if limits.seconds is not None:
        mp.SetTimeLimit(max(1, round(1000 * limits.seconds)))
    if solver == "cp-sat":
        mp.SetNumThreads(limits.threads)
        # A single worker proves little without cuts; several share the work, and must do so in a fixed order.
        work = "linearization_level: 2" if limits.threads == 1 else "interleave_search: true"
        # CP-SAT's own handler of Ctrl-C does not give Python's back: the next one would end the process.
        mp.SetSolverSpecificParametersAsString(f"{work} catch_sigint_signal: false")
    if solver == "highs":
        threads = "parallel=off" if limits.threads == 1 else f"parallel=on,threads={limits.threads}"
        # HiGHS ignores the gap of `MPSolverParameters`, and prints a banner on each solve.
        mp.SetSolverSpecificParametersAsString(
            f"output_flag=false,mip_rel_gap={limits.relative_gap},mip_abs_gap=0.0,{threads}"
        )
