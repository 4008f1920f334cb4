"""One door for every kind of model: find the adapter that knows it, and the engine that solves it.

Which kind a model is can be read off its class: the packages that the user has not imported stay unimported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from imle_opt_solvers.errors import InvalidInputError, ModelError, UnsupportedModelError
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.solution import Limits, OnFailure, Sense
from imle_opt_solvers.solver import Solver

if TYPE_CHECKING:
    from imle_opt_solvers.linear_model import LinearModel

__all__ = ["wrap"]


_ADAPTERS = "imle_opt_solvers.adapters"


@dataclass(frozen=True)
class _Kind:
    """One kind of model.

    Args:
        label: how messages call it.
        package: the module, or a parent of the module, that defines its class.
        name: the class.
        reader: our module that has `read(model, variables) -> LinearModel`.
        native: where and what keeps the package's own solver:
            `native(model, variables, *, solver, limits, on_failure) -> Solver`.
        native_takes_arrays: instead of (model, variables), `native` takes what `read` returns.
    """

    label: str
    package: str
    name: str
    reader: str
    native: tuple[str, str]
    native_takes_arrays: bool = False


_CBC = ("pulp_problem", "cbc_solver")
_FILE = _Kind("a path to an .mps or .lp file, gzipped too", "", "", "files", _CBC, native_takes_arrays=True)
_KINDS = (
    _Kind("pulp.LpProblem", "pulp", "LpProblem", "pulp_problem", _CBC, native_takes_arrays=True),
    _Kind(
        "ortools pywraplp.Solver",
        "ortools.linear_solver.pywraplp",
        "Solver",
        "pywraplp",
        ("pywraplp", "PywraplpSolver"),
    ),
    _Kind(
        "ortools model_builder.Model",
        "ortools.linear_solver.python.model_builder",
        "Model",
        "model_builder",
        ("model_builder", "ModelBuilderSolver"),
    ),
    _Kind(
        "ortools mathopt.Model",
        "ortools.math_opt.python.model",
        "Model",
        "mathopt",
        ("mathopt", "MathOptSolver"),
    ),
    _Kind(
        "ortools cp_model.CpModel",
        "ortools.sat.python.cp_model",
        "CpModel",
        "cp_sat",
        ("cp_sat", "CpSatSolver"),
    ),
    _Kind(
        "cvxpy.Problem with one cvxpy.Parameter, the costs",
        "cvxpy",
        "Problem",
        "cvxpy_problem",
        ("cvxpy_problem", "CvxpySolver"),
    ),
    _FILE,
)


def wrap(
    model: object,
    variables: object = None,
    *,
    engine: str = "auto",
    limits: Limits | None = None,
    on_failure: OnFailure = "raise",
    shape: int | Sequence[int] | None = None,
    sense: Sense | str | None = None,
    remembered: int | None = None,
) -> Solver:
    """Return a solver for a model that you already have; the model itself is left as it is.

        optimise  <costs, z> + fixed part      over the model's own feasible region

    Args:
        model: a `pulp.LpProblem`; an OR-Tools `pywraplp.Solver`, `model_builder.Model`, MathOpt `Model` or
            `cp_model.CpModel`; a `cvxpy.Problem` whose one `Parameter` is the costs; a path to an `.mps` or
            `.lp` file (`.gz` too); a function `costs -> decision`; or a `Solver`, which comes back as it is.
        variables: the variables whose costs are predicted: names, or the package's own variable objects, in
            a dict, list (nested too) or array, whose shape the costs and the decision take. None: all that
            carry an objective coefficient, in the order that the adapter's page gives. The others keep the
            coefficients that they have, and count in the objective. Not for cvxpy, nor for functions.
        engine: `"highs"` turns the model into arrays once and drives HiGHS in process; `"native"` keeps the
            package's own solver, `"native:scip"` the named one of its solvers; `"auto"` takes arrays where
            they can hold the model, a compiled kernel where the arrays are a problem that has one (a path
            through a network, an assignment, a knapsack, k of n) and HiGHS elsewhere, and else native.
        limits: when to stop, per row; None: never before a proven optimum.
        on_failure: what `solve` does with rows that have no proven optimum; see `Solver`.
        shape: for a function: the shape of one row of costs.
        sense: for a function: `"min"` or `"max"`.
        remembered: for models on HiGHS: how many of the last answers each thread keeps, as starts of branch
            and bound for rows solved with `deterministic=False`; None: as `HighsSolver` does.

    Returns:
        A solver: `solve(costs)` takes (*batch, *shape) in the model's own sense.

    Raises:
        InvalidInputError: an unknown engine, limits that are none, or an option that this kind of model
            does not take.
        ModelError: not a model that `wrap` knows, or one that is unfit (no objective, unknown variable,
            unreadable file).
        UnsupportedModelError: the model holds something that the engine cannot represent.
    """
    named_solver = _named_solver(engine)
    _check_limits(limits)
    if isinstance(model, Solver):
        _refuse_options(
            "a Solver", variables=variables, limits=limits, shape=shape, sense=sense, remembered=remembered
        )
        return model if on_failure == "raise" else model.with_on_failure(on_failure)
    kind = _kind_of(model)
    if kind is None:
        if not callable(model) or isinstance(model, type):
            raise _unknown(model)
        _refuse_options("a function", variables=variables, limits=limits, remembered=remembered)
        return _function_solver(model, shape, sense, on_failure)
    _refuse_options(kind.label, shape=shape, sense=sense)
    if not engine.startswith("native"):
        try:
            return _linear_solver(_read(kind, model, variables), engine, limits, on_failure, remembered)
        except UnsupportedModelError:
            if engine == "highs":
                raise
    _refuse_options("native engines", remembered=remembered)
    return _native_solver(kind, model, variables, solver=named_solver, limits=limits, on_failure=on_failure)


def _read(kind: _Kind, model: object, variables: object) -> LinearModel:
    arrays: LinearModel = import_module(f"{_ADAPTERS}.{kind.reader}").read(model, variables)
    return arrays


def _native_solver(kind: _Kind, model: object, variables: object, **options: Any) -> Solver:
    module, name = kind.native
    native = getattr(import_module(f"{_ADAPTERS}.{module}"), name)
    what = (_read(kind, model, variables),) if kind.native_takes_arrays else (model, variables)
    solver: Solver = native(*what, **options)
    return solver


def _named_solver(engine: str) -> str | None:
    """Return the solver that `engine` names, None where it names none."""
    head, colon, name = engine.partition(":")
    if (head == "native" and bool(colon) == bool(name)) or engine in ("auto", "highs"):
        return name or None
    raise InvalidInputError(
        f"`engine` must be 'auto', 'highs', 'native' or 'native:<solver>' (such as 'native:scip'), not "
        f"{engine!r}."
    )


def _kind_of(model: object) -> _Kind | None:
    if isinstance(model, (str, os.PathLike)):
        return _FILE
    for base in type(model).__mro__:
        for kind in _KINDS:
            if base.__name__ == kind.name and _inside(base.__module__, kind.package):
                return kind
    return None


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _linear_solver(
    model: LinearModel, engine: str, limits: Limits | None, on_failure: OnFailure, remembered: int | None
) -> Solver:
    # HiGHS loads with the first model that it solves.
    from imle_opt_solvers.engines.highs import REMEMBERED, HighsSolver
    from imle_opt_solvers.structured_solver import linear_solver

    kept = REMEMBERED if remembered is None else remembered
    if engine == "highs":
        return HighsSolver(model, limits=limits, on_failure=on_failure, remembered=kept)
    return linear_solver(model, limits, on_failure, remembered=kept)


def _function_solver(
    function: Callable[..., Any],
    shape: int | Sequence[int] | None,
    sense: Sense | str | None,
    on_failure: OnFailure,
) -> Solver:
    if shape is None or sense is None:
        raise InvalidInputError(
            "A function says nothing about its costs: give `shape=`, the shape of one row of them, and "
            "`sense='min'` or 'max'."
        )
    rows = shape if isinstance(shape, int) else tuple(shape)
    return FunctionSolver(function, rows, sense, on_failure=on_failure)


def _check_limits(limits: object) -> None:
    if not (limits is None or isinstance(limits, Limits)):
        raise InvalidInputError(f"`limits` must be a `Limits`, such as Limits(seconds=5), not {limits!r}.")


def _refuse_options(what: str, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InvalidInputError(f"{_listed(given)} cannot be given with {what}: leave it out.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}=`" for name in names)


def _unknown(model: object) -> ModelError:
    kind = type(model)
    if any(_inside(base.__module__, "networkx") for base in kind.__mro__):
        return ModelError(
            "A graph does not say which problem it poses: use ShortestPath(graph, source, target) or "
            "SpanningTree(graph)."
        )
    known = "; ".join(each.label for each in _KINDS)
    return ModelError(
        f"`wrap` does not know a model of type {kind.__module__}.{kind.__qualname__}. It takes: {known}; a "
        f"function from costs to a decision, with `shape=` and `sense=`. Most other modelling packages can "
        f"write an .mps file, whose path it takes."
    )
