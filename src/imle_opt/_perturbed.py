"""Perturb-and-MAP: one draw of noise, under which theta can be maximised as often as a method needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from imle_opt._bridge import take_rows
from imle_opt._checks import at_least_float32, check_costs, check_kind
from imle_opt.families import FixedPart, MAPOracle, Polytope
from imle_opt.noise import Noise, NoNoise, SumOfGamma
from imle_opt_solvers.errors import InvalidInputError, SolveError

__all__ = [
    "NoiseSource",
    "PerturbedMAP",
    "decide_flat",
    "event_largest",
    "event_shape",
    "event_sum",
    "has_nan",
    "maximum",
    "over_event",
    "theta_of",
    "undecided_rows",
]


Answer = TypeVar("Answer")


@final
@dataclass(frozen=True)
class PerturbedMAP:
    """`MAP(perturb(theta, eps_s))` for s = 1..S, with eps drawn once: forward and backward share it.

    All samples go to the solver in one batch, those of one row next to each other: solvers that start from
    their last answer gain from that. Without noise every row is solved from the same start, so that ties are
    always broken alike.

    Args:
        family: what maximises.
        noise: how theta is perturbed.
        drawn: eps, (S, *batch, *event).
        instances: flat per-row data (`flat_instances`), or None.
    """

    family: MAPOracle
    noise: Noise
    drawn: Tensor
    instances: Mapping[str, Any] | None

    def decide(self, theta: Tensor) -> Tensor:
        """Return the decisions at theta: (S, *batch, *event). One solve per sample and row.

        Args:
            theta: (*batch, *event), or one per sample (S, *batch, *event).
        """
        if self.noise.is_zero and theta.ndim < self.drawn.ndim:
            return self._solve(theta[None]).reshape(theta.shape).expand_as(self.drawn)
        return self._samples(self._solve(self.noise.perturb(theta, self.drawn)), len(self.drawn))

    def decide_with_fixed(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decisions at theta, as `decide`, and F(z), what fixed costs of the model add to each.

        Args:
            theta: (*batch, *event).

        Returns:
            z, (S, *batch, *event), and F(z), (S, *batch), which counts towards the maximum of
            `<z, theta> + F(z)`: 0 for families that have no fixed part. One solve per sample and row.
        """
        if not isinstance(self.family, FixedPart):
            decisions = self.decide(theta)
            return decisions, decisions.new_zeros(decisions.shape[: decisions.ndim - self.family.event_dim])
        perturbed = theta[None] if self.noise.is_zero else self.noise.perturb(theta, self.drawn)
        decisions, fixed = self._oracle(self.family.map_with_fixed, perturbed)
        samples, shares = (self._samples(rows, len(perturbed)) for rows in (decisions, fixed))
        return samples.expand_as(self.drawn), shares.expand(len(self.drawn), *shares.shape[1:])

    def decide_where(self, rows: Tensor, theta: Tensor, otherwise: Tensor) -> Tensor:
        """Return the decisions at theta in some rows, and `otherwise` in the rest, which is not solved.

        Args:
            rows: which to solve, boolean, (S, *batch).
            theta: (S, *batch, *event).
            otherwise: (S, *batch, *event).
        """
        if rows.all():
            return self.decide(theta)
        chosen = rows.movedim(0, -1).reshape(-1).nonzero().squeeze(-1)
        decisions = self._rows(otherwise).clone()
        decisions[chosen] = self._solve(self.noise.perturb(theta, self.drawn), chosen)
        return decisions.reshape(self._adjacent(otherwise).shape).movedim(self._batch_dim, 0)

    @property
    def _batch_dim(self) -> int:
        return self.drawn.ndim - 1 - self.family.event_dim

    def _adjacent(self, theta: Tensor) -> Tensor:
        """Return (S, *batch, *event) as (*batch, S, *event): the samples of a row are adjacent."""
        return theta.movedim(0, self._batch_dim)

    def _rows(self, theta: Tensor) -> Tensor:
        """Return (S, *batch, *event) as (rows, *event) in which the samples of a row are adjacent."""
        event = theta.shape[self._batch_dim + 1 :]
        return self._adjacent(theta).reshape(math.prod(theta.shape[: self._batch_dim + 1]), *event)

    def _samples(self, answers: Tensor, num_samples: int) -> Tensor:
        """Return answers of `_oracle` about all rows as (S, *batch, ...)."""
        if self.instances is not None:
            batch = self.drawn.shape[1 : self._batch_dim + 1]
            answers = answers.reshape(*batch, num_samples, *answers.shape[1:])
        return answers.movedim(self._batch_dim, 0)

    def _solve(self, theta: Tensor, chosen: Tensor | None = None) -> Tensor:
        return self._oracle(self.family.map, theta, chosen)

    def _oracle(self, oracle: Callable[..., Answer], theta: Tensor, chosen: Tensor | None = None) -> Answer:
        """Ask about theta (samples, *batch, *event): its `_rows`, all or the chosen ones.

        Without instances, all of them are asked about as (*batch, samples, *event), which needs no copy.
        """
        rows = math.prod(theta.shape[: self._batch_dim + 1])
        instances = None
        if self.instances is not None:
            instances = take_rows(self.instances, _batch_rows(rows, len(theta), chosen))
        if chosen is not None:
            solved = self._rows(theta)[chosen]
        else:
            solved = self._adjacent(theta) if instances is None else self._rows(theta)
        try:
            return oracle(solved, instances=instances, deterministic=self.noise.is_zero)
        except SolveError as error:
            batch_rows = _batch_rows(rows, len(theta), chosen)
            failed = sorted({int(batch_rows[row]) for row in error.rows})
            error.add_note(f"Counted in rows of the batch, with all samples of a row as one: {failed}.")
            raise
        except InvalidInputError as error:
            error.add_note(
                "The costs meant are those predicted after the noise and, in the backward pass, a step of "
                "the target; each sample counts as a row."
            )
            raise


