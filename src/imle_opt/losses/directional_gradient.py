"""Directional gradients (PG losses): the true cost of the predicted decision, as a difference of optima."""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
from torch import Tensor, nn

from imle_opt._bridge import flat_instances
from imle_opt._checks import check_choice, check_like, check_positive
from imle_opt._perturbed import maximum, theta_of
from imle_opt.families import MAPOracle, as_family, count_undecided
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["Direction", "DirectionalGradient"]

Direction = Literal["backward", "central", "forward"]


@final
class DirectionalGradient(nn.Module):
    """The true cost of the predicted decision, as a finite difference of the optimal value along the costs.

        V(theta) = max over z of <theta, z> + F(z),     <theta, MAP(theta_hat)> = d/dh V(theta_hat + h theta)

        backward   loss = -[V(theta_hat) - V(theta_hat - h theta)] / h
        central    loss = -[V(theta_hat + h theta) - V(theta_hat - h theta)] / (2 h)
        forward    loss = -[V(theta_hat + h theta) - V(theta_hat)] / h

    with theta = costs for a maximisation and -costs for a minimisation. For a minimisation the loss is close
    to `<costs, z(costs_hat)>`, what the predicted decision costs, for a maximisation to minus its value. V is
    convex, so the backward form is an upper bound of that, the forward form a lower one. The gradient by
    theta_hat is the difference of the two decisions over the step: zero where the step changes no decision.

    Args:
        solver: a solver, or a family of decisions.
        step: h, the weight of the true costs; without unit where predicted and true costs share theirs. Small
            steps are less biased and see fewer changes of decisions; more data allow smaller ones.
        direction: `"backward"`, `"central"` or `"forward"`.

    Raises:
        InvalidInputError: an option out of its range; from the call, costs that are not finite or not of the
            right shape.
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.
            Under `on_failure="nan"` such a row has value NaN and gradient 0.

    Cost: two solves per row; none backward. The optimum under the true costs is not needed.

    Source: Gupta and Huang, NeurIPS 2024, arXiv 2402.03256.

    It is not convex: start it from a predictor trained by `SPOPlus` or regression. It is made for classes of
    predictors that cannot hold the truth, where those are biased.
    """

    def __init__(
        self, solver: Solver | MAPOracle, step: float = 0.1, *, direction: Direction = "backward"
    ) -> None:
        super().__init__()
        check_positive(step, "step")
        check_choice(direction, get_args(Direction), "direction")
        self.family = as_family(solver)
        self.step = step
        self.direction: Direction = direction

    def forward(self, costs_hat: Tensor, costs: Tensor, *, instances: Instances | None = None) -> Tensor:
        """Return the loss of each row, which nothing reduces.

        Args:
            costs_hat: predicted costs, (*batch, *event), in the model's own sense.
            costs: true costs, (*batch, *event), in the model's own sense.
            instances: per-row data of the solver, each entry (*batch, ...).

        Returns:
            (*batch,), in the dtype of `costs_hat`, but float32 where that is half precision.
        """
        family = self.family
        theta_hat = theta_of(costs_hat, family, "costs_hat")
        check_like(costs, costs_hat, "costs", family.event_dim)
        theta = theta_of(costs, family).detach().to(theta_hat)
        rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - family.event_dim]))
        ahead = self.step if self.direction != "backward" else 0.0
        behind = self.step if self.direction != "forward" else 0.0
        high, _, _ = maximum(theta_hat + ahead * theta, family, rows)
        low, _, _ = maximum(theta_hat - behind * theta, family, rows)
        # Else, where one of the solves has no decision, the gradient of the other would remain.
        failed = low.isnan() | high.isnan()
        return torch.where(failed, torch.nan, (low - high) / (ahead + behind))

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def extra_repr(self) -> str:
        """Show the family, the step and the direction."""
        return f"{self.family!r}, step={self.step}, direction={self.direction!r}"
