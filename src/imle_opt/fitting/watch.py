"""What early stopping watches: regret on held-out rows, or the distance from known decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import nn

from imle_opt._bridge import to_array
from imle_opt.methods import Supervision
from imle_opt.training import predict_costs
from imle_opt_solvers.regret import evaluate
from imle_opt_solvers.solution import FloatArray, Solution
from imle_opt_solvers.solver import Solver

__all__ = ["Watch", "difference"]


@final
@dataclass(frozen=True, eq=False)
class Watch:
    """A validation for `imle_opt.fit`; lower is better.

    From costs the normalised regret (ratio of sums), or the mean regret where the optima sum to zero; from
    solutions, of which a regret cannot be told, the `difference`.

    Args:
        solver: of the model.
        features: (rows, features).
        labels: (rows, *shape).
        supervision: what the labels are.
        truth: the optima of these rows.
        unit: what the network's outputs are counted in.

    Cost of a call: one solve per row.
    """

    solver: Solver
    features: FloatArray
    labels: FloatArray
    supervision: Supervision
    truth: Solution
    unit: float

    def __call__(self, network: nn.Module) -> float:
        """Return the figure for a network, from features to costs in `unit`."""
        costs = self.unit * to_array(predict_costs(network, torch.from_numpy(self.features)))
        if self.supervision == "solutions":
            return difference(self.solver.solve(costs).decisions, self.labels)
        report = evaluate(self.solver, costs, self.labels, true_solution=self.truth, worst_case=False)
        return report.mean_regret if np.isnan(report.normalized_regret) else report.normalized_regret


def difference(decisions: FloatArray, solutions: FloatArray) -> float:
    """Return `sum |z - y| / sum (|z| + |y|)` over all rows and entries: 0 if equal, 1 if nothing is shared.

    It also counts decisions that differ and are as good.
    """
    size = float(np.abs(decisions).sum() + np.abs(solutions).sum())
    return float(np.abs(decisions - solutions).sum()) / size if size else 0.0
