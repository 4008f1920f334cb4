"""Negative identity with projection: straight-through, less the directions that cannot change a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from imle_opt._checks import check_choice
from imle_opt._perturbed import NoiseSource, event_sum, over_event
from imle_opt.families import Categorical, KSubset, MAPOracle, Polytope, SolutionPool, SpanningTree
from imle_opt.layers.layer import Draw, Layer
from imle_opt.noise import Noise, NoNoise
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solver import Solver

__all__ = ["Identity", "Projection", "project_gradient"]

Projection = Literal["none", "norm", "mean", "standard"]


@final
class Identity(Layer):
    """Decisions, and the loss's gradient by them passed through the derivative of a projection of theta.

        forward    z_i = MAP(theta + eps_i),   i = 1..S
        backward   d theta = (1/S) sum_i P'(theta)^T g_i

        "norm"      P(theta) = theta / ||theta||
        "mean"      P(theta) = theta - mean(theta)
        "standard"  both: (theta - mean(theta)) / ||theta - mean(theta)||
        "none"      P(theta) = theta: `StraightThrough`

    The optimum does not change with the scale of theta, nor, where all decisions have the same sum, with a
    shift of it. The plain identity pushes theta along such directions all the same, and its scale collapses
    or explodes; the projection takes them out of the gradient.

    Args:
        solver: a solver, or a family of decisions.
        projection: `"norm"` fits every problem. `"mean"` and `"standard"` are for decisions that all have the
            same sum (k-subsets, assignments, spanning trees), and better there.
        noise: how theta is perturbed; none by default. Noise makes a margin, as in the paper.
        num_samples: S.
        generator: see `Layer`.

    Rows whose projected theta is 0 have gradient 0. Shapes and `eval()`: see `Layer`.

    Raises:
        InvalidInputError: a projection with a mean for a solver whose decisions are not known to have the
            same sum (`traits.cardinality`), or an option out of its range.

    Cost: S solves per row forward (one without noise), none backward.

    Source: Sahoo, Paulus, Vlastelica, Musil, Kuleshov and Martius, ICLR 2023, arXiv 2205.15213, Section 3.
    """

    def __init__(
        self,
        solver: Solver | MAPOracle,
        *,
        projection: Projection = "norm",
        noise: Noise | None = None,
        num_samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(solver, num_samples=num_samples, generator=generator)
        check_choice(projection, get_args(Projection), "projection")
        if projection in ("mean", "standard") and not _has_one_sum(self.family):
            raise InvalidInputError(
                f"`projection={projection!r}` takes the mean out of theta, which changes the optimum unless "
                f"all decisions have the same sum; that is not known of {self.family!r}. "
                "Use projection='norm'."
            )
        self.projection: Projection = projection
        self.noise = NoiseSource(NoNoise() if noise is None else noise)

    def draw(
        self, theta: Tensor, instances: Mapping[str, Any] | None, generator: torch.Generator | None
    ) -> Draw:
        """Draw perturb-and-MAP samples, as `Layer.draw` says."""
        perturbed = self.noise.perturbed(self.family, theta, self.num_samples, instances, generator)
        samples = perturbed.decide(theta)
        failed = samples.isnan()

        def rule(gradient: Tensor) -> Tensor:
            mean = torch.where(failed, 0, gradient).mean(0)
            return project_gradient(mean, theta, self.projection, self.family.event_dim)

        return Draw(samples, rule)

    def extra_repr(self) -> str:
        """Show the family, the number of samples and the projection."""
        return f"{super().extra_repr()}, projection={self.projection!r}"


def project_gradient(gradient: Tensor, theta: Tensor, projection: Projection, event_dim: int) -> Tensor:
    """Return `P'(theta)^T g`: the gradient through a projection of theta.

    Args:
        gradient: g, (*batch, *event).
        theta: (*batch, *event).
        projection: P, as in `Identity`.
        event_dim: how many of the last dimensions belong to one decision.

    Returns:
        (*batch, *event); 0 where the norm that P divides by is 0.
    """
    dims = tuple(range(theta.ndim - event_dim, theta.ndim))
    if projection in ("mean", "standard"):
        theta = theta - theta.mean(dims, keepdim=True)
    if projection in ("norm", "standard"):
        # In double precision: squares of small entries underflow in single.
        norm = over_event(event_sum(theta.double().square(), event_dim).sqrt(), event_dim)
        unit = theta / torch.where(norm > 0, norm, 1)
        along = over_event(event_sum(unit * gradient, event_dim), event_dim)
        gradient = torch.where(norm > 0, (gradient - along * unit) / norm, 0).to(gradient)
    if projection in ("mean", "standard"):
        gradient = gradient - gradient.mean(dims, keepdim=True)
    return gradient


def _has_one_sum(family: MAPOracle) -> bool:
    if isinstance(family, (Polytope, SolutionPool)):
        solver = family.solver if isinstance(family, Polytope) else family
        return solver.traits.cardinality is not None
    return isinstance(family, (KSubset, Categorical, SpanningTree))
