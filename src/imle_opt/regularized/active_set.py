"""The active-set method: regularised maximisation over the hull of the decisions, by a few of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imle_opt.regularized.combination import ConvexCombination
from imle_opt.regularized.regularizers import Regularizer

__all__ = ["Oracle", "maximise"]

Oracle = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From indices of rows (r,) and their theta (r, m) to the optima (r, m) and F of each (r,)."""

_EMPTY = 1e-13
"""Weights below this are zero."""
_RESIDUAL = 1e-9
"""A linear system is solved where it is met to here, relative to its right-hand side."""
_HALVINGS = 50
"""Of the interval that holds the best step: to 1e-15 of its length."""
_OWN_SHARE = 0.1
"""How much of the tolerance the vertices in use may differ in value at their own optimum."""
_MOVES_PER_CALL = 50
"""Newton steps among the vertices in use before the oracle is asked again, at most."""


def maximise(
    theta: Tensor,
    oracle: Oracle,
    start: ConvexCombination,
    regularizer: Regularizer,
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[ConvexCombination, Tensor]:
    """Return `argmax over mu in conv C of <theta, mu> + E F - Omega(mu)`, as combinations of decisions.

    For all rows at once, in turn: Newton steps among the vertices in use, each with the best length up to
    where a weight becomes zero and its vertex is dropped, until they are optimal; then one oracle call for a
    vertex that improves, and a step towards it. For the squared norm this is Wolfe's method, finite and exact
    but for rounding. The gap, `max over z of <theta - grad Omega(mu), z - mu> + F(z) - E F`, bounds what is
    missing from the maximum.

    Args:
        theta: (R, m) float64, finite.
        oracle: what maximises.
        start: one decision per row.
        regularizer: Omega.
        tolerance: a row is done when its gap is at most this, relative to `1 + max |theta|`.
        max_iterations: oracle calls per row at most.

    Returns:
        The combinations, and which rows are not done, (R,) boolean.

    Source: Wolfe, Mathematical Programming 11 (1976); Niculae, Martins, Blondel and Cardie, ICML 2018,
    arXiv 1802.04223, Section 4.
    """
    combination = start
    rows = torch.arange(len(theta), device=theta.device)
    enough = tolerance * (1 + theta.abs().amax(-1)) if theta.numel() else theta.new_zeros(len(theta))
    unfinished = torch.zeros(len(theta), dtype=torch.bool, device=theta.device)
    for _ in range(max_iterations):
        if not len(rows):
            break
        combination = _settled(combination, rows, theta, regularizer, _OWN_SHARE * enough)
        slope = theta[rows] - regularizer.gradient(combination.points[rows])
        vertices, fixed = oracle(rows, slope)
        value = (slope * combination.points[rows]).sum(-1) + combination.fixed_part[rows]
        # NaN: a solve without a decision; such a row cannot go on, and is not done.
        going = ~((slope * vertices).sum(-1) + fixed - value <= enough[rows])
        stuck = going & (combination.find(rows, vertices) | vertices.isnan().any(-1, keepdim=True)).any(-1)
        unfinished[rows[stuck]] = True
        going &= ~stuck
        rows = rows[going]
        combination = _towards(combination, rows, vertices[going], fixed[going], theta, regularizer)
    unfinished[rows] = True
    return combination, unfinished


def _settled(
    combination: ConvexCombination, rows: Tensor, theta: Tensor, regularizer: Regularizer, enough: Tensor
) -> ConvexCombination:
    """Return the optimum of the given rows among the vertices in use, some of which may be dropped."""
    for _ in range(_MOVES_PER_CALL):
        part = combination.take(rows)
        slope = theta[rows] - regularizer.gradient(part.points)
        values = part.values(slope)
        uneven = torch.where(part.used, values - (part.weights * values).sum(-1, keepdim=True), 0)
        moving = uneven.abs().amax(-1) > enough[rows]
        if not moving.any():
            break
        rows, part = rows[moving], part.take(moving)
        change = _newton_step(part, slope[moving], regularizer)
        combination = combination.put(rows, _moved(part, change, theta[rows], regularizer))
    return combination


def _newton_step(part: ConvexCombination, slope: Tensor, regularizer: Regularizer) -> Tensor:
    """Return the change of the weights (R, K) to the optimum of the local quadratic over the affine hull."""
    first, differences, others = part.differences(part.used)
    curved = differences * regularizer.curvature(part.points)[:, None]
    system = curved @ differences.mT + torch.diag_embed((~others).to(slope.dtype))
    values = part.values(slope)
    right = torch.where(others, values - values.gather(1, first), 0)
    change, _ = torch.linalg.solve_ex(system, right)
    residual = right - (system @ change[..., None]).squeeze(-1)
    singular = ~(residual.abs().amax(-1) <= _RESIDUAL * right.abs().amax(-1))  # NaN is singular, too
    if singular.any():
        change[singular] = _singular_step(system[singular], right[singular])
    change = change.scatter(1, first, -change.sum(-1, keepdim=True))
    # What is not finite even so moves nothing: the oracle's next vertex goes on from here.
    return torch.where(change.isfinite().all(-1, keepdim=True), change, 0)


def _singular_step(system: Tensor, right: Tensor) -> Tensor:
    """Return the change (R, K) where vertices are affinely dependent.

    A part of the right-hand side that no change explains is itself one: the weights move along it and the
    point does not, while the fixed part rises.
    """
    change = (torch.linalg.pinv(system, rtol=1e-12, hermitian=True) @ right[..., None]).squeeze(-1)
    rest = right - (system @ change[..., None]).squeeze(-1)
    level = rest.abs().amax(-1, keepdim=True) > _RESIDUAL * right.abs().amax(-1, keepdim=True)
    return torch.where(level, rest, change)


def _moved(
    part: ConvexCombination, change: Tensor, theta: Tensor, regularizer: Regularizer
) -> ConvexCombination:
    """Return the combinations after the best step along a change of their weights; emptied slots are free."""
    shrinking = part.used & (change < 0)
    limit = torch.where(shrinking, -part.weights / change, torch.inf).amin(-1)
    direction = (change[:, None] @ part.vertices).squeeze(1)
    line = _Line(theta, part.points, direction, (change * part.fixed).sum(-1), regularizer)
    step = line.best_step(limit)[:, None]
    weights = part.weights + step * change
    emptied = shrinking & (weights <= _EMPTY)
    weights = torch.where(emptied, 0, weights).clamp(min=0)
    return part.with_weights(weights / weights.sum(-1, keepdim=True), part.used & ~emptied)


def _towards(
    combination: ConvexCombination,
    rows: Tensor,
    vertices: Tensor,
    fixed: Tensor,
    theta: Tensor,
    regularizer: Regularizer,
) -> ConvexCombination:
    """Return the combinations after the best step of the given rows towards new vertices."""
    if not len(rows):
        return combination
    combination = combination.with_vertices(rows, vertices, fixed)
    part = combination.take(rows)
    change = part.find(torch.arange(len(rows), device=rows.device), vertices).to(theta.dtype) - part.weights
    return combination.put(rows, _moved(part, change, theta[rows], regularizer))


@dataclass(frozen=True)
class _Line:
    """The objective along `point + step direction`: `<theta, .> + step fixed - Omega`."""

    theta: Tensor
    point: Tensor
    direction: Tensor
    fixed: Tensor
    regularizer: Regularizer

    def slope(self, step: Tensor) -> Tensor:
        """Return the derivative by the step, (r,)."""
        gradient = self.regularizer.gradient(self.point + step[:, None] * self.direction)
        return ((self.theta - gradient) * self.direction).sum(-1) + self.fixed

    def best_step(self, limit: Tensor) -> Tensor:
        """Return the step in [0, limit] at which the slope is zero, or the limit where it never is."""
        whole = limit.clamp(max=1)
        at_start = self.slope(torch.zeros_like(limit))
        if self.regularizer.quadratic:
            decline = (self.regularizer.curvature(self.point) * self.direction.square()).sum(-1)
            # Without a decline the weights move and the point does not: up to the limit where that gains.
            level = torch.where(at_start > 0, limit, whole)
            return torch.where(decline > 0, at_start / decline, level).clamp(min=0).minimum(limit)
        at_whole = self.slope(whole)
        # The whole Newton step is often exact; a slope that is still rising there goes on.
        if (at_whole.abs() <= 1e-14 * at_start.abs()).logical_or((at_whole > 0) & (limit <= 1)).all():
            return whole
        low = torch.where(self.slope(limit) >= 0, limit, 0)
        high = limit
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            rising = self.slope(middle) > 0
            low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
        return low
