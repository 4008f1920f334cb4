"""The exact expectation, by listing all decisions: the oracle that estimators are measured against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from imle_opt._full_precision import product
from imle_opt.estimators.estimator import Estimate, Values, evaluate, refuse_instances
from imle_opt.families import Enumerable, MAPOracle, require

__all__ = ["Enumerate"]


@final
@dataclass(frozen=True)
class Enumerate:
    """The exact value and gradient, by ordinary differentiation of the sum over all decisions.

        E f(z) = sum over z in C of softmax(<z, theta>)_z f(z)

    Raises:
        MissingCapabilityError: from the call, a family that cannot list its decisions.
        InvalidInputError: from the call, more decisions than memory bears.

    Cost: |C| evaluations of f: 2^K for K zeros and ones, C^K for K choices of C, n over k for subsets,
    n^(n-2) for trees.

    For small problems, and to judge other estimators (`diagnostics.gradient_stats`).
    """

    def __call__(
        self,
        f: Values,
        theta: Tensor,
        family: MAPOracle,
        *,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> Estimate:
        """Return the exact expectation, as `Estimator` says; nothing is drawn."""
        refuse_instances(instances, "Enumerate")
        listed = require(family, Enumerable, "Enumerate")  # type: ignore[type-abstract]  # a protocol is asked for by design
        batch_dim = theta.ndim - family.event_dim
        batch, event = theta.shape[:batch_dim], tuple(theta.shape[batch_dim:])
        support = listed.support(event, dtype=theta.dtype, device=theta.device)
        samples = support.reshape(-1, *(1,) * batch_dim, *event).expand(-1, *batch, *event)
        values = evaluate(f, samples, family.event_dim)
        flat = theta.reshape(*batch, math.prod(event))
        weights = product(flat, support.flatten(1).mT).softmax(-1).movedim(-1, 0)
        return Estimate((weights * values.to(theta.dtype)).sum(0))
