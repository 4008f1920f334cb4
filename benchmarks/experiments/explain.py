"""Learning to explain: which of ten features decide the label, row by row, on the four sets of the L2X paper.

    minimise E of the log loss of predictor(x * z), z a k-subset of the ten features at logits selector(x)

A feature's rank is its place by the selector's logits, 1 for the largest; reported is the median rank of the
features that the label depends on, on average over 1,000 test rows: at best (k + 1) / 2, at random 5.5. All
runs, each with data and weights of its own, are trained at once.

The paper trains on a million rows, with a selector of 2 x 100 and a predictor of 2 x 200 units and batch
normalisation; here it is 50,000 rows and 2 x 64 units for both, and 1,000 steps, so that it takes minutes on
one core that others use too. The temperatures and lambda are not tuned.

`python benchmarks/experiments/explain.py --page docs/experiments` takes some minutes.

Source: Chen, Song, Wainwright and Jordan, ICML 2018, arXiv 1802.07814, Section 4.1.
"""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import torch
from experiment import Call, Record, Runs, call, parser, provenance, runs_of, table, write_page
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from imle_opt import (
    IMLE,
    L2X,
    PID,
    Adaptive,
    Gumbel,
    KSubset,
    SoftSub,
    StraightThrough,
    SumOfGamma,
    expectation,
    pathwise,
)
from imle_opt.data import explain_data
from imle_opt.data.explain import ExplainProblem

NAME = "explain"
FEATURES = 10
UNITS = 64
RUNS = 3
ROWS = 50_000
TEST_ROWS = 1000
BATCH = 128
STEPS = 1000
RATE = 2e-3
PROBLEMS: dict[ExplainProblem, int] = dict(zip(get_args(ExplainProblem), (2, 4, 4, 5), strict=True))
METHODS: dict[str, Call] = {
    "I-MLE": call(IMLE, noise=SumOfGamma(kappa=4), target=PID(10.0)),
    "AIMLE": call(IMLE, noise=SumOfGamma(kappa=4), target=call(Adaptive), difference="central"),
    "SoftSub": call(SoftSub, temperature=0.5),
    "L2X": call(L2X, temperature=0.5),
    "Straight-through": call(StraightThrough, noise=Gumbel(1.0)),
}


