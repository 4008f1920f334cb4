"""The synthetic problems of the SPO paper: costs that are a polynomial of few features, times noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.grid import grid_graph
from imle_opt_solvers.solution import FloatArray

__all__ = ["CostTable", "KnapsackTable", "knapsack_data", "shortest_path_data"]


@final
@dataclass(frozen=True, eq=False)
class CostTable:
    """Features and costs, row by row.

    Args:
        features: (rows, features).
        costs: (rows, m), in the model's own sense.
    """

    features: FloatArray
    costs: FloatArray


@final
@dataclass(frozen=True, eq=False)
class KnapsackTable:
    """Features and the values of the items, row by row, and the weights of the items, the same in all rows.

    Args:
        features: (rows, features).
        costs: (rows, items), values, to be maximised.
        weights: (constraints, items).
    """

    features: FloatArray
    costs: FloatArray
    weights: FloatArray


def shortest_path_data(
    rows: int,
    *,
    shape: tuple[int, int] = (5, 5),
    num_features: int = 5,
    degree: int = 1,
    noise: float = 0.0,
    seed: int,
) -> CostTable:
    """Return costs of the arcs of a grid on which paths go right and down.

        x ~ N(0, I_p),   B ~ Bernoulli(1/2)^(m x p),   e ~ U[1 - noise, 1 + noise]
        c_j = e_j ((<B_j, x> / sqrt(p) + 3)^degree + 1) / 3.5^degree

    The same numbers, in the same order of draws, as the benchmarks of the field make from a seed, so that
    figures can be compared run by run. The constant 3.5^degree, which the paper does not have, changes no
    normalised regret.

    Args:
        rows: n; training and test rows of one problem come from one call, as B is drawn in it.
        shape: of the grid, rows and columns.
        num_features: p.
        degree: of the polynomial; a linear predictor is misspecified above 1.
        noise: half the width of the factor e, in [0, 1].
        seed: of all draws.

    Returns:
        Features (n, p) and costs (n, m), in the order of `grid_path(shape, neighbours=2, costs_on="edges")`.

    Raises:
        InvalidInputError: an option out of its range.

    Source: Elmachtoub and Grigas, Management Science 68 (2022), arXiv 1710.08005, Section 6.1; the scale:
    Tang and Khalil, Mathematical Programming Computation (2024), arXiv 2206.14234.
    """
    _check(rows, num_features, degree, noise)
    graph = grid_graph(shape, 2)
    arcs = len(graph.tails)
    random = np.random.RandomState(seed)
    mixing = random.binomial(1, 0.5, (arcs, num_features)).astype(np.float64)
    features = random.normal(0, 1, (rows, num_features))
    costs = _polynomial(features, mixing, degree) / 3.5**degree
    costs *= random.uniform(1 - noise, 1 + noise, (rows, arcs))
    return CostTable(features, costs[:, _drawn_position(shape)])


def knapsack_data(
    rows: int,
    *,
    num_items: int = 32,
    num_constraints: int = 2,
    num_features: int = 5,
    degree: int = 1,
    noise: float = 0.0,
    seed: int,
) -> KnapsackTable:
    """Return values of items, with weights that are the same in all rows.

        w ~ U{3.00, ..., 7.99},   x ~ N(0, I_p),   B ~ Bernoulli(1/2)^(m x p),   e ~ U[1 - noise, 1 + noise]
        v_j = ceil(5 e_j ((<B_j, x> / sqrt(p) + 3)^degree + 1) / 3.5^degree)

    The same numbers, in the same order of draws, as the benchmarks of the field make from a seed.

    Args:
        rows: n; training and test rows of one problem come from one call.
        num_items: m.
        num_constraints: how many weights an item has.
        num_features: p.
        degree: of the polynomial.
        noise: half the width of the factor e, in [0, 1].
        seed: of all draws.

    Returns:
        Features (n, p), values (n, m) and weights (constraints, m).

    Raises:
        InvalidInputError: an option out of its range.

    Source: Tang and Khalil, Mathematical Programming Computation (2024), arXiv 2206.14234.
    """
    _check(rows, num_features, degree, noise)
    random = np.random.RandomState(seed)
    weights = random.choice(np.arange(300, 800), size=(num_constraints, num_items)) / 100
    mixing = random.binomial(1, 0.5, (num_items, num_features)).astype(np.float64)
    features = random.normal(0, 1, (rows, num_features))
    values = _polynomial(features, mixing, degree) * 5 / 3.5**degree
    values *= random.uniform(1 - noise, 1 + noise, (rows, num_items))
    return KnapsackTable(features, np.ceil(values), weights)


def _polynomial(features: FloatArray, mixing: FloatArray, degree: int) -> FloatArray:
    scaled = features @ mixing.T / np.sqrt(features.shape[1]) + 3
    power: FloatArray = scaled**degree + 1
    return power


def _drawn_position(shape: tuple[int, int]) -> list[int]:
    """Return where each edge of `grid_graph` stands in the order of the draws: by rows, across, then down."""
    rows, columns = shape
    stride = 2 * columns - 1
    positions: list[int] = []
    for row in range(rows):
        for column in range(columns):
            if column + 1 < columns:
                positions.append(row * stride + column)
            if row + 1 < rows:
                positions.append(row * stride + columns - 1 + column)
    return positions


def _check(rows: int, num_features: int, degree: int, noise: float) -> None:
    for name, value in (("rows", rows), ("num_features", num_features), ("degree", degree)):
        if value < 1:
            raise InvalidInputError(f"`{name}` must be at least 1, not {value!r}.")
    if not 0 <= noise <= 1:
        raise InvalidInputError(f"`noise` must lie in [0, 1], not {noise!r}: costs would become negative.")
