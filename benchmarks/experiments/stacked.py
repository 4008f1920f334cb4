"""Linear predictors of costs, one per seed, trained side by side: the rows of all seeds are one batch.

Predictors do not see each other: the loss is a sum over rows and Adam works entry by entry. What a method
keeps of its own it keeps for all seeds (the alpha of `Adaptive`, which is a ratio without unit), but pools of
solutions are trained seed by seed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from experiment import Call, call
from torch import Tensor

from imle_opt import (
    CMAP,
    IMLE,
    NCE,
    Adaptive,
    BlackBox,
    DirectionalGradient,
    ExplicitMLE,
    FenchelYoung,
    Identity,
    ListwiseRanking,
    Normal,
    PairwiseRanking,
    Perturbed,
    PointwiseRanking,
    RegretLoss,
    SolutionPool,
    Solver,
    SparseMAP,
    SPOPlus,
    StraightThrough,
    StructuredHinge,
)
from imle_opt.layers.layer import Layer
from imle_opt.regret import normalized_regret

Rule: TypeAlias = Callable[[Tensor, "Rows"], Tensor]
LEAST_SQUARES = "Least squares"
SPO_PLUS = "SPO+"
SPO_PLUS_SLOWER = "SPO+, learning rate 0.01"
IMLE_ADAPTIVE = "I-MLE, adaptive"
_ON_POOLS = (NCE, CMAP, PointwiseRanking, PairwiseRanking, ListwiseRanking)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of data of several seeds.

    Args:
        features: (seeds, rows, groups, features); a constant 1 is among them. Each group predicts its share
            of the costs by the same weights.
        costs: (seeds, rows, m), the true ones.
        decisions: (seeds, rows, m), optimal under them.
    """

    features: Tensor
    costs: Tensor
    decisions: Tensor

    def pick(self, chosen: Tensor) -> Rows:
        """Return the rows whose numbers are given, (seeds, picked)."""
        seeds = torch.arange(len(chosen))[:, None]
        return Rows(self.features[seeds, chosen], self.costs[seeds, chosen], self.decisions[seeds, chosen])

    def of_seed(self, number: int) -> Rows:
        """Return the rows of one seed, as a stack of one."""
        one = slice(number, number + 1)
        return Rows(self.features[one], self.costs[one], self.decisions[one])


@dataclass(frozen=True)
class Schedule:
    """How all methods are trained: nothing in it depends on the method or on the data.

    Args:
        epochs: over the training rows.
        batch: rows of one seed in a step.
        rate: of Adam.
    """

    epochs: int = 20
    batch: int = 32
    rate: float = 0.03


@dataclass(frozen=True)
class Method:
    """A loss of predicted costs, or a layer in front of the regret.

    Args:
        maker: how it is made from a solver.
        labels: what a loss learns from where it takes more than one kind.
        rate: of Adam, where it is not that of the schedule.
    """

    maker: Call
    labels: tuple[str, ...] = ("costs", "solutions")
    rate: float | None = None

    def rule(self, solver: Solver, decisions: Tensor, source: torch.Generator) -> Rule:
        """Return the sum over rows of the loss, as a function of predicted costs and the rows."""
        if issubclass(self.maker.maker, _ON_POOLS):
            pool = SolutionPool(solver, solutions=decisions.flatten(0, -2), generator=source)
            return self._loss(self.maker.make(pool), source)
        made = self.maker.make(solver)
        if isinstance(made, Layer):
            regret = RegretLoss(solver)
            return lambda predicted, rows: (
                regret(made(predicted, generator=source), rows.costs, rows.decisions).mean(0).sum()
            )
        return self._loss(made, source)

    def _loss(self, made: Any, source: torch.Generator) -> Rule:
        takes = inspect.signature(made.forward).parameters
        options = {"generator": source} if "generator" in takes else {}

        def rule(predicted: Tensor, rows: Rows) -> Tensor:
            known = {"costs": rows.costs, "solutions": rows.decisions}
            given = {label: known[label] for label in self.labels if label in takes}
            value: Tensor = made(predicted, **given, **options).sum()
            return value

        return rule


