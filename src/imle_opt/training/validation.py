"""Predictions of a model, and the regret of deciding by them on held-out rows."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt._bridge import to_array
from imle_opt._checks import check_at_least_one
from imle_opt.training.batches import device_of
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.regret import normalized_regret
from imle_opt_solvers.solver import Solver

__all__ = ["ValidationRegret", "predict_costs"]


@final
class ValidationRegret:
    """The normalised regret (ratio of sums) of a model's decisions on held-out rows, for `fit`.

    The true costs are solved once, here; each call adds one solve per row.

    Args:
        solver: the wrapped model.
        features: what the model takes, (rows, ...).
        costs: true costs, (rows, *solver.shape), in the model's own sense.
        instances: per-row data of the solver.
        batch_size: rows that the model sees at once.

    Raises:
        InvalidInputError: costs that are not finite or not of the solver's shape.
        SolveError: a row without a proven optimum, where the solver's policy is to raise.
    """

    def __init__(
        self,
        solver: Solver,
        features: Tensor,
        costs: Tensor,
        *,
        instances: Instances | None = None,
        batch_size: int = 256,
    ) -> None:
        self.solver, self.features, self.instances, self.batch_size = solver, features, instances, batch_size
        self.costs = to_array(costs)
        self.true_solution = solver.solve(self.costs, instances=instances)

    def __call__(self, model: nn.Module) -> float:
        """Return the normalised regret; 0.03 is 3%."""
        predicted = to_array(predict_costs(model, self.features, batch_size=self.batch_size))
        return normalized_regret(
            self.solver, predicted, self.costs, instances=self.instances, true_solution=self.true_solution
        )


def predict_costs(model: nn.Module, features: Tensor, *, batch_size: int = 256) -> Tensor:
    """Return a model's predictions in eval() and without gradients; its mode is as before afterwards.

    Args:
        model: features -> costs.
        features: (rows, ...), on any device.
        batch_size: rows that the model sees at once.

    Returns:
        (rows, ...), where the model's parameters are.
    """
    check_at_least_one(batch_size, "batch_size")
    was_training, device = model.training, device_of(model)
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([model(part.to(device)) for part in torch.split(features, batch_size)])
    finally:
        model.train(was_training)
