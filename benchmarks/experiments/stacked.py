"""Linear predictors of costs, one per seed, trained side by side: the rows of all seeds are one batch.

Predictors do not see each other: the loss is a sum over rows and Adam works entry by entry. What a method
keeps of its own it keeps for all seeds (the alpha of `Adaptive`, which is a ratio without unit), but pools of
solutions are one per seed. Costs are divided by their mean over the training rows of the seed, so that one
temperature and one strength mean the same on every problem.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, final

import numpy as np
import torch
from experiment import Call, Record, call
from linear_programs import linear_program
from torch import Tensor

from imle_opt import (
    CMAP,
    IMLE,
    NCE,
    Adaptive,
    BlackBox,
    CaVE,
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
from imle_opt.data import knn_labels
from imle_opt.layers.layer import Layer
from imle_opt.regret import normalized_regret
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, Solution, Status

Rule: TypeAlias = Callable[[Tensor, "Rows"], Tensor]
LEAST_SQUARES = "Least squares"
SPO_PLUS = "SPO+"
SPO_PLUS_PUBLISHED = "SPO+, published rate 0.01"
SPO_PLUS_WARM = "SPO+, from least squares"
IMLE_ADAPTIVE = "I-MLE, adaptive"
IMLE_WARM = "I-MLE, adaptive, from least squares"
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
        """Return the rows of one seed, without the dimension of seeds."""
        return Rows(self.features[number], self.costs[number], self.decisions[number])


def rows_of(features: FloatArray, costs: FloatArray, decisions: FloatArray) -> Rows:
    """Return rows from features without the constant, (seeds, rows, groups, features)."""
    ones = np.ones((*features.shape[:-1], 1))
    return Rows(*map(torch.from_numpy, (np.concatenate([features, ones], -1), costs, decisions)))


@final
class OneOfSeveral(Solver):
    """Several solvers of one shape; `instances["problem"]` says which one solves a row.

    Args:
        solvers: one per seed.
    """

    def __init__(self, solvers: Sequence[Solver]) -> None:
        first = solvers[0]
        super().__init__(first.shape, first.sense, replace(first.traits, takes_instances=("problem",)))
        self.solvers = tuple(solvers)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the rows of each problem as one batch."""
        if instances is None:
            raise ValueError("`instances` must name the problem of each row.")
        decisions, objectives = np.empty_like(costs), np.empty(len(costs))
        for number, solver in enumerate(self.solvers):
            rows = np.flatnonzero(instances["problem"] == number)
            if len(rows):
                solved = solver.solve(costs[rows], deterministic=deterministic)
                decisions[rows], objectives[rows] = solved.decisions, solved.objectives
        proven = (Status.OPTIMAL,) * len(costs)  # each solver raises otherwise
        return Solution(decisions, objectives, proven, np.zeros(len(costs)), 0.0)


def instances_of(solver: Solver, seeds: int, rows: int) -> Instances | None:
    """Return which problem each row of each seed belongs to, for a solver that must know."""
    stacked = isinstance(solver, OneOfSeveral)
    return {"problem": np.arange(seeds)[:, None].repeat(rows, 1)} if stacked else None


def solver_of_seed(solver: Solver, number: int) -> Solver:
    """Return the solver of the rows of one seed."""
    return solver.solvers[number] if isinstance(solver, OneOfSeveral) else solver


@dataclass(frozen=True)
class Schedule:
    """How all methods are trained: nothing in it depends on the method or on the data.

    Args:
        epochs: over the training rows.
        batch: rows of one seed in a step.
    """

    epochs: int = 20
    batch: int = 32


