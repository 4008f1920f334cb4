"""The Hamming loss: in how many entries do decisions differ from the true solutions?"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from imle_opt._checks import at_least_float32, check_finite, check_samples_of, check_tensor
from imle_opt._perturbed import event_sum
from imle_opt.families import MAPOracle, as_family
from imle_opt.losses._labels import check_binary
from imle_opt_solvers.solver import Solver

__all__ = ["HammingLoss"]


@final
class HammingLoss(nn.Module):
    """Number of entries in which 0-1 decisions differ from true solutions.

        loss(decisions, solutions) = sum over entries of z (1 - y) + y (1 - z)

    Linear in z, with gradient `1 - 2y`; so it is the expected number for means of decisions, too. With it,
    I-MLE under `Eq14` learns by maximum likelihood (Fact 1).

    Args:
        solver: a solver, or a family of decisions; says how many dimensions are one decision.

    Raises:
        InvalidInputError: from the call, shapes that do not match, or solutions that are not in [0, 1].

    Cost: no solve.
    """

    def __init__(self, solver: Solver | MAPOracle) -> None:
        super().__init__()
        self.event_dim = as_family(solver).event_dim

    def forward(self, decisions: Tensor, solutions: Tensor) -> Tensor:
        """Return the loss of each decision.

        Args:
            decisions: z, (*samples, *batch, *event), as a layer returns them.
            solutions: y, (*batch, *event), entries 0 or 1.

        Returns:
            (*samples, *batch), in the dtype of `decisions`, but float32 where that is half precision.
        """
        check_tensor(solutions, "solutions")
        check_samples_of(decisions, solutions, "solutions", self.event_dim)
        check_finite(solutions, "solutions", self.event_dim)
        check_binary(solutions, "the Hamming loss", "RegretLoss")
        decisions = at_least_float32(decisions)
        solutions = solutions.to(decisions)
        return event_sum(decisions * (1 - solutions) + solutions * (1 - decisions), self.event_dim)
