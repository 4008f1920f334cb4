"""cvxpy problems solved by cvxpy: linear, mixed-integer, quadratic and conic ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import cvxpy as cp
import numpy as np
from cvxpy.error import SolverError
from cvxpy.reductions.solution import failure_solution

from imle_opt_solvers._per_thread import PerThread
from imle_opt_solvers.adapters.cvxpy_problem.arrays import is_quadratic
from imle_opt_solvers.adapters.cvxpy_problem.costs import BUILDING, CostProblem, cost_problem
from imle_opt_solvers.engines.highs_object import restart_threads
from imle_opt_solvers.errors import UnsupportedModelError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["CvxpySolver"]

_STATUSES = {
    "optimal": Status.OPTIMAL,
    "optimal_inaccurate": Status.LIMIT,
    "user_limit": Status.LIMIT,
    "infeasible": Status.INFEASIBLE,
    "unbounded": Status.UNBOUNDED,
    "infeasible_or_unbounded": Status.UNBOUNDED,
}
"""`LIMIT` becomes `FEASIBLE` where the answer is feasible. Every other status is an error."""

_FEASIBILITY_TOLERANCE = 1e-6
_INTERIOR_POINT_GAP = 1e-8
_MIXED_INTEGER = ("MOSEK", "GUROBI", "CPLEX", "COPT", "XPRESS", "SCIP", "ECOS_BB")
"""Solvers of mixed-integer problems with quadratic or second-order-cone parts."""


def _highs_options(limits: Limits) -> dict[str, Any]:
    timed = {} if limits.seconds is None else {"time_limit": limits.seconds}
    # HiGHS 1.14's presolve loses optima of models that have both integer and continuous columns.
    exact = {"mip_rel_gap": limits.relative_gap, "mip_abs_gap": 0.0, "presolve": "off"}
    return {**exact, "threads": limits.threads, **timed}


def _clarabel_options(limits: Limits) -> dict[str, Any]:
    timed = {} if limits.seconds is None else {"time_limit": limits.seconds}
    return {"max_threads": limits.threads, **timed}


def _scs_options(limits: Limits) -> dict[str, Any]:
    timed = {} if limits.seconds is None else {"time_limit_secs": limits.seconds}
    return {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 1_000_000, **timed}


@dataclass(frozen=True)
class _Backend:
    """What we know of one of cvxpy's solvers.

    Args:
        options: the solver's own options for some limits.
        tighter: options to try first; an answer that they make inaccurate is solved again without them.
        gap: the relative gap that an optimum is proven to.
        exact: whether an optimum is proven.
    """

    options: Callable[[Limits], dict[str, Any]]
    tighter: tuple[tuple[str, Any], ...] = ()
    gap: float = 0.0
    exact: bool = True


_BACKENDS = {
    "HIGHS": _Backend(_highs_options),
    "CLARABEL": _Backend(
        _clarabel_options,
        tighter=(("tol_gap_abs", 1e-10), ("tol_gap_rel", 1e-10), ("tol_feas", 1e-9)),
        gap=_INTERIOR_POINT_GAP,
    ),
    "SCS": _Backend(_scs_options, gap=np.nan, exact=False),
}
_OTHER_BACKEND = _Backend(lambda _: {}, gap=np.nan, exact=False)


@final
class CvxpySolver(Solver):
    """A cvxpy problem solved by cvxpy's own chain, compiled once per thread and not per solve.

    Args:
        problem: a `cvxpy.Problem` with one Parameter, the costs of one Variable; see `cost_problem`. The
            solver works on a private copy; the problem keeps its values, its cache and its status.
        variables: None; the Parameter says it.
        solver: the name of one of `cvxpy.installed_solvers()`. None: HiGHS for linear and mixed-integer
            linear problems, Clarabel for quadratic and conic ones, and for mixed-integer conic ones the first
            installed solver that takes them.
        limits: per row; honoured by HiGHS, Clarabel and SCS, refused with other solvers.
        on_failure: see `Solver`.

    Raises:
        InvalidInputError, ModelError, UnsupportedModelError: as `cost_problem`; or no installed solver takes
            the problem, or `limits` with a solver whose limits are unknown here.

    One solve per row, about 2 ms of cvxpy on top of the solver's own time. Clarabel is an interior-point
    method: its optimal objective is right to about 1e-8, relative to the largest cost; its decision is near
    the optimal one where that is unique, and in the middle of the optimal face where it is not.
    `traits.exact` is False for solvers other than HiGHS and Clarabel.
    """

    def __init__(
        self,
        problem: Any,
        variables: object = None,
        *,
        solver: str | None = None,
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
    ) -> None:
        self._template = cost_problem(problem, variables)
        self.limits = limits or Limits()
        self._compiled: PerThread[_Compiled] = PerThread()
        self.solver_name = self._choose(solver)
        backend = _BACKENDS.get(self.solver_name, _OTHER_BACKEND)
        if backend is _OTHER_BACKEND and limits is not None:
            raise UnsupportedModelError(
                f"`limits` cannot be handed to {self.solver_name}: use one of {', '.join(_BACKENDS)}."
            )
        traits = Traits(
            exact=backend.exact,
            binary=self._template.variable.attributes["boolean"] is True,
            engine=f"native:{self.solver_name.lower()}",
        )
        super().__init__(
            self._template.shape,
            self._template.sense,
            traits,
            names=self._template.names,
            on_failure=on_failure,
        )

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve row by row, each from a cold start, on this thread's compiled problem."""
        compiled = self._compiled.get(lambda: _Compiled(self._template, self.solver_name, self.limits))
        answers = [compiled.solve(row) for row in costs]
        missing = np.full(self.shape, np.nan)
        return Solution(
            np.stack([missing if answer.decision is None else answer.decision for answer in answers]),
            np.array([answer.objective for answer in answers]),
            tuple(answer.status for answer in answers),
            np.array([answer.gap for answer in answers]),
            0.0,
        )

    def _choose(self, solver: str | None) -> str:
        """Return the first candidate that cvxpy can compile the problem for."""
        installed = cp.installed_solvers()
        if solver is not None:
            candidates = [solver.upper()]
        elif self._template.problem.is_mixed_integer():
            candidates = ["HIGHS", *(name for name in _MIXED_INTEGER if name in installed)]
        else:
            candidates = ["HIGHS", "CLARABEL"]
        refusals: list[str] = []
        for name in candidates:
            try:
                compiled = _Compiled(self._template, name, self.limits)
            except SolverError as error:
                refusals.append(str(error).splitlines()[0])
                continue
            if solver is None and name == "HIGHS" and compiled.is_quadratic:
                continue
            self._compiled.keep(compiled)
            return name
        mixed = " SCIP (`pip install pyscipopt`) takes mixed-integer quadratic and conic ones."
        raise UnsupportedModelError(
            f"None of {', '.join(candidates)} takes this cvxpy problem ({'; '.join(refusals)}). Installed "
            f"are {', '.join(installed)}.{mixed if self._template.problem.is_mixed_integer() else ''}"
        )