NOISE = Normal(0.3)
METHODS: dict[str, Method] = {
    SPO_PLUS: Method(call(SPOPlus)),
    SPO_PLUS_SLOWER: Method(call(SPOPlus), rate=0.01),
    IMLE_ADAPTIVE: Method(call(IMLE, noise=NOISE, target=call(Adaptive, density=4.0), num_samples=10)),
    "Fenchel-Young": Method(call(FenchelYoung, noise=Normal(1.0))),
    "Explicit MLE, costs": Method(call(ExplicitMLE, noise=NOISE), ("costs",)),
    "Explicit MLE, solutions": Method(call(ExplicitMLE, noise=NOISE), ("solutions",)),
    "Structured hinge": Method(call(StructuredHinge)),
    "Directional gradient": Method(call(DirectionalGradient)),
    "Identity": Method(call(Identity, projection="norm")),
    "Black-box": Method(call(BlackBox, strength=1.0)),
    "Straight-through": Method(call(StraightThrough)),
    "Perturbed": Method(call(Perturbed, noise=Normal(1.0), num_samples=10)),
    "NCE": Method(call(NCE)),
    "CMAP": Method(call(CMAP)),
    "Pointwise ranking": Method(call(PointwiseRanking)),
    "Pairwise ranking": Method(call(PairwiseRanking)),
    "Listwise ranking": Method(call(ListwiseRanking)),
    "SparseMAP": Method(call(SparseMAP)),
}


def predict(features: Tensor, weights: Tensor) -> Tensor:
    """Return predicted costs (seeds, rows, m) from weights (seeds, features, m / groups)."""
    return torch.einsum("srgp,spo->srgo", features, weights).flatten(-2)


def least_squares(rows: Rows) -> Tensor:
    """Return the weights of least squares, (seeds, features, m / groups), in closed form."""
    features = rows.features.flatten(1, 2)
    costs = rows.costs.reshape(*features.shape[:2], -1)
    weights: Tensor = torch.linalg.lstsq(features, costs).solution
    return weights


def train(method: Method, solver: Solver, rows: Rows, schedule: Schedule, seed: int) -> Tensor:
    """Return trained weights, (seeds, features, m / groups)."""
    if issubclass(method.maker.maker, _ON_POOLS) and len(rows.costs) > 1:
        parts = [train(method, solver, rows.of_seed(i), schedule, seed + i) for i in range(len(rows.costs))]
        return torch.cat(parts)
    source = torch.Generator().manual_seed(seed)
    rule = method.rule(solver, rows.decisions, source)
    _, _, groups, width = rows.features.shape
    shape = (len(rows.costs), width, rows.costs.shape[-1] // groups)
    bound = width**-0.5
    weights = torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=source)
    weights.requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=schedule.rate if method.rate is None else method.rate)
    for batch in batches(rows, schedule, source):
        optimizer.zero_grad()
        rule(predict(batch.features, weights), batch).backward()
        optimizer.step()
    return weights.detach()


def batches(rows: Rows, schedule: Schedule, source: torch.Generator) -> Iterator[Rows]:
    """Yield the batches of all epochs; each seed has an order of its own."""
    for _ in range(schedule.epochs):
        order = torch.rand(rows.costs.shape[:2], generator=source).argsort(1)
        for chosen in order.split(schedule.batch, 1):
            yield rows.pick(chosen)


def test_regrets(solver: Solver, rows: Rows, weights: Tensor) -> list[float]:
    """Return the normalised regret of each seed, a ratio of sums."""
    predicted, costs = predict(rows.features, weights).numpy(), rows.costs.numpy()
    return [float(normalized_regret(solver, mine, true)) for mine, true in zip(predicted, costs, strict=True)]


def weights_of(name: str, solver: Solver, rows: Rows, schedule: Schedule) -> Tensor:
    """Return the weights that a method, or least squares, ends with."""
    if name == LEAST_SQUARES:
        return least_squares(rows)
    return train(METHODS[name], solver, rows, schedule, seed=0)


def settings_of(name: str) -> str:
    """Return how a method is written."""
    if name == LEAST_SQUARES:
        return "closed form"
    method = METHODS[name]
    rate = "" if method.rate is None else f", learning rate {method.rate:g}"
    takes_both = method.labels == ("costs", "solutions")
    return f"{method.maker}{rate}" if takes_both else f"{method.maker}{rate}, {method.labels[0]}"


def standard_error(values: list[float]) -> float:
    """Return the standard error of the mean."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)
