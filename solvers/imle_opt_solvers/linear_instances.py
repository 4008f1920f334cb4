"""Per-row right-hand sides and bounds of a linear model.

    rhs           replaces the finite side of a one-sided constraint, both sides of an equality
    row_lower     replaces the lower side of constraints        column_lower    the lower bound of variables
    row_upper     replaces the upper side                       column_upper    the upper bound

Each is an array over all constraints (or variables) `(*batch, rows)`, or a mapping from a constraint's (or
variable's) name to `(*batch,)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.linear_model import INFINITE, LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = ["LINEAR_INSTANCES", "RowBounds", "expand_linear_instances"]

LINEAR_INSTANCES = ("rhs", "row_lower", "row_upper", "column_lower", "column_upper")


@dataclass(frozen=True)
class RowBounds:
    """The sides and bounds of every row of a batch; None where they are the model's own.

    Args:
        row_lower: (B, rows).
        row_upper: (B, rows).
        column_lower: (B, columns).
        column_upper: (B, columns).
    """

    row_lower: FloatArray | None
    row_upper: FloatArray | None
    column_lower: FloatArray | None
    column_upper: FloatArray | None


def expand_linear_instances(model: LinearModel, instances: Instances, rows: int) -> RowBounds:
    """Expand flattened `instances` to full arrays.

    Args:
        model: the model whose sides and bounds are replaced.
        instances: entries with leading dimension B; the names of `LINEAR_INSTANCES`.
        rows: B.

    Raises:
        InvalidInputError: a wrong shape, an unknown constraint or variable, NaN, `rhs` of a range, or a lower
            side of +inf (an upper one of -inf, both sides of an equality).
    """
    row_lower = row_upper = column_lower = column_upper = None
    if {"rhs", "row_lower", "row_upper"} & instances.keys():
        row_lower = np.tile(model.row_lower, (rows, 1))
        row_upper = np.tile(model.row_upper, (rows, 1))
        if "rhs" in instances:
            _replace_rhs(model, instances["rhs"], row_lower, row_upper)
        _replace(row_lower, instances.get("row_lower"), model.row_names, "row_lower")
        _replace(row_upper, instances.get("row_upper"), model.row_names, "row_upper")
        _refuse_unreachable(row_lower, row_upper, model.row_names, "constraint")
    if {"column_lower", "column_upper"} & instances.keys():
        column_lower = np.tile(model.column_lower, (rows, 1))
        column_upper = np.tile(model.column_upper, (rows, 1))
        _replace(column_lower, instances.get("column_lower"), model.column_names, "column_lower")
        _replace(column_upper, instances.get("column_upper"), model.column_names, "column_upper")
        _refuse_unreachable(column_lower, column_upper, model.column_names, "variable")
    return RowBounds(row_lower, row_upper, column_lower, column_upper)


def _replace_rhs(model: LinearModel, given: object, lower: FloatArray, upper: FloatArray) -> None:
    has_lower, has_upper = np.isfinite(model.row_lower), np.isfinite(model.row_upper)
    equality = model.row_lower == model.row_upper
    touched = _touched(given, model.row_names, "rhs")
    ambiguous = np.flatnonzero(touched & has_lower & has_upper & ~equality)
    if ambiguous.size:
        raise InvalidInputError(
            f"`instances['rhs']` is ambiguous for the range constraint "
            f"{model.row_names[int(ambiguous[0])]!r}: give `row_lower` and `row_upper` instead."
        )
    rhs = np.where(has_upper, upper, lower)
    _replace(rhs, given, model.row_names, "rhs")
    lower[:, has_lower & touched] = rhs[:, has_lower & touched]
    upper[:, has_upper & touched] = rhs[:, has_upper & touched]


def _touched(given: object, names: tuple[str, ...], key: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not isinstance(given, Mapping):
        return np.ones(len(names), dtype=np.bool_)
    touched = np.zeros(len(names), dtype=np.bool_)
    touched[[_position(name, names, key) for name in given]] = True
    return touched


def _replace(target: FloatArray, given: object, names: tuple[str, ...], key: str) -> None:
    """Overwrite `target` (B, n) with `given`: an array (B, n), or a mapping from name to (B,)."""
    if given is None:
        return
    if isinstance(given, Mapping):
        for name, values in given.items():
            target[:, _position(name, names, key)] = _checked(values, target.shape[:1], f"{key}[{name!r}]")
    else:
        target[:] = _checked(given, target.shape, key)


def _checked(values: object, shape: tuple[int, ...], key: str) -> FloatArray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.shape != shape:
        raise InvalidInputError(
            f"`instances[{key}]` must hold real numbers of shape {shape}, the batch's rows first; it "
            f"has dtype {array.dtype} and shape {array.shape}."
        )
    if np.isnan(array.astype(np.float64)).any():
        row = int(np.argwhere(np.isnan(array.astype(np.float64)))[0][0])
        raise InvalidInputError(f"`instances[{key}]` holds NaN (first in row {row}).")
    return array.astype(np.float64)


def _refuse_unreachable(lower: FloatArray, upper: FloatArray, names: tuple[str, ...], what: str) -> None:
    """Refuse lower sides of +inf and upper ones of -inf: solvers pass over them, and keep the old ones."""
    for side, found in (("lower", lower >= INFINITE), ("upper", upper <= -INFINITE)):
        if found.any():
            row, entry = np.argwhere(found)[0].tolist()
            value = (lower if side == "lower" else upper)[row, entry]
            raise InvalidInputError(
                f"`instances` gives the {what} {names[entry]!r} in row {row} the {side} side {value}, which "
                f"nothing can satisfy. For no {side} side, give {'-inf' if side == 'lower' else 'inf'}."
            )


def _position(name: object, names: tuple[str, ...], key: str) -> int:
    if name not in names:
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise InvalidInputError(f"`instances[{key!r}]` names {name!r}; the model has {shown}.")
    if names.count(str(name)) > 1:
        raise InvalidInputError(
            f"`instances[{key!r}]` is ambiguous: {names.count(str(name))} in the model are called {name!r}. "
            f"Give an array over all of them, in the model's order."
        )
    return names.index(str(name))