class Networks(nn.Module):
    """A network with two hidden layers per run: (..., runs, rows, inputs) to (..., runs, rows, outputs)."""

    def __init__(self, sizes: tuple[int, ...], source: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            for into, shape in ((self.weights, (RUNS, inputs, outputs)), (self.biases, (RUNS, 1, outputs))):
                drawn = 2 * torch.rand(*shape, generator=source) - 1
                into.append(nn.Parameter(drawn / inputs**0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Return what each run's network makes of its rows."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = (x.relu() if i else x) @ weight + bias
        return x


def data(problem: ExplainProblem, rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return features (runs, rows, 10), labels (runs, rows) and relevant features (runs, rows, 10)."""
    tables = [explain_data(rows, problem, seed=seed + run) for run in range(RUNS)]
    features = torch.from_numpy(np.stack([made.features for made in tables])).float()
    labels = torch.from_numpy(np.stack([made.labels for made in tables])).float()
    return features, labels, torch.from_numpy(np.stack([made.relevant for made in tables]))


def log_loss(predictor: Networks, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Return the log loss of each row, (..., runs, rows), from the features that z selects."""
    logits = predictor(x * z)[..., 0]
    return binary_cross_entropy_with_logits(logits, y.expand_as(logits), reduction="none")


def median_ranks(scores: Tensor, relevant: Tensor) -> Tensor:
    """Return the mean over rows of the median rank of the relevant features, (runs,)."""
    ranks = 1.0 + (-scores).argsort(-1).argsort(-1)
    ours = torch.where(relevant, ranks, torch.nan)
    return ours.nanquantile(0.5, dim=-1).mean(-1)


def run(problem: ExplainProblem, method: str, steps: int, rows: int) -> Record:
    """Train all runs of a method on a problem."""
    source = torch.Generator().manual_seed(0)
    x, y, _ = data(problem, rows, seed=0)
    selector = Networks((FEATURES, UNITS, UNITS, FEATURES), source)
    predictor = Networks((FEATURES, UNITS, UNITS, 1), source)
    family = KSubset(PROBLEMS[problem])
    estimator = pathwise(METHODS[method].make(family))
    adam = torch.optim.Adam([*selector.parameters(), *predictor.parameters()], lr=RATE)
    which = torch.arange(RUNS)[:, None]
    for _ in range(steps):
        drawn = torch.randint(rows, (RUNS, BATCH), generator=source)
        inputs, labels = x[which, drawn], y[which, drawn]
        adam.zero_grad()
        losses = expectation(
            lambda z, inputs=inputs, labels=labels: log_loss(predictor, inputs, labels, z),
            selector(inputs),
            family,
            estimator,
            generator=source,
        )
        losses.mean(1).sum().backward()
        adam.step()
    x, y, relevant = data(problem, TEST_ROWS, seed=1000)
    with torch.no_grad():
        scores = selector(x)
        losses = log_loss(predictor, x, y, family.map(scores))
    return {
        "ranks": [round(rank, 4) for rank in median_ranks(scores, relevant).tolist()],
        "losses": [round(loss, 4) for loss in losses.mean(1).tolist()],
    }


def run_all(runs: Runs, only: str, quick: bool) -> None:
    steps, rows = (3, 300) if quick else (STEPS, ROWS)
    for problem in PROBLEMS:
        for method in (method for method in METHODS if only in method):
            settings = {
                "settings": str(METHODS[method]),
                "steps": steps,
                "rows": rows,
                "runs": RUNS,
                "seed": 0,
            }
            key = {"problem": problem, "method": method, **settings}
            runs.complete(key, lambda problem=problem, method=method: run(problem, method, steps, rows))


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    cells = {(record["key"]["method"], record["key"]["problem"]): record for record in found}
    methods = list(dict.fromkeys(record["key"]["method"] for record in found))
    options = {record["key"]["method"]: record["key"]["settings"] for record in found}

    def rows(what: str, digits: int) -> list[list[str]]:
        return [
            [method, *(_mean_sd(cells[method, problem][what], digits) for problem in PROBLEMS)]
            for method in methods
        ]

    header = ["", *PROBLEMS]
    best = ["at best", *(f"{(k + 1) / 2:g}" for k in PROBLEMS.values())]
    known = ["of the true probabilities", *(f"{known_loss(problem):.3f}" for problem in PROBLEMS)]
    key = found[0]["key"]
    return (
        f"Median rank of the relevant features:\n\n{table(header, [*rows('ranks', 2), best])}\n"
        f"Log loss on the test rows, of the prediction from the k features of the largest logits:\n\n"
        f"{table(header, [*rows('losses', 3), known])}\n"
        f"Means and standard deviations of {key['runs']} runs, seed {key['seed']}; {key['rows']:,} rows, "
        f"{key['steps']:,} steps of Adam at {RATE:g} on batches of {BATCH}. "
        + "; ".join(f"{method}: `{options[method]}`" for method in methods)
        + f". AIMLE's alpha is shared by the runs of a problem. {provenance(found)}\n"
    )


def known_loss(problem: ExplainProblem) -> float:
    """Return the log loss of the probabilities that the test labels were drawn with: no method has less."""
    tables = [explain_data(TEST_ROWS, problem, seed=1000 + run) for run in range(RUNS)]
    chances = np.concatenate(
        [np.where(made.labels, made.probabilities, 1 - made.probabilities) for made in tables]
    )
    return float(-np.log(np.maximum(chances, 1e-300)).mean())


def _mean_sd(values: list[float], digits: int) -> str:
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def draw(figure: Any, found: list[Record]) -> None:
    for axes, (problem, k) in zip(
        figure.subplots(1, len(PROBLEMS), sharey=True), PROBLEMS.items(), strict=True
    ):
        shown = [record for record in found if record["key"]["problem"] == problem]
        for place, record in enumerate(shown):
            axes.plot([place] * len(record["ranks"]), record["ranks"], "o", markersize=4, alpha=0.6)
        axes.axhline((k + 1) / 2, color="grey", linewidth=0.5)
        axes.axhline((FEATURES + 1) / 2, color="grey", linewidth=0.5, linestyle=":")
        names = [record["key"]["method"] for record in shown]
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
        axes.set_title(problem)
    figure.axes[0].set_ylabel("median rank, each run")


def main() -> None:
    arguments = parser(__doc__ or "", NAME).parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, NAME)
    if not arguments.draw:
        run_all(runs, arguments.only, arguments.quick)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, NAME, text(found), lambda figure: draw(figure, found), (9, 3.6))


if __name__ == "__main__":
    main()
