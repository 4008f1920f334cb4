"""RELAX: a learned surrogate of f as control variate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_at_least_one, check_kind, check_positive
from imle_opt.estimators.control_variate import (
    CoupledDraw,
    control_variate_gradient,
    coupled_draw,
    own_loss,
)
from imle_opt.estimators.estimator import (
    Estimate,
    Values,
    attached,
    evaluate,
    needs_gradient,
    refuse_instances,
    without_gradient,
)
from imle_opt.estimators.rebar import values_and_relaxed
from imle_opt.families import MAPOracle, Reparameterized, require

__all__ = ["Relax"]


@final
class Relax(nn.Module):
    """The score function with a network as control variate; unbiased for any network.

        zeta = relaxed variables that harden to z,   zeta~ = the same, drawn anew given z
        c(zeta) = r(zeta)                               f is a black box
        c(zeta) = f(relax(zeta / lambda)) + r(zeta)     `with_relaxation=True`: REBAR's, corrected
        d theta = (f(z) - c(zeta~)) d log p(z) + d c(zeta) / d theta - d c(zeta~) / d theta

    averaged over S samples. The parameters of r (and lambda) are tuned by the gradient of the variance
    `mean ||d theta||^2` of a sample: `estimate(...).variance_loss.backward()`. A constant r is a baseline.

    Args:
        surrogate: r, an nn.Module from zeta (S, *batch, *event) to (S, *batch), of the scale of f. Use smooth
            activations (tanh): its gradient is what matters. What it shall know of the row beside zeta, keep
            in an attribute of the module.
        num_samples: S.
        with_relaxation: add f at relaxed decisions to the surrogate.
        temperature: lambda's start, positive; for `with_relaxation` only.

    Raises:
        InvalidInputError: an option out of its range; from the call, a surrogate of another shape, or with
            `with_relaxation` an f that cannot be differentiated.
        MissingCapabilityError: from the call, a family other than independent zeros and ones or classes.

    Attributes:
        log_temperature: a parameter, scalar, with `with_relaxation`; else None.

    Cost: S evaluations of f in one call, 3 S in two with the relaxation; 2 S of r, and their gradients
    (twice).

    Source: Grathwohl, Choi, Wu, Roeder and Duvenaud, ICLR 2018, arXiv 1711.00123, Algorithm 2 (its draft's
    Eq. 11 and 12 have a sign and an argument wrong).

    It pays where f is dear and the same expectation is differentiated many times. For a fresh problem, or
    without the will to train a second network, `DisARM`, `ARSM` or leave-one-out.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        num_samples: int = 1,
        *,
        with_relaxation: bool = False,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        check_kind(surrogate, nn.Module, "surrogate", "nn.Sequential(...)")
        check_at_least_one(num_samples, "num_samples")
        check_positive(temperature, "temperature")
        self.surrogate = surrogate
        self.num_samples = num_samples
        self.log_temperature: nn.Parameter | None = None
        if with_relaxation:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(
        self,
        f: Values,
        theta: Tensor,
        family: MAPOracle,
        *,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> Estimate:
        """Return the estimate, as `Estimator` says."""
        refuse_instances(instances, "Relax")
        source = require(family, Reparameterized, "Relax")  # type: ignore[type-abstract]  # a protocol is asked for by design
        if not needs_gradient(theta):
            return without_gradient(f, theta, source, self.num_samples, generator)
        draw = coupled_draw(theta, source, self.num_samples, generator)
        learned, relaxed = self._learned(draw, family.event_dim), None
        if self.log_temperature is None:
            values = evaluate(f, draw.samples, family.event_dim)
        else:
            values, relaxed, at_relaxed = values_and_relaxed(f, draw, source, self.log_temperature.exp())
            learned = learned + at_relaxed
        at_zeta, at_given = torch.tensor_split(learned, 2)
        seen = values.detach().to(theta.dtype)
        gradients = control_variate_gradient(seen, at_zeta, at_given, draw, family.event_dim, relaxed)
        loss = own_loss(gradients, list(self.parameters()), family.event_dim)
        gradient = gradients.detach().mean(0)
        return Estimate(attached(values, theta, gradient, family.event_dim), loss)

    def _learned(self, draw: CoupledDraw, event_dim: int) -> Tensor:
        """Return r at zeta and at zeta~, (2 S, *batch)."""
        both = evaluate(self.surrogate, torch.cat([draw.zeta, draw.given]), event_dim, "surrogate")
        return both.to(draw.zeta.dtype)

    def extra_repr(self) -> str:
        """Show the number of samples."""
        return f"num_samples={self.num_samples}"