@final
class NoiseSource(nn.Module):
    """A noise, whose `kappa="auto"` is settled by the first batch and then kept with the model.

    Args:
        noise: any noise.

    Raises:
        InvalidInputError: it is not a noise.

    Attributes:
        kappa: what `"auto"` was settled to, a buffer; NaN until then. Only where the noise asks for it.
    """

    def __init__(self, noise: Noise) -> None:
        super().__init__()
        check_kind(noise, Noise, "noise", "Gumbel(1.0)")
        self.noise = noise
        self.kappa: Tensor | None
        self.register_buffer("kappa", torch.tensor(math.nan) if _is_unsettled(noise) else None)

    def perturbed(
        self,
        family: MAPOracle,
        theta: Tensor,
        num_samples: int,
        instances: Mapping[str, Any] | None,
        generator: torch.Generator | None,
    ) -> PerturbedMAP:
        """Draw S times noise for theta, on its device.

        Args:
            family: what maximises.
            theta: (*batch, *event), without a graph, float32 or float64.
            num_samples: S.
            instances: flat per-row data.
            generator: source of randomness; None is torch's default generator.
        """
        noise = self._settled(family, theta, instances) if theta.numel() else NoNoise()
        shape = (num_samples, *theta.shape)
        drawn = noise.draw(shape, generator=generator, dtype=theta.dtype, device=theta.device)
        return PerturbedMAP(family, noise, drawn, instances)

    def given(
        self, family: MAPOracle, theta: Tensor, drawn: Tensor, instances: Mapping[str, Any] | None
    ) -> PerturbedMAP:
        """Return MAP under noise that was drawn before, (S, *batch, *event), on any device."""
        return PerturbedMAP(family, self._settled(family, theta, instances), drawn.to(theta), instances)

    def _settled(self, family: MAPOracle, theta: Tensor, instances: Mapping[str, Any] | None) -> Noise:
        noise = self.noise
        if self.kappa is None or not isinstance(noise, SumOfGamma):
            return noise
        if self.kappa.isnan():
            self.kappa.fill_(_ones_per_decision(noise, family, theta, instances))
        return replace(noise, kappa=self.kappa.item())

    def extra_repr(self) -> str:
        """Show the noise."""
        return repr(self.noise)


def decide_flat(family: MAPOracle, theta: Tensor, instances: Mapping[str, Any] | None) -> Tensor:
    """Return the optima at theta without noise, each row solved from the same start.

    Args:
        family: what maximises.
        theta: (*batch, *event), always maximised.
        instances: flat per-row data, or None.

    Returns:
        (*batch, *event).
    """
    batch_dim = theta.ndim - family.event_dim
    rows = theta.reshape(math.prod(theta.shape[:batch_dim]), *theta.shape[batch_dim:])
    return family.map(rows, instances=instances, deterministic=True).reshape(theta.shape)


