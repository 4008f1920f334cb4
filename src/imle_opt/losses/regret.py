"""The regret as a loss: what decisions cost under the true costs, above the optimum."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from imle_opt._bridge import flat_instances
from imle_opt._checks import at_least_float32, check_floating, check_like, check_samples_of
from imle_opt._perturbed import decide_flat, event_sum, theta_of
from imle_opt.families import MAPOracle, as_family, count_undecided
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solver import Solver

__all__ = ["RegretLoss"]


@final
class RegretLoss(nn.Module):
    """How much worse decisions are than the optimum, under the true costs.

        loss(decisions, costs) = <costs, z> - <costs, z*>     for a minimisation
                                 <costs, z*> - <costs, z>     for a maximisation

    Linear in z, with gradient `costs` (or `-costs`). With it, I-MLE under `Eq14` learns by maximum likelihood
    against the law of the true costs (Fact 2). It differentiates by the decisions, not by predicted costs: a
    layer in between does that.

    It counts the costs that are predicted. Where a model also has costs that are fixed, a decision that is
    worse by the predicted costs alone may be better in all, and a value may be negative; the gradient is
    right all the same, and `imle_opt.regret` has the metrics that count everything.

    Args:
        solver: a solver, or a family of decisions.

    Raises:
        InvalidInputError: from the call, shapes that do not match, or NaN or infinite costs.
        SolveError: from the call, a row without a proven optimum, where the solver's policy is to raise.

    Cost: one solve per row, none where `solutions` are given.
    """

    def __init__(self, solver: Solver | MAPOracle) -> None:
        super().__init__()
        self.family = as_family(solver)

    @property
    def undecided(self) -> int:
        """Rows without a decision so far, each with gradient zero; each sample and each solve counts."""
        return count_undecided(self.family)

    def forward(
        self,
        decisions: Tensor,
        costs: Tensor,
        solutions: Tensor | None = None,
        *,
        instances: Instances | None = None,
    ) -> Tensor:
        """Return the regret of each decision.

        Args:
            decisions: z, (*samples, *batch, *event), as a layer returns them.
            costs: true costs, (*batch, *event), in the model's own sense.
            solutions: optimal decisions z* under the true costs, (*batch, *event); None solves for them.
            instances: per-row data of the solver, each entry (*batch, ...); used where it solves.

        Returns:
            (*samples, *batch), in the dtype of `decisions`, but float32 where that is half precision.
        """
        event_dim = self.family.event_dim
        theta = theta_of(costs, self.family).detach()
        check_floating(decisions, "decisions")
        check_samples_of(decisions, costs, "costs", event_dim)
        if solutions is None:
            rows = flat_instances(instances, tuple(theta.shape[: theta.ndim - event_dim]))
            solutions = decide_flat(self.family, theta, rows)
        else:
            check_like(solutions, costs, "solutions", event_dim)
        decisions = at_least_float32(decisions)
        return event_sum(theta.to(decisions) * (solutions.to(decisions) - decisions), event_dim)
