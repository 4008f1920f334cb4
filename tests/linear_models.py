"""Small linear models as arrays, asymmetric on purpose, for tests of what drives a `LinearModel`."""

from __future__ import annotations

import numpy as np

from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import Sense

INF = np.inf


def linear_model(
    sense,
    matrix,
    row_lower,
    row_upper,
    column_lower,
    column_upper,
    integer,
    *,
    predicted,
    fixed_costs=None,
    offset=0.0,
    shape=None,
):
    """Build a `LinearModel` from a dense matrix."""
    matrix = np.atleast_2d(np.asarray(matrix, dtype=float))
    rows, columns = matrix.shape
    row_index, column_index = np.nonzero(matrix)
    starts = np.searchsorted(row_index, np.arange(rows + 1)).astype(np.int64)
    predicted = np.asarray(predicted, dtype=np.int64)
    return LinearModel(
        sense=Sense(sense),
        row_starts=starts,
        row_columns=column_index.astype(np.int64),
        row_values=matrix[row_index, column_index],
        row_lower=np.broadcast_to(np.asarray(row_lower, dtype=float), rows).copy(),
        row_upper=np.broadcast_to(np.asarray(row_upper, dtype=float), rows).copy(),
        column_lower=np.broadcast_to(np.asarray(column_lower, dtype=float), columns).copy(),
        column_upper=np.broadcast_to(np.asarray(column_upper, dtype=float), columns).copy(),
        integrality=np.broadcast_to(np.asarray(integer, dtype=bool), columns).copy(),
        fixed_costs=np.zeros(columns) if fixed_costs is None else np.asarray(fixed_costs, dtype=float),
        offset=offset,
        predicted=Selection(predicted, shape or (len(predicted),)),
        column_names=tuple(f"x{i}" for i in range(columns)),
        row_names=tuple(f"r{i}" for i in range(rows)),
    )


def knapsack(capacities=(9, 7), sense="max"):
    """Two-row 0-1 knapsack, six items: the relaxation is fractional for most profits."""
    weights = [[3, 4, 2, 5, 1, 4], [2, 1, 5, 3, 2, 2]]
    return linear_model(sense, weights, -INF, capacities, 0, 1, True, predicted=range(6))


def assignment():
    """3x3 assignment: the relaxation is integral."""
    matrix = np.zeros((6, 9))
    for i in range(3):
        for j in range(3):
            matrix[i, 3 * i + j] = matrix[3 + j, 3 * i + j] = 1
    return linear_model("min", matrix, 1, 1, 0, 1, True, predicted=range(9), shape=(3, 3))


def polygon():
    """A bounded linear program with a range, an equality and a free-signed column, some costs fixed."""
    matrix = [[1, 2, 1, 0], [3, -1, 0, 1], [1, 1, 1, 1]]
    return linear_model(
        "min",
        matrix,
        [-2, -INF, 4],
        [6, 5, 4],
        [-1, 0, 0, -3],
        [4, 5, 3, 8],
        False,
        predicted=[2, 0, 3],
        fixed_costs=[0, 0.5, 0, 0],
        offset=1.25,
    )


def facility_location():
    """Open two sites at a fixed charge, serve three customers: mixed integers, fixed costs, an offset."""
    matrix = np.zeros((9, 8))  # columns: open0, open1, then the share of customer j served from site i
    for j in range(3):
        for i in range(2):
            matrix[j, 2 + 3 * i + j] = 1
            matrix[3 + 3 * i + j, 2 + 3 * i + j] = 1
            matrix[3 + 3 * i + j, i] = -1
    return linear_model(
        "min",
        matrix,
        [1, 1, 1] + [-INF] * 6,
        [1, 1, 1] + [0] * 6,
        0,
        1,
        [True, True] + [False] * 6,
        predicted=range(2, 8),
        fixed_costs=[0.7, 0.4] + [0] * 6,
        offset=-3.0,
        shape=(2, 3),
    )
