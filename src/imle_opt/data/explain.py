"""The synthetic problems of the L2X paper: labels that depend on a few of ten features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["ExplainProblem", "ExplainTable", "explain_data"]

ExplainProblem = Literal["xor", "orange skin", "nonlinear additive", "switch"]

_FEATURES = 10


@final
@dataclass(frozen=True, eq=False)
class ExplainTable:
    """Features, labels, and which features each label depends on.

    Args:
        features: (rows, 10).
        labels: (rows,), 0 or 1.
        probabilities: of label 1, (rows,).
        relevant: (rows, 10), whether the label depends on the feature; the same number in every row.
    """

    features: FloatArray
    labels: NDArray[np.int64]
    probabilities: FloatArray
    relevant: NDArray[np.bool_]


def explain_data(rows: int, problem: ExplainProblem, *, seed: int) -> ExplainTable:
    """Return features and labels of which it is known what explains each.

        x ~ N(0, I_10),   P(y = 1 | x) = sigmoid(g(x))

        "xor"                 g = x_1 x_2
        "orange skin"         g = x_1^2 + x_2^2 + x_3^2 + x_4^2 - 4
        "nonlinear additive"  g = -100 sin(0.2 x_1) + |x_2| + x_3 + exp(-x_4) - 2.4
        "switch"              x_10 ~ N(3, 1) or N(-3, 1), each with probability 1/2;
                              g = that of "orange skin" at x_1..x_4 for the first,
                              g = that of "nonlinear additive" at x_5..x_8 for the second

    The label depends on 2, 4, 4 and 5 features; on the last set x_10 is one of them.

    "nonlinear additive" is the function of the authors' program, which made their figures; the paper prints
    `-100 sin(2 x_1) + 2 |x_2| + x_3 + exp(-x_4)` and names features 2 to 5 and 6 to 9 for the last set. In
    either form the first term outweighs the others: with x_1 known, they matter in few rows.

    Args:
        rows: n.
        problem: which of the four.
        seed: of all draws.

    Raises:
        InvalidInputError: an unknown problem, or `rows` below 1.

    Source: Chen, Song, Wainwright and Jordan, ICML 2018, arXiv 1802.07814, Section 4.1.
    """
    if problem not in get_args(ExplainProblem):
        choices = ", ".join(repr(choice) for choice in get_args(ExplainProblem))
        raise InvalidInputError(f"`problem` must be one of {choices}, not {problem!r}.")
    if rows < 1:
        raise InvalidInputError(f"`rows` must be at least 1, not {rows!r}.")
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, _FEATURES))
    first = np.ones(rows, dtype=np.bool_)
    if problem == "switch":
        first = random.random(rows) < 0.5
        x[:, -1] += np.where(first, 3.0, -3.0)
    relevant = _relevant(problem, first)
    probabilities = 1 / (1 + np.exp(-_logits(problem, x, first)))
    labels = (random.random(rows) < probabilities).astype(np.int64)
    return ExplainTable(x, labels, probabilities, relevant)


def _logits(problem: ExplainProblem, x: FloatArray, first: NDArray[np.bool_]) -> FloatArray:
    if problem == "xor":
        product: FloatArray = x[:, 0] * x[:, 1]
        return product
    if problem == "orange skin":
        return _orange_skin(x[:, :4])
    if problem == "nonlinear additive":
        return _additive(x[:, :4])
    return np.where(first, _orange_skin(x[:, :4]), _additive(x[:, 4:8]))


def _orange_skin(x: FloatArray) -> FloatArray:
    squares: FloatArray = (x**2).sum(1) - 4
    return squares


def _additive(x: FloatArray) -> FloatArray:
    total: FloatArray = -100 * np.sin(0.2 * x[:, 0]) + np.abs(x[:, 1]) + x[:, 2] + np.exp(-x[:, 3]) - 2.4
    return total


def _relevant(problem: ExplainProblem, first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    relevant = np.zeros((len(first), _FEATURES), dtype=np.bool_)
    if problem == "switch":
        relevant[:, :4] = first[:, None]
        relevant[:, 4:8] = ~first[:, None]
        relevant[:, 9] = True
    else:
        relevant[:, : 2 if problem == "xor" else 4] = True
    return relevant
