"""Matrices that are the incidence of a directed graph, once some rows are multiplied by -1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import FloatArray

__all__ = ["Incidence", "read_incidence"]

IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Incidence:
    """One arc per column: 1 in the row that it leaves, -1 in the row that it enters.

    Args:
        signs: (rows,) what each row was multiplied by.
        tails: (columns,) the row that each column leaves.
        heads: (columns,) the row that it enters. A column with one entry only leads from or to a further row
            `rows`, the negated sum of all, which holds whenever they do.
    """

    signs: FloatArray
    tails: IntArray
    heads: IntArray

    def demands(self, sides: FloatArray) -> FloatArray:
        """Return what leaves each row beyond what enters it, that of the further row last.

        Args:
            sides: (*batch, rows), the rows' right-hand sides.
        """
        own = self.signs * sides
        return np.concatenate([own, -own.sum(axis=-1, keepdims=True)], axis=-1)


def read_incidence(model: LinearModel) -> Incidence | None:
    """Return the graph whose incidence the matrix is, or None.

    Every column must have one or two entries, all 1 or -1, in different rows.
    """
    if (np.abs(model.row_values) != 1).any():
        return None
    rows = np.repeat(np.arange(model.num_rows), np.diff(model.row_starts))
    counts = np.bincount(model.row_columns, minlength=model.num_columns)
    if (counts < 1).any() or (counts > 2).any():
        return None
    order = np.argsort(model.row_columns, kind="stable")
    rows, values = rows[order], model.row_values[order]
    last = np.cumsum(counts) - 1
    first = last - counts + 1
    single, products = counts == 1, values[first] * values[last]
    if (rows[first] == rows[last])[~single].any():
        return None
    paired = np.flatnonzero(~single)
    neighbours = _neighbours(model.num_rows, rows[first[paired]], rows[last[paired]], products[paired])
    signs = _reflect(neighbours, model.row_lower)
    if signs is None:
        return None
    further = model.num_rows
    leaves = signs[rows[first]] * values[first] > 0
    one, other = rows[first], np.where(single, further, rows[last])
    return Incidence(signs, np.where(leaves, one, other), np.where(leaves, other, one))


def _neighbours(
    num_rows: int, first: IntArray, last: IntArray, products: FloatArray
) -> list[list[tuple[int, float]]]:
    """Return for each row the rows that it shares a column with, and their sign relative to its own.

    Args:
        num_rows: how many.
        first: (pairs,) the row of a column's first entry.
        last: (pairs,) the row of its second.
        products: (pairs,) of the two entries: the signs must make it -1.
    """
    neighbours: list[list[tuple[int, float]]] = [[] for _ in range(num_rows)]
    for one, other, product in zip(first.tolist(), last.tolist(), products.tolist(), strict=True):
        neighbours[one].append((other, -product))
        neighbours[other].append((one, -product))
    return neighbours


def _reflect(neighbours: list[list[tuple[int, float]]], sides: FloatArray) -> FloatArray | None:
    """Return signs of the rows (rows,) as the neighbours ask for, or None where they contradict each other.

    Each connected part may be turned round as a whole. Parts meet in the further row only, and are turned so
    that what one of them sends there, another takes.
    """
    signs = np.zeros(len(neighbours))
    balance = 0.0
    for start in range(len(neighbours)):
        if signs[start]:
            continue
        signs[start] = 1.0
        part = [start]
        for row in part:  # grows while it is walked
            for other, relative in neighbours[row]:
                if not signs[other]:
                    signs[other] = signs[row] * relative
                    part.append(other)
                elif signs[other] != signs[row] * relative:
                    return None
        demand = float(signs[part] @ sides[part])
        if demand * balance > 0:
            signs[part] *= -1.0
            demand = -demand
        balance += demand
    return signs
