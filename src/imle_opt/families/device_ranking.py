"""Rankings where the tensors are: one sort, all rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from imle_opt._checks import check_at_least_one, check_costs
from imle_opt.families._checks import check_no_instances
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

__all__ = ["DeviceRanking"]


@final
@dataclass(frozen=True)
class DeviceRanking:
    """The ranks 1..n of scores, the largest score first, found on the device of the scores.

        z = argmin over permutations of (1, ..., n) of <scores, z>

    The costs are the scores: the largest one has rank 1, the smallest rank n; among equals the lower index
    comes first. With `BlackBox` or `IMLE` a loss of ranks (average precision, recall) can be learnt from.

    It is a family: give it to a layer or a loss in place of a solver.

    Args:
        event_dim: 1 for one ranking per decision, (n,); 2 for K rankings in one decision, (K, n); and so on.
            Each is along the last dimension.

    Raises:
        InvalidInputError: `event_dim` below 1; from `map`, an unfit theta, or instances.

    Cost: one stable sort, O(n log n) per row.

    Source: Rolínek et al., CVPR 2020, arXiv 1912.03500, Section 3.
    """

    event_dim: int = 1

    def __post_init__(self) -> None:
        check_at_least_one(self.event_dim, "event_dim")

    @property
    def sign(self) -> float:
        """-1: `theta = -scores`, ranks minimise."""
        return -1.0

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the ranks that maximise `<z, theta>`: 1 for the smallest entry of theta.

        Args:
            theta: (*batch, *event), always maximised, `-scores`.
            instances: must be None.
            deterministic: makes no difference, a row's answer depends on nothing but the row.

        Returns:
            The shape, dtype and device of theta, without a graph. A dtype too narrow for the ranks (above 256
            in bfloat16) rounds them.
        """
        check_no_instances(instances, self)
        check_costs(theta, self.event_dim, None, "theta")
        n = theta.shape[-1]
        if n == 0:
            raise InvalidInputError("`theta` must have at least one entry to rank in its last dimension.")
        order = theta.detach().sort(dim=-1, stable=True).indices
        ranks = torch.arange(1, n + 1, dtype=theta.dtype, device=theta.device).expand(theta.shape)
        return torch.empty_like(theta, requires_grad=False).scatter_(-1, order, ranks)