@dataclass(frozen=True)
class _Answer:
    status: Status
    decision: FloatArray | None = None
    objective: float = np.nan
    gap: float = np.nan


@final
class _Compiled:
    """A private problem, compiled for one solver; not thread-safe, not picklable."""

    def __init__(self, template: CostProblem, solver: str, limits: Limits) -> None:
        self.costs = template.copy()
        self.solver = solver
        self.backend = _BACKENDS.get(solver, _OTHER_BACKEND)
        self.options = self.backend.options(limits)
        self.feasible: bool | None = None
        self.costs.parameter.value = np.zeros(template.shape)
        with BUILDING:
            data, _, _ = self.costs.problem.get_problem_data(solver, solver_opts=dict(self.options))
        self.is_quadratic = is_quadratic(data)

    def solve(self, costs: FloatArray) -> _Answer:
        """Solve under `costs` (*shape,)."""
        self.costs.parameter.value = costs
        found = self._run(self.costs.problem, self.options | dict(self.backend.tighter))
        if self.solver == "HIGHS" and found.status not in _STATUSES:
            restart_threads()
            found = self._run(self.costs.problem, self.options)
        if found.status != "optimal" and self.backend.tighter:
            found = self._run(self.costs.problem, self.options)
        status = _STATUSES.get(found.status, Status.ERROR)
        if status is Status.UNBOUNDED and not self._has_feasible_point():
            status = Status.INFEASIBLE
        if status not in (Status.OPTIMAL, Status.LIMIT) or not self._store(found.primal_vars):
            return _Answer(Status.ERROR if status is Status.OPTIMAL else status)
        if status is Status.LIMIT:
            if not self._is_feasible():
                return _Answer(Status.LIMIT if found.status == "user_limit" else Status.ERROR)
            status = Status.FEASIBLE
        return _Answer(
            status,
            np.array(self.costs.variable.value, dtype=np.float64) + 0.0,  # no -0.0
            float(np.sum(self.costs.problem.objective.value)),
            self._gap(status, found),
        )

    def _run(self, problem: Any, options: dict[str, Any]) -> Any:
        """Solve one problem; the answer is cvxpy's `Solution`, in terms of the problem's own variables.

        What `problem.solve` does, without its warnings (warning filters are shared by all threads), and with
        the objective scaled to a largest coefficient in [0.5, 1): the solvers' tolerances are absolute.
        """
        data, chain, inverse = problem.get_problem_data(self.solver, solver_opts=dict(options))
        _scale_objective(data)
        try:
            raw = chain.solve_via_data(problem, data, False, False, dict(options))
        except SolverError:
            return failure_solution("solver_error")
        return chain.invert(raw, inverse)

    def _store(self, values: dict[int, Any]) -> bool:
        """Write the answer into the private variables, integers made exact; say whether there is one."""
        for variable in self.costs.problem.variables():
            value = values.get(variable.id)
            if value is None or not np.isfinite(value).all():
                return False
            variable.save_value(_rounded(variable, np.array(value, dtype=np.float64).reshape(variable.shape)))
        return True

    def _is_feasible(self) -> bool:
        problem = self.costs.problem
        broken = [np.max(constraint.violation(), initial=0.0) for constraint in problem.constraints]
        broken += [
            np.max(np.abs(variable.project(variable.value) - variable.value), initial=0.0)
            for variable in problem.variables()
        ]
        return max(broken, default=0.0) <= _FEASIBILITY_TOLERANCE

    def _has_feasible_point(self) -> bool:
        """Whether the constraints can be satisfied; costs play no part in that, so it is asked once."""
        if self.feasible is None:
            with BUILDING:
                variables = self.costs.problem.variables()
                nothing = cp.Minimize(sum(0 * cp.sum(variable) for variable in variables))
                problem = cp.Problem(nothing, self.costs.problem.constraints)
                problem.get_problem_data(self.solver, solver_opts=dict(self.options))
            self.feasible = self._run(problem, self.options).status in ("optimal", "optimal_inaccurate")
        return self.feasible

    def _gap(self, status: Status, found: Any) -> float:
        reported = getattr(found.attr.get("solver_specific_stats"), "mip_gap", np.nan)
        if self.costs.problem.is_mixed_integer() and np.isfinite(reported):
            return max(0.0, float(reported))
        return self.backend.gap if status is Status.OPTIMAL else np.nan


def _scale_objective(data: Any) -> None:
    linear = "c" if "c" in data else "q"
    largest = float(np.abs(data[linear]).max(initial=0.0))
    if "P" in data:
        largest = max(largest, float(np.abs(data["P"].data).max(initial=0.0)))
    if largest == 0.0:
        return
    factor = 2.0 ** -int(np.frexp(largest)[1])
    data[linear] = data[linear] * factor
    if "P" in data:
        data["P"] = data["P"] * factor


def _rounded(variable: Any, value: FloatArray) -> FloatArray:
    """Return the value with the entries that must be integer made exact."""
    for attribute, where in (("boolean", variable.boolean_idx), ("integer", variable.integer_idx)):
        if variable.attributes[attribute] is True:
            return np.round(value)
        if len(where):  # one sequence of coordinates per dimension
            value[tuple(where)] = np.round(value[tuple(where)])
    return value