@dataclass(frozen=True)
class Method:
    """A loss of predicted costs, or a layer in front of the regret.

    Args:
        maker: how it is made from a solver.
        labels: what a loss learns from where it takes more than one kind.
        rate: the learning rate, where it is given and not chosen on validation rows.
        robust: labels are blended with those of neighbouring rows, by `knn_labels`.
        warm: training starts from the weights of least squares on the same labels, not from random ones.
    """

    maker: Call
    labels: tuple[str, ...] = ("costs", "solutions")
    rate: float | None = None
    robust: bool = False
    warm: bool = False

    def rule(self, solver: Solver, decisions: Tensor, source: torch.Generator) -> Rule:
        """Return the sum over rows of the loss, as a function of predicted costs and the rows.

        Args:
            solver: of all seeds.
            decisions: of all training rows, (seeds, rows, m), that pools begin with.
            source: of all randomness.
        """
        if issubclass(self.maker.maker, _ON_POOLS):
            pools = [
                SolutionPool(solver_of_seed(solver, seed), solutions=rows, generator=source)
                for seed, rows in enumerate(decisions)
            ]
            return self._by_seed(pools, source)
        if issubclass(self.maker.maker, CaVE):
            programs = [linear_program(solver_of_seed(solver, seed)) for seed in range(len(decisions))]
            return self._by_seed(programs, source)

        def options(rows: Rows) -> dict[str, Any]:
            instances = instances_of(solver, *rows.costs.shape[:2])
            return {} if instances is None else {"instances": instances}

        made = self.maker.make(solver)
        if isinstance(made, Layer):
            regret = RegretLoss(solver)
            return lambda predicted, rows: (
                regret(made(predicted, generator=source, **options(rows)), rows.costs, rows.decisions)
                .mean(0)
                .sum()
            )
        return self._loss(made, options, source)

    def _by_seed(self, solvers: Sequence[Any], source: torch.Generator) -> Rule:
        """Return the loss with a pool or linear program for the rows of each seed."""
        losses = [self._loss(self.maker.make(solver), lambda _: {}, source) for solver in solvers]

        def rule(predicted: Tensor, rows: Rows) -> Tensor:
            parts = (loss(predicted[seed], rows.of_seed(seed)) for seed, loss in enumerate(losses))
            return torch.stack(tuple(parts)).sum()

        return rule

    def _loss(self, made: Any, options: Callable[[Rows], dict[str, Any]], source: torch.Generator) -> Rule:
        takes = inspect.signature(made.forward).parameters
        noise = {"generator": source} if "generator" in takes else {}

        def rule(predicted: Tensor, rows: Rows) -> Tensor:
            known = {"costs": rows.costs, "solutions": rows.decisions}
            given = {label: known[label] for label in self.labels if label in takes}
            value: Tensor = made(predicted, **given, **options(rows), **noise).sum()
            return value

        return rule


NOISE = Normal(0.3)
_IMLE = call(IMLE, noise=NOISE, target=call(Adaptive, density=4.0, step=0.01, start=1.0), num_samples=10)
METHODS: dict[str, Method] = {
    SPO_PLUS: Method(call(SPOPlus)),
    SPO_PLUS_PUBLISHED: Method(call(SPOPlus), rate=0.01),
    "SPO+, robust labels": Method(call(SPOPlus), robust=True),
    SPO_PLUS_WARM: Method(call(SPOPlus), warm=True),
    IMLE_ADAPTIVE: Method(_IMLE),
    IMLE_WARM: Method(_IMLE, warm=True),
    "Fenchel-Young": Method(call(FenchelYoung, noise=Normal(1.0))),
    "Explicit MLE, costs": Method(call(ExplicitMLE, noise=NOISE), ("costs",)),
    "Explicit MLE, solutions": Method(call(ExplicitMLE, noise=NOISE), ("solutions",)),
    "CaVE": Method(call(CaVE), ("solutions",)),
    "Structured hinge": Method(call(StructuredHinge)),
    "Directional gradient": Method(call(DirectionalGradient)),
    "Directional gradient, from least squares": Method(call(DirectionalGradient), warm=True),
    "Identity": Method(call(Identity, projection="norm")),
    "Black-box": Method(call(BlackBox, strength=1.0)),
    "Straight-through": Method(call(StraightThrough)),
    "Perturbed": Method(call(Perturbed, noise=Normal(1.0), num_samples=10)),
    "NCE": Method(call(NCE)),
    "CMAP": Method(call(CMAP)),
    "Pointwise ranking": Method(call(PointwiseRanking)),
    "Pairwise ranking": Method(call(PairwiseRanking)),
    "Listwise ranking": Method(call(ListwiseRanking)),
    "SparseMAP": Method(call(SparseMAP, temperature=0.3)),
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


ROBUST: dict[str, Any] = {"k": 10, "weight": 0.5}
"""Options of `knn_labels`."""


def robust(solver: Solver, rows: Rows) -> Rows:
    """Return the rows with robust labels, from the nearest rows of the same seed."""
    labels = [
        knn_labels(features.flatten(1).numpy(), costs.numpy(), solver_of_seed(solver, seed), **ROBUST)
        for seed, (features, costs) in enumerate(zip(rows.features, rows.costs, strict=True))
    ]
    costs, decisions = (np.stack([getattr(made, name) for made in labels]) for name in ("costs", "solutions"))
    return Rows(rows.features, torch.from_numpy(costs), torch.from_numpy(decisions))


def train(method: Method, solver: Solver, rows: Rows, schedule: Schedule, rate: float) -> Tensor:
    """Return trained weights, (seeds, features, m / groups), after Adam with a learning rate."""
    source = torch.Generator().manual_seed(0)
    rows = robust(solver, rows) if method.robust else rows
    rule = method.rule(solver, rows.decisions, source)
    weights = (least_squares(rows) if method.warm else random_weights(rows, source)).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=rate)
    for batch in batches(rows, schedule, source):
        optimizer.zero_grad()
        rule(predict(batch.features, weights), batch).backward()
        optimizer.step()
    return weights.detach()


