"""Features from a table, in the order in which a predictor learnt them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imle_opt.fitting.predictor import PredictorSpec
from imle_opt.tables import read_table
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["read_features", "read_named_features"]


def read_named_features(path: Path) -> tuple[FloatArray, tuple[str, ...] | None]:
    """Read a table of features to learn from: (rows, features), and their names where the header has any.

    Raises:
        InvalidInputError: what `read_table` refuses, or columns that share a name.
    """
    table = read_table(path)
    columns = table.columns
    if columns is None or _are_numbers(columns):
        return table.values, None
    repeated = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if repeated:
        raise InvalidInputError(
            f"{path}: the header names {_listed(repeated)} more than once. Give each column its own name."
        )
    return table.values, columns


def read_features(path: Path, spec: PredictorSpec) -> FloatArray:
    """Read the features of a predictor.

    Args:
        path: a table, see `read_table`. Where it has a header and the predictor knows names, columns are
            matched by name, in any order; else by position.
        spec: of the predictor.

    Returns:
        (rows, features).

    Raises:
        InvalidInputError: what `read_table` refuses; columns that are missing, unknown or repeated.
    """
    table = read_table(path, names=spec.feature_names)
    columns, names = table.columns, spec.feature_names
    if columns is not None and names is not None and not _are_numbers(columns):
        return np.ascontiguousarray(table.values[:, _places(path, columns, names)])
    if table.values.shape[1] != spec.num_features:
        raise InvalidInputError(
            f"{path}: the table has {table.values.shape[1]} columns and the predictor takes "
            f"{spec.num_features} features: give the columns that it was fitted with."
        )
    return table.values


def _are_numbers(columns: Sequence[str]) -> bool:
    """Whether the header is 0, 1, 2, ..., which means no names."""
    return list(columns) == [str(index) for index in range(len(columns))]


def _places(path: Path, columns: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return where each of the names is in the header."""
    problems = {
        "lacks": [name for name in names if name not in columns],
        "has unknown": [name for name in columns if name not in names],
        "repeats": [name for name in dict.fromkeys(columns) if columns.count(name) > 1],
    }
    found = " and ".join(f"{what} {_listed(listed)}" for what, listed in problems.items() if listed)
    if found:
        raise InvalidInputError(f"{path}: the header {found}. The predictor's features are {_listed(names)}.")
    return [columns.index(name) for name in names]


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
