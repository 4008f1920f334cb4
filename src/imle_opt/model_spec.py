"""The MODEL argument of the command line, turned into a solver.

    knapsack.mps  route.lp  plan.mps.gz      a model file
    path/to/file.py:name                     what the Python file calls `name`
    package.module:name                      the same of an importable module
    grid-path:12x12, knapsack:weights.csv,20 built in; see `built_in_models`

A name may be a model that `wrap` takes, a `Solver`, or a function without arguments that returns either.
Naming a Python file runs it, as `python file.py` would; model files are only read. Torch is not needed here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from imle_opt.built_in_models import BUILT_IN_FORMS, built_in_model
from imle_opt_solvers import Limits, ModelError, Solver, wrap

__all__ = ["failure_in_model", "load_solver", "model_files"]

_MODEL_FILES = (".mps", ".lp", ".gz")
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_FORMS = (
    f"a model file (.mps, .lp, .gz), path/to/file.py:name, package.module:name, or one of {BUILT_IN_FORMS}"
)


def load_solver(
    spec: str,
    *,
    variables: Sequence[str] | None = None,
    engine: str = "auto",
    limits: Limits | None = None,
) -> Solver:
    """Return the solver that a MODEL argument names.

    Args:
        spec: see the module's first lines.
        variables: names of the variables whose costs are predicted; None: the model's own choice, see `wrap`.
        engine: as for `wrap`.
        limits: as for `wrap`.

    Raises:
        ModelError: no such file, module or name; code that fails; or what `wrap` refuses.
        InvalidInputError: options that this kind of model does not take.
    """
    built_in = built_in_model(spec, engine=engine, limits=limits)
    if built_in is not None:
        own_limits = spec.startswith("knapsack:")
        return _wrapped(built_in, variables, engine, None if own_limits else limits)
    if spec.lower().endswith(_MODEL_FILES):
        return _wrapped(spec, variables, engine, limits)
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise _unknown_form(spec)
    module = _run_file(Path(place)) if place.endswith(".py") else _import(place, spec)
    model = _look_up(module, name, place)
    if inspect.isroutine(model):
        model = _call(model, spec)
    return _wrapped(model, variables, engine, limits)


def model_files(spec: str) -> tuple[Path, ...]:
    """Return the files that a MODEL argument names, as far as they are there: of a module, its source.

    Args:
        spec: what `load_solver` takes, loaded already.
    """
    place, _, _ = spec.rpartition(":")
    module = sys.modules.get(place)
    named = getattr(module, "__file__", None)
    candidates = [spec, place, named or "", *spec.partition(":")[2].split(",")]
    return tuple(dict.fromkeys(path for path in map(Path, candidates) if path.is_file()))


def failure_in_model(spec: str, error: Exception) -> ModelError | None:
    """Return what the model's own Python code raised while it solved, as one error that names its line.

    Args:
        spec: the MODEL argument.
        error: what came out of a solve, here or in a worker process, whose traceback is in its notes.

    Returns:
        None where the error passed through no Python file of the model's.
    """
    own = {str(path.resolve()) for path in model_files(spec) if path.suffix == ".py"}
    told = "".join(traceback.format_exception(error))
    lines = [(Path(file), line) for file, line in _FRAME.findall(told) if str(Path(file).resolve()) in own]
    if not lines:
        return None
    file, line = lines[-1]
    where = "".join(f"{note} " for note in getattr(error, "__notes__", ()) if note.startswith("With "))
    return ModelError(f"{where}{spec} fails in line {line} of {file.name}: {_reason(error)}")


def _wrapped(model: Any, variables: Sequence[str] | None, engine: str, limits: Limits | None) -> Solver:
    return wrap(model, None if variables is None else list(variables), engine=engine, limits=limits)


def _unknown_form(spec: str) -> ModelError:
    if spec.endswith(".py"):
        return ModelError(f"MODEL {spec!r} does not say which model of the file: write {spec}:name.")
    return ModelError(f"MODEL {spec!r} is none of: {_FORMS}.")


def _run_file(path: Path) -> ModuleType:
    """Run a Python file as a module; its folder joins `sys.path`, as it does for a script."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    name = f"imle_opt_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path}: cannot be loaded as Python code.")
    module = importlib.util.module_from_spec(spec)
    _prefer(path.resolve().parent)
    sys.modules[name] = module
    with _user_code(str(path)):
        spec.loader.exec_module(module)
    return module


def _import(name: str, spec: str) -> ModuleType:
    _prefer(Path.cwd())
    package = name.partition(".")[0]
    if not package.isidentifier() or importlib.util.find_spec(package) is None:
        raise ModelError(f"{_unknown_form(spec)} No module {package!r} is in this folder or installed.")
    with _user_code(f"module {name!r}"):
        return importlib.import_module(name)


def _prefer(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _look_up(module: ModuleType, name: str, place: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError as error:
        imported = (ModuleType, type)
        own = [
            key for key, value in vars(module).items() if key[0] != "_" and not isinstance(value, imported)
        ]
        shown = ", ".join(own[:8]) or "nothing that could be one"
        raise ModelError(f"{place} has no {name!r}. It has {shown}.") from error


def _call(function: Any, spec: str) -> Any:
    parameters = inspect.signature(function).parameters.values()
    required = [each.name for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if required:
        raise ModelError(
            f"{spec} is a function of {', '.join(required)}: MODEL takes a function without arguments that "
            f"returns a model. If it maps costs to a decision, name a FunctionSolver(function, shape, sense)."
        )
    with _user_code(spec):
        return function()


@contextlib.contextmanager
def _user_code(where: str) -> Generator[None]:
    """Turn whatever the user's code raises into one error with its line; keep its prints off stdout."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:  # any code may raise anything
        raise ModelError(f"{where} fails{_line(error)}: {_reason(error)}") from error


def _line(error: BaseException) -> str:
    """Return where in the user's own code the error passed through, as far as it is known."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename not in (__file__, importlib.__file__) and not frame.filename.startswith("<"):
            return f" in line {frame.lineno} of {Path(frame.filename).name}"
    return ""


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process, exit({error.code!r}). Put that under `if __name__ == '__main__':`."
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