def random_weights(rows: Rows, source: torch.Generator) -> Tensor:
    """Return uniform weights, (seeds, features, m / groups), as `torch.nn.Linear` draws them."""
    _, _, groups, width = rows.features.shape
    shape = (len(rows.costs), width, rows.costs.shape[-1] // groups)
    bound = width**-0.5
    return torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=source)


def batches(rows: Rows, schedule: Schedule, source: torch.Generator) -> Iterator[Rows]:
    """Yield the batches of all epochs; each seed has an order of its own."""
    for _ in range(schedule.epochs):
        order = torch.rand(rows.costs.shape[:2], generator=source).argsort(1)
        for chosen in order.split(schedule.batch, 1):
            yield rows.pick(chosen)


def regrets_of(solver: Solver, rows: Rows, weights: Tensor) -> list[float]:
    """Return the normalised regret of each seed, a ratio of sums."""
    predicted, costs = predict(rows.features, weights).numpy(), rows.costs.numpy()
    return [
        float(normalized_regret(solver_of_seed(solver, number), mine, true))
        for number, (mine, true) in enumerate(zip(predicted, costs, strict=True))
    ]


def weights_of(name: str, solver: Solver, rows: Rows, schedule: Schedule, rate: float | None) -> Tensor:
    """Return the weights that a method ends with; least squares has no learning rate."""
    return least_squares(rows) if rate is None else train(METHODS[name], solver, rows, schedule, rate)


def settings_of(name: str) -> str:
    """Return how a method is written."""
    if name == LEAST_SQUARES:
        return "closed form"
    method = METHODS[name]
    takes_both = method.labels == ("costs", "solutions")
    shown = f"{method.maker}" if takes_both else f"{method.maker}, {method.labels[0]}"
    options = ", ".join(f"{name}={value}" for name, value in ROBUST.items())
    shown += f", knn_labels({options})" if method.robust else ""
    return f"{shown}, from least squares" if method.warm else shown


RATES, QUICK_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), (0.01, 0.03)
"""Learning rates, of which every method gets the one with the least mean regret on validation rows."""


def names_of(found: Sequence[Record]) -> list[str]:
    """Return the methods of some runs, in the order in which they are listed."""
    run = {one["key"]["method"] for one in found}
    return [name for name in (LEAST_SQUARES, *METHODS) if name in run]


def rates_of(name: str, quick: bool) -> tuple[float | None, ...]:
    """Return the learning rates to try; one where there is nothing to choose."""
    if name == LEAST_SQUARES:
        return (None,)
    given = METHODS[name].rate
    return (QUICK_RATES if quick else RATES) if given is None else (given,)


def best(runs: Sequence[Record]) -> Record:
    """Return the run with the least mean of the validation regrets; of equal ones the slowest."""
    return min(runs, key=lambda run: (np.mean(run["validation"]), run["key"]["rate"]))


def cell_text(regrets: Sequence[float] | None) -> str:
    """Return mean and standard deviation of regrets in percent, or that there are none."""
    return f"{np.mean(regrets):.2f} ± {np.std(regrets, ddof=1):.2f}" if regrets else "not run"


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def ratio_text(value: float, error: float) -> str:
    """Return a ratio with its standard error."""
    return f"{value:.3f} ± {error:.3f}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the ratio of the means of paired values, and its standard error to first order."""
    value = float(np.mean(ours) / np.mean(theirs))
    rest = np.asarray(ours) - value * np.asarray(theirs)
    return value, standard_error(rest.tolist()) / float(np.mean(theirs))


MARKERS, COLOURS = "osDv^", ("C1", "C2", "C4", "C5", "C6", "C7", "C8", "C9")


def style_of(name: str, place: int) -> dict[str, Any]:
    """Return how a method is drawn: those that the experiment is about stand out."""
    colours = {
        LEAST_SQUARES: "black",
        SPO_PLUS: "C0",
        SPO_PLUS_WARM: "C0",
        IMLE_ADAPTIVE: "C3",
        IMLE_WARM: "C3",
    }
    strong = name in colours
    return {
        "linestyle": "--" if name in METHODS and METHODS[name].warm else "-",
        "color": colours.get(name, COLOURS[place % len(COLOURS)]),
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4 if strong else 3,
        "linewidth": 2.2 if strong else 0.8,
        "alpha": 1.0 if strong else 0.8,
        "zorder": 3 if strong else 2,
    }


def plain_numbers(axes: Any) -> None:
    """Write the numbers of a logarithmic axis of regrets as such."""
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if y in (0.2, 0.5, 2, 5, 20, 30, 50) else "")
