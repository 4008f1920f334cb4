"""What a fit learns from, and which rows are for what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt.fitting.settings import FitSettings
from imle_opt.methods import METHODS, Supervision
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["FitTables", "Rows", "split_rows"]

_ROUNDING = 1e-5
"""How far solvers of mixed-integer programs may leave an entry outside 0 and 1."""


@final
@dataclass(frozen=True, eq=False)
class FitTables:
    """Features and labels, row by row.

    Args:
        features: (rows, features).
        labels: (rows, *shape) true costs in the model's own sense, or optimal decisions.
        supervision: which of the two.
        feature_names: one per feature, or None.

    Raises:
        InvalidInputError: different numbers of rows.
    """

    features: FloatArray
    labels: FloatArray
    supervision: Supervision
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.features) != len(self.labels):
            raise InvalidInputError(
                f"There are {len(self.features)} rows of features and {len(self.labels)} of "
                f"{self.supervision}: give one row per instance in both, in the same order."
            )

    def check_for(self, method: str) -> None:
        """Refuse labels that a method, a name in `METHODS`, cannot learn from.

        Raises:
            InvalidInputError: solutions that are not 0 or 1, where these are asked for.
        """
        if self.supervision == "costs" or not METHODS[method].binary_solutions:
            return
        apart = np.abs(self.labels - (self.labels > 0.5)).reshape(len(self.labels), -1).max(axis=1)
        bad = np.flatnonzero(apart > _ROUNDING)
        if bad.size:
            raise InvalidInputError(
                f"The method {method!r} learns from solutions of 0 and 1, and {bad.size} of {len(apart)} "
                f"rows have others (first row {bad[0]}, counted from 0). Use 'explicit-mle'."
            )

    def constant_features(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the names (or numbers, from 1) of the features that are the same in all the given rows."""
        chosen = self.features[rows]
        constant = np.flatnonzero(chosen.max(axis=0) == chosen.min(axis=0))
        names = self.feature_names
        return [f"column {index + 1}" if names is None else names[index] for index in constant.tolist()]


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """Row numbers, in ascending order.

    Args:
        train: to learn from.
        validation: for early stopping.
        test: for the report.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_rows(rows: int, settings: FitSettings) -> Rows:
    """Divide the rows, by chance or by their order, as the settings say.

    Raises:
        InvalidInputError: too few rows.
    """
    test = math.ceil(settings.test_share * rows)
    validation = math.ceil(settings.validation_share * rows)
    if rows - test - validation < 1:
        raise InvalidInputError(
            f"{rows} rows are too few: {test} would be for the report and {validation} for validation, and "
            f"none to train on. Give more rows, or smaller shares."
        )
    order = np.arange(rows)
    if settings.split == "random":
        order = np.random.default_rng(settings.seed).permutation(rows)
    train, held_out, last = np.split(order, [rows - test - validation, rows - test])
    return Rows(np.sort(train), np.sort(held_out), np.sort(last))
