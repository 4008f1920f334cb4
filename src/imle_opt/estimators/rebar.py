"""REBAR: f at relaxed decisions as a control variate of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from imle_opt._checks import check_at_least_one, check_positive
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
from imle_opt.families import MAPOracle, Reparameterized, require
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["Rebar", "values_and_relaxed"]


def values_and_relaxed(
    f: Values, draw: CoupledDraw, family: Reparameterized, temperature: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return f at the samples (S, *batch), relaxed zeta and zeta~ (2 S, *batch, *event), and f there.

    f is called twice: the graph at relaxed decisions serves the gradient by theta, and is forgotten with it;
    what f learns, it learns from the samples.

    Args:
        f: the function.
        draw: samples, zeta and zeta~.
        family: which relaxes them.
        temperature: of the relaxation, a scalar.
    """
    values = evaluate(f, draw.samples, family.event_dim)
    relaxed = family.relax(torch.cat([draw.zeta, draw.given]), temperature.to(draw.zeta.dtype))
    return values, relaxed, evaluate(f, relaxed, family.event_dim).to(draw.zeta.dtype)


@final
class Rebar(nn.Module):
    """The score function with f at relaxed decisions as control variate; unbiased for any eta and lambda.

        zeta = relaxed variables that harden to z,   zeta~ = the same, drawn anew given z
        c(zeta) = eta f(relax(zeta / lambda))
        d theta = (f(z) - c(zeta~)) d log p(z) + d c(zeta) / d theta - d c(zeta~) / d theta

    averaged over S samples. eta and lambda are parameters, tuned by the gradient of the variance
    `mean ||d theta||^2` of a sample: `estimate(...).variance_loss.backward()`.

    Args:
        num_samples: S.
        eta: its start; at 0 this is REINFORCE without baseline.
        temperature: lambda's start, positive.

    Raises:
        InvalidInputError: an option out of its range; from the call, an f that cannot be differentiated.
        MissingCapabilityError: from the call, a family other than independent zeros and ones or classes.

    Attributes:
        eta: a parameter, scalar.
        log_temperature: a parameter, scalar.

    Cost: 3 S evaluations of f in two calls, and a backward pass through 2 S of them (twice, to tune).

    Source: Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein, NeurIPS 2017, arXiv 1703.07370.

    f must make sense between zero and one. Where it does not, or is a black box: `Relax`, `DisARM`, `ARSM`.
    """

    def __init__(self, num_samples: int = 1, *, eta: float = 1.0, temperature: float = 0.5) -> None:
        super().__init__()
        check_at_least_one(num_samples, "num_samples")
        check_positive(temperature, "temperature")
        if not math.isfinite(eta):
            raise InvalidInputError(f"`eta` must be finite, not {eta!r}.")
        self.num_samples = num_samples
        self.eta = nn.Parameter(torch.tensor(float(eta)))
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
        refuse_instances(instances, "Rebar")
        source = require(family, Reparameterized, "Rebar")  # type: ignore[type-abstract]  # a protocol is asked for by design
        if not needs_gradient(theta):
            return without_gradient(f, theta, source, self.num_samples, generator)
        draw = coupled_draw(theta, source, self.num_samples, generator)
        values, relaxed, at_relaxed = values_and_relaxed(f, draw, source, self.log_temperature.exp())
        at_zeta, at_given = torch.tensor_split(self.eta.to(theta.dtype) * at_relaxed, 2)
        seen = values.detach().to(theta.dtype)
        gradients = control_variate_gradient(seen, at_zeta, at_given, draw, family.event_dim, relaxed)
        loss = own_loss(gradients, list(self.parameters()), family.event_dim)
        gradient = gradients.detach().mean(0)
        return Estimate(attached(values, theta, gradient, family.event_dim), loss)

    def extra_repr(self) -> str:
        """Show the number of samples."""
        return f"num_samples={self.num_samples}"
