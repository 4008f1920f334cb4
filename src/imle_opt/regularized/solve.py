"""Regularised maximisation for a batch of theta, with its value and its derivative."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._bridge import take_rows
from imle_opt.families import FixedPart, MAPOracle
from imle_opt.regularized.active_set import Oracle, maximise
from imle_opt.regularized.combination import ConvexCombination
from imle_opt.regularized.regularizers import Regularizer, check_domain

__all__ = ["RegularizedOptimum", "regularized_maximum"]


@final
@dataclass(frozen=True)
class RegularizedOptimum:
    """The answer of `regularized_maximum`.

    Args:
        points: mu, (*batch, *event), NaN in rows without a decision.
        values: `<theta, mu> + E F - Omega(mu)`, (*batch,), NaN in rows without a decision.
        combination: mu as combinations of decisions, of the rows that have one.
        solved: which rows have one, (*batch,) boolean.
        regularizer: Omega.
    """

    points: Tensor
    values: Tensor
    combination: ConvexCombination
    solved: Tensor
    regularizer: Regularizer

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient by theta, from the one by mu: (*batch, *event) both; 0 in unsolved rows."""
        size = math.prod(gradient.shape[self.solved.ndim :])
        vectors = gradient.reshape(-1, size)[self.solved.reshape(-1)].double()
        curvature = self.regularizer.curvature(self.combination.points)
        by_theta = torch.zeros_like(gradient).reshape(-1, size)
        by_theta[self.solved.reshape(-1)] = self.combination.along_face(vectors, curvature).to(gradient)
        return by_theta.reshape(gradient.shape)


def regularized_maximum(
    theta: Tensor,
    family: MAPOracle,
    regularizer: Regularizer,
    instances: Mapping[str, Any] | None = None,
    *,
    tolerance: float,
    max_iterations: int,
) -> RegularizedOptimum:
    """Return `argmax over mu in conv C of <theta, mu> + E F - Omega(mu)`, row by row.

    Args:
        theta: (*batch, *event), always maximised, without a graph.
        family: what maximises linear functions.
        regularizer: Omega.
        instances: flat per-row data, or None.
        tolerance: of the maximum, relative to `1 + max |theta|`.
        max_iterations: oracle calls per row at most.

    Returns:
        The points, values and what the backward pass needs. A warning says if some row was not done.

    Raises:
        InvalidInputError: the family took a decision that Omega is not defined for.
    """
    batch_dim = theta.ndim - family.event_dim
    batch, event = theta.shape[:batch_dim], theta.shape[batch_dim:]
    flat = theta.reshape(math.prod(batch), math.prod(event)).double()
    ask = _oracle_of(family, tuple(event), instances, regularizer)
    every = torch.arange(len(flat), device=theta.device)
    vertices, fixed = ask(every, flat) if len(flat) else (flat, flat.new_zeros(0))
    solved = ~vertices.isnan().any(-1)
    kept = every[solved]

    def oracle(rows: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        return ask(kept[rows], slope)

    start = ConvexCombination.of_one(vertices[solved], fixed[solved])
    combination, unfinished = maximise(
        flat[solved], oracle, start, regularizer, tolerance=tolerance, max_iterations=max_iterations
    )
    if unfinished.any():
        warnings.warn(
            f"{int(unfinished.sum())} of {len(kept)} rows did not reach the tolerance {tolerance:g} in "
            f"{max_iterations} iterations: allow more by `max_iterations`, raise the temperature or, where "
            "neither helps, the tolerance.",
            stacklevel=2,
        )
    points = torch.full_like(flat, torch.nan)
    points[solved] = combination.points
    values = flat.new_full((len(flat),), torch.nan)
    linear = (flat[solved] * combination.points).sum(-1) + combination.fixed_part
    values[solved] = linear - regularizer.value(combination.points).sum(-1)
    return RegularizedOptimum(
        points.reshape(theta.shape).to(theta),
        values.reshape(batch).to(theta),
        combination,
        solved.reshape(batch),
        regularizer,
    )


def _oracle_of(
    family: MAPOracle,
    event: tuple[int, ...],
    instances: Mapping[str, Any] | None,
    regularizer: Regularizer,
) -> Oracle:
    """Return the MAP oracle of flat rows: optima (r, m) of the rows with given indices, and F of each."""

    def oracle(rows: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        given = None if instances is None else take_rows(instances, rows)
        shaped = theta.reshape(len(theta), *event)
        if isinstance(family, FixedPart):
            decisions, fixed = family.map_with_fixed(shaped, instances=given, deterministic=True)
        else:
            decisions = family.map(shaped, instances=given, deterministic=True)
            fixed = theta.new_zeros(len(theta))
        flat = decisions.reshape(theta.shape)
        check_domain(regularizer, flat, "decisions", numbered=False)
        return flat, fixed

    return oracle