def maximum(
    theta: Tensor, family: MAPOracle, instances: Mapping[str, Any] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `V(theta) = max over z in C of <z, theta> + F(z)`, differentiable in theta, and its maximiser.

    F(z) is what fixed costs of the model add, see `FixedPart`. By Danskin's theorem the gradient of V is z.

    Args:
        theta: (*batch, *event), always maximised; its graph is kept.
        family: what maximises.
        instances: flat per-row data, or None.

    Returns:
        V, (*batch,); z, (*batch, *event), and F(z), (*batch,), without a graph. Rows without a decision have
        V and z NaN, and gradient 0. One solve per row, each from the same start.
    """
    batch_dim = theta.ndim - family.event_dim
    rows = theta.detach().reshape(math.prod(theta.shape[:batch_dim]), *theta.shape[batch_dim:])
    if isinstance(family, FixedPart):
        decisions, fixed = family.map_with_fixed(rows, instances=instances, deterministic=True)
    else:
        decisions = family.map(rows, instances=instances, deterministic=True)
        fixed = decisions.new_zeros(len(decisions))
    decisions, fixed = decisions.reshape(theta.shape), fixed.reshape(theta.shape[:batch_dim])
    value = event_sum(theta * decisions.nan_to_num(nan=0.0), family.event_dim) + fixed
    return torch.where(has_nan(decisions, family.event_dim), torch.nan, value), decisions, fixed


def has_nan(tensor: Tensor, event_dim: int) -> Tensor:
    """Return which rows (...,) of (..., *event) hold a NaN."""
    return tensor.isnan().flatten(tensor.ndim - event_dim).any(-1) if event_dim else tensor.isnan()


def theta_of(costs: Tensor, family: MAPOracle, name: str = "costs") -> Tensor:
    """Return `theta = sign * costs`, with its graph, in float32 or float64, after checking the costs.

    Args:
        costs: (*batch, *event), in the model's own sense.
        family: whose costs they are.
        name: the argument's name in error messages.

    Raises:
        InvalidInputError: costs that are not finite floating point numbers of the right shape.
    """
    check_costs(costs, family.event_dim, event_shape(family), name)
    return family.sign * at_least_float32(costs)


def event_shape(family: MAPOracle) -> tuple[int, ...] | None:
    """Return the shape of one decision, where the family has only one."""
    shape: tuple[int, ...] | None = getattr(family, "shape", None)
    return shape


def event_sum(tensor: Tensor, event_dim: int) -> Tensor:
    """Sum over the last `event_dim` dimensions."""
    return tensor.flatten(tensor.ndim - event_dim).sum(-1) if event_dim else tensor


def event_largest(tensor: Tensor, event_dim: int) -> Tensor:
    """Return the largest absolute value over the last `event_dim` dimensions: NaN where one is NaN."""
    sizes = tensor.abs()
    return sizes.flatten(sizes.ndim - event_dim).amax(-1) if event_dim else sizes


def undecided_rows(decisions: Tensor, event_dim: int) -> Tensor:
    """Return which rows of decisions, (..., *event), are NaN: those without a decision."""
    return event_sum(decisions, event_dim).isnan()


def over_event(tensor: Tensor, event_dim: int) -> Tensor:
    """Append `event_dim` dimensions of size 1, so that one number per row meets its entries."""
    return tensor.reshape(*tensor.shape, *(1,) * event_dim)


def _batch_rows(rows: int, num_samples: int, chosen: Tensor | None) -> Tensor:
    """Return which row of the batch each solved row is a sample of."""
    solved = torch.arange(rows) if chosen is None else chosen.cpu()
    return solved // num_samples


def _is_unsettled(noise: Noise) -> bool:
    return isinstance(noise, SumOfGamma) and noise.needs_resolving


def _ones_per_decision(
    noise: SumOfGamma, family: MAPOracle, theta: Tensor, instances: Mapping[str, Any] | None
) -> float:
    cardinality = family.solver.traits.cardinality if isinstance(family, Polytope) else None
    if cardinality is not None:
        return float(cardinality)
    decisions = decide_flat(family, theta, instances)
    return float(noise.resolved(decisions, event_dim=family.event_dim).kappa)
