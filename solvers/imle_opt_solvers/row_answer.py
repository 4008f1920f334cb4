"""One row's answer from an engine that sees whole linear models, and how answers become a `Solution`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray, Solution, Status

__all__ = ["RowAnswer", "collect_answers", "exact_integers", "scale_exponent", "scaled", "scaled_rows"]


@final
@dataclass(frozen=True)
class RowAnswer:
    """How one row ended.

    Args:
        status: its status.
        values: (columns,) of the whole model where the status has a decision, integers exact.
        gap: proven relative gap; NaN where unknown.
    """

    status: Status
    values: FloatArray | None = None
    gap: float = np.nan


def collect_answers(model: LinearModel, costs: FloatArray, answers: Sequence[RowAnswer]) -> Solution:
    """Return the solution of a flat batch.

    Args:
        model: the model that was solved.
        costs: (B, *shape), in the model's own sense.
        answers: B answers.

    Returns:
        Decisions of the predicted columns; objectives over all columns, with the offset.
    """
    flat = costs.reshape(len(answers), -1)
    decisions = np.full_like(flat, np.nan)
    objectives = np.full(len(answers), np.nan)
    for row, answer in enumerate(answers):
        if answer.values is not None:
            decisions[row] = answer.values[model.predicted.columns]
            objectives[row] = _objective(model.total_costs(flat[row]), answer.values) + model.offset
    return Solution(
        decisions.reshape(costs.shape),
        objectives,
        tuple(answer.status for answer in answers),
        np.array([answer.gap for answer in answers]),
        0.0,
    )


def _objective(costs: FloatArray, values: FloatArray) -> float:
    """Return `<costs, values>`, also where it is finite and a sum on the way to it is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        plain = float(costs @ values)
        if np.isfinite(plain):
            return plain
        exponent = scale_exponent(costs, 0)
        return float(np.ldexp(np.ldexp(costs, exponent) @ values, -exponent))


def exact_integers(values: FloatArray, integrality: NDArray[np.bool_]) -> FloatArray:
    """Return `values` with integers exact, and no negative zeros."""
    return np.where(integrality, np.round(values), values) + 0.0


def scaled(costs: FloatArray, exponent: int) -> FloatArray:
    """Return `costs` times the power of two of `scale_exponent`, which changes no digit of them."""
    return np.ldexp(costs, scale_exponent(costs, exponent))


def scaled_rows(costs: FloatArray, exponent: int) -> FloatArray:
    """Return each row of `costs` (B, n) times the power of two of `scale_exponent`."""
    largest = np.abs(costs).max(axis=1, initial=0.0)
    exponents = np.where(largest == 0.0, 0, exponent - np.frexp(largest)[1])
    return np.ldexp(costs, exponents[:, None])


def scale_exponent(costs: FloatArray, exponent: int) -> int:
    """Return the power of two that brings the largest cost to [2^(exponent - 1), 2^exponent).

    Solvers compare objectives to absolute tolerances: costs of 1e-9 would all be "optimal", and branch and
    bound takes near-optimal decisions for optimal ones unless the costs dwarf its tolerances.
    """
    largest = float(np.abs(costs).max(initial=0.0))
    return 0 if largest == 0.0 else exponent - int(np.frexp(largest)[1])
