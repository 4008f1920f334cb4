"""The draw that `SparseMAP` and `RegularizedFrankWolfe` share: the regularised optimum as the only sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imle_opt.families import MAPOracle
from imle_opt.layers.layer import Draw
from imle_opt.regularized import Regularizer, regularized_maximum

__all__ = ["regularized_draw"]


def regularized_draw(
    theta: Tensor,
    family: MAPOracle,
    regularizer: Regularizer,
    instances: Mapping[str, Any] | None,
    *,
    tolerance: float,
    max_iterations: int,
) -> Draw:
    """Return the regularised optimum as the only sample, with its implicit derivative as rule.

    Args:
        theta: (*batch, *event), without a graph.
        family: what maximises.
        regularizer: Omega.
        instances: flat per-row data, or None.
        tolerance: as in `regularized_maximum`.
        max_iterations: as in `regularized_maximum`.
    """
    optimum = regularized_maximum(
        theta, family, regularizer, instances, tolerance=tolerance, max_iterations=max_iterations
    )
    return Draw(optimum.points[None], lambda gradient: optimum.backward(gradient[0]))
