"""CP-SAT's constraints as linear rows, where they are linear by nature.

    at_most_one(L)         sum of L <= 1
    exactly_one(L)         sum of L = 1
    E implies or(L)        sum of L + sum of not E >= 1
    E implies and(L)       l + sum of not E >= 1, for each l of L

A literal is x or 1 - x. An enforced linear constraint would need a big constant, which no floating-point
solver treats exactly: it is refused, and so is everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from imle_opt_solvers.adapters._ortools import as_float, describe, no_linear_form

__all__ = ["Row", "rows_of"]


@dataclass(frozen=True)
class Row:
    """`lower <= sum of coefficient * x[column] <= upper`.

    Args:
        name: the constraint's name, possibly empty.
        columns: one per term.
        coefficients: one per term.
        lower: -inf where there is none.
        upper: inf where there is none.
    """

    name: str
    columns: tuple[int, ...]
    coefficients: tuple[float, ...]
    lower: float
    upper: float


def rows_of(proto: Any) -> Iterator[Row]:
    """Yield the rows of a `CpModelProto`, in the order of its constraints.

    Raises:
        UnsupportedModelError: a constraint that is not linear by nature, named by name or index.
    """
    for index, constraint in enumerate(proto.constraints):
        kind = constraint.WhichOneof("constraint")
        what = f"The constraint {describe(constraint.name, index)}"
        enforced = bool(constraint.enforcement_literal)
        if kind == "linear" and not enforced:
            yield _linear(constraint, what)
        elif kind in ("at_most_one", "exactly_one") and not enforced:
            lower = 1 if kind == "exactly_one" else None
            yield _count(constraint.name, getattr(constraint, kind).literals, lower, 1)
        elif kind in ("bool_or", "bool_and"):
            yield from _implications(constraint, kind)
        elif kind is not None:
            raise no_linear_form(what, f"of the kind {kind}{', enforced by a literal' if enforced else ''}")


def _side(bound: int, what: str) -> float:
    """Return a bound as a float; the ends of the 64-bit integers mean that there is none."""
    if bound <= cp_model.INT_MIN:
        return -np.inf
    return np.inf if bound >= cp_model.INT_MAX else as_float(bound, what)


def _linear(constraint: Any, what: str) -> Row:
    linear = constraint.linear
    if len(linear.domain) != 2:
        raise no_linear_form(what, "a sum with gaps in its domain")
    return Row(
        constraint.name,
        tuple(linear.vars),
        tuple(as_float(value, f"A coefficient of {what}") for value in linear.coeffs),
        _side(linear.domain[0], f"A side of {what}"),
        _side(linear.domain[1], f"A side of {what}"),
    )


def _implications(constraint: Any, kind: str) -> Iterator[Row]:
    unless = [-literal - 1 for literal in constraint.enforcement_literal]
    if kind == "bool_or":
        yield _count(constraint.name, [*constraint.bool_or.literals, *unless], 1, None)
        return
    for literal in constraint.bool_and.literals:
        yield _count(constraint.name, [literal, *unless], 1, None)


def _count(name: str, literals: Iterable[int], lower: int | None, upper: int | None) -> Row:
    """Bound the number of true literals: x counts x; not x, which is written -x - 1, counts 1 - x."""
    columns, signs = [], []
    for literal in literals:
        columns.append(literal if literal >= 0 else -literal - 1)
        signs.append(1.0 if literal >= 0 else -1.0)
    negated = signs.count(-1.0)
    return Row(
        name,
        tuple(columns),
        tuple(signs),
        -np.inf if lower is None else float(lower - negated),
        np.inf if upper is None else float(upper - negated),
    )
