"""Learning to explain: which of ten features decide the label, row by row, on the four sets of the L2X paper.

    minimise E of the log loss of predictor(x * z), z a k-subset of the ten features at logits selector(x)

A feature's rank is its place by the selector's logits, 1 for the largest; reported is the median rank of the
features that the label depends on, on average over 1,000 test rows: at best (k + 1) / 2, at random 5.5.

As in the paper, the selector has 2 x 100 units and the predictor 2 x 200, and each of a million training rows
is seen once, in batches of 1,000; unlike there, there is no batch normalisation. Each method takes the best
of the same number of settings on each problem: a temperature, lambda, or density and scale, and a learning
rate, by the log loss on validation rows of two runs of other seeds. The ranks play no part in it: with real
data nobody knows them.

All runs of a setting, each with data and weights of its own, are trained at once. `python
benchmarks/experiments/explain.py --page docs/experiments` takes an hour and a half on one core.

Source: Chen, Song, Wainwright and Jordan, ICML 2018, arXiv 1802.07814, Section 4.1.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, get_args

import numpy as np
import torch
from experiment import Call, Record, Runs, call, parser, provenance, runs_of, table, write_page
from networks import Networks
from torch import Tensor
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
SELECTOR, PREDICTOR = 100, 200
TEST_ROWS = 1000
RATES = (5e-4, 2e-3)
PROBLEMS: dict[ExplainProblem, int] = dict(zip(get_args(ExplainProblem), (2, 4, 4, 5), strict=True))


@dataclass(frozen=True)
class Size:
    """How much is trained at once.

    Args:
        seed: of weights and noise, and of the first run's data; the next runs' seeds follow.
        runs: each with data and weights of its own.
        steps: of Adam.
        batch: rows of a step and run, none of which comes twice.
    """

    seed: int
    runs: int
    steps: int
    batch: int = 1000


SELECTION = Size(seed=100, runs=2, steps=1000)
FINAL = Size(seed=0, runs=5, steps=1000)


def _imle(difference: str) -> Callable[[int], dict[str, Call]]:
    return lambda k: {
        f"λ = {strength:g}": call(IMLE, noise=_noise(k), target=PID(strength), difference=difference)
        for strength in (1.0, 10.0, 100.0)
    }


def _aimle(k: int) -> dict[str, Call]:
    return {
        f"density {density:g}, scale {scale}": call(
            IMLE, noise=_noise(k), target=call(Adaptive, density=density), difference="central", scale=scale
        )
        for density, scale in ((1.0, "1"), (2.0, "1"), (1.0, "1/strength"))
    }


def _noise(k: int) -> Call:
    """Return the noise of I-MLE; the paper's temperatures are k, 2 k and 3 k."""
    return call(SumOfGamma, kappa=k, temperature=float(k))


def _tempered(make: Callable[[float], Call], *temperatures: float) -> Callable[[int], dict[str, Call]]:
    return lambda k: {f"temperature {t:g}": make(t) for t in temperatures}


METHODS: dict[str, Callable[[int], dict[str, Call]]] = {
    "I-MLE": _imle("forward"),
    "I-MLE, central": _imle("central"),
    "AIMLE": _aimle,
    "SoftSub": _tempered(lambda t: call(SoftSub, temperature=t), 0.1, 0.5, 1.0),
    "L2X": _tempered(lambda t: call(L2X, temperature=t), 0.1, 0.5, 1.0),
    "Straight-through": _tempered(lambda t: call(StraightThrough, noise=Gumbel(t)), 0.3, 1.0, 3.0),
}
"""Method and k to what is selected from, by name, each at every learning rate."""


def data(problem: ExplainProblem, rows: int, runs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return features (runs, rows, 10), labels (runs, rows) and relevant features (runs, rows, 10)."""
    features, labels, relevant = [], [], []
    for run in range(runs):
        made = explain_data(rows, problem, seed=seed + run)
        features.append(torch.from_numpy(made.features).float())
        labels.append(torch.from_numpy(made.labels).float())
        relevant.append(torch.from_numpy(made.relevant))
    return torch.stack(features), torch.stack(labels), torch.stack(relevant)


def log_loss(predictor: Networks, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Return the log loss of each row, (..., runs, rows), from the features that z selects."""
    logits = predictor(x * z)[..., 0]
    return binary_cross_entropy_with_logits(logits, y.expand_as(logits), reduction="none")


def median_ranks(scores: Tensor, relevant: Tensor) -> Tensor:
    """Return the mean over rows of the median rank of the relevant features, (runs,)."""
    ranks = 1.0 + (-scores).argsort(-1).argsort(-1)
    ours = torch.where(relevant, ranks, torch.nan)
    return ours.nanquantile(0.5, dim=-1).mean(-1)


def train(problem: ExplainProblem, setting: Call, rate: float, size: Size) -> Record:
    """Train all runs of a setting on a problem; return ranks and log losses on rows of other seeds."""
    source = torch.Generator().manual_seed(size.seed)
    x, y, _ = data(problem, size.steps * size.batch, size.runs, size.seed)
    selector = Networks((FEATURES, SELECTOR, SELECTOR, FEATURES), size.runs, source)
    predictor = Networks((FEATURES, PREDICTOR, PREDICTOR, 1), size.runs, source)
    family = KSubset(PROBLEMS[problem])
    estimator = pathwise(setting.make(family))
    adam = torch.optim.Adam([*selector.parameters(), *predictor.parameters()], lr=rate)
    for inputs, labels in zip(x.split(size.batch, 1), y.split(size.batch, 1), strict=True):
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
    x, y, relevant = data(problem, TEST_ROWS, size.runs, size.seed + 1000)
    with torch.no_grad():
        scores = selector(x)
        losses = log_loss(predictor, x, y, family.map(scores))
    return {
        "ranks": [round(rank, 4) for rank in median_ranks(scores, relevant).tolist()],
        "losses": [round(loss, 4) for loss in losses.mean(1).tolist()],
    }


def run_all(runs: Runs, only: str, quick: bool) -> None:
    select, final = SELECTION, FINAL
    if quick:
        select, final = (Size(size.seed, size.runs, steps=3, batch=100) for size in (select, final))
    for problem, method in product(PROBLEMS, (method for method in METHODS if only in method)):
        choose_and_run(runs, problem, method, select, final)


def choose_and_run(runs: Runs, problem: ExplainProblem, method: str, select: Size, final: Size) -> None:
    """Try all settings of a method on a problem, then run the best of them."""
    settings = METHODS[method](PROBLEMS[problem])

    def complete(choice: str, rate: float, size: Size) -> Record:
        setting = settings[choice]
        key = {"problem": problem, "method": method, "choice": choice, "setting": str(setting), "rate": rate}
        return runs.complete({**key, **asdict(size)}, lambda: train(problem, setting, rate, size))

    tried = {pair: statistics.mean(complete(*pair, select)["losses"]) for pair in product(settings, RATES)}
    complete(*min(tried, key=tried.__getitem__), final)


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    finals = [run for run in found if _is_final(run)]
    cells = {(run["key"]["method"], run["key"]["problem"]): run for run in finals}
    methods = list(dict.fromkeys(run["key"]["method"] for run in finals))

    def rows(cell: Callable[[Record], str]) -> list[list[str]]:
        return [[method, *(cell(cells[method, problem]) for problem in PROBLEMS)] for method in methods]

    def tried(run: Record) -> list[Record]:
        same = [trial for trial in found if not _is_final(trial) and _is_of(trial, run)]
        return sorted(same, key=lambda trial: statistics.mean(trial["losses"]))

    header = ["", *PROBLEMS]
    best = ["at best", *(f"{(k + 1) / 2:g}" for k in PROBLEMS.values())]
    size, short = finals[0]["key"], tried(finals[0])[0]["key"]
    known = ["of the true probabilities", *(f"{known_loss(problem, size):.3f}" for problem in PROBLEMS)]
    chosen = rows(lambda run: f"{run['key']['choice']}, rate {run['key']['rate']:g}")
    ranks = rows(lambda run: " ".join(f"{statistics.mean(trial['ranks']):.1f}" for trial in tried(run)))
    return (
        f"Median rank of the relevant features:\n\n"
        f"{table(header, [*rows(lambda run: _mean_sd(run['ranks'], 2)), best])}\n"
        f"Log loss on the test rows, of the prediction from the k features of the largest logits:\n\n"
        f"{table(header, [*rows(lambda run: _mean_sd(run['losses'], 3)), known])}\n"
        f"Means and standard deviations of {size['runs']} runs, seed {size['seed']}; {size['steps']:,} steps "
        f"of Adam on batches of {size['batch']:,}, {size['steps'] * size['batch']:,} rows. AIMLE's alpha is "
        f"shared by the runs of a problem. The settings, each the best of {len(tried(finals[0]))} by the "
        f"mean log loss of {short['runs']} runs, seed {short['seed']}, on their validation rows:\n\n"
        f"{table(header, chosen)}\n"
        "Median ranks with all settings, means of these runs, in the order of the loss, least first:\n\n"
        f"{table(header, ranks)}\n"
        f"{provenance(found)}\n"
    )


def _is_final(run: Record) -> bool:
    return bool(run["key"]["seed"] == FINAL.seed)


def _is_of(trial: Record, run: Record) -> bool:
    return all(trial["key"][name] == run["key"][name] for name in ("problem", "method"))


def known_loss(problem: ExplainProblem, size: Record) -> float:
    """Return the log loss of the probabilities that the test labels were drawn with: no method has less."""
    seeds = range(size["seed"] + 1000, size["seed"] + 1000 + size["runs"])
    tables = [explain_data(TEST_ROWS, problem, seed=seed) for seed in seeds]
    chances = np.concatenate(
        [np.where(made.labels, made.probabilities, 1 - made.probabilities) for made in tables]
    )
    return float(-np.log(np.maximum(chances, 1e-300)).mean())


def _mean_sd(values: list[float], digits: int) -> str:
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def draw(figure: Any, found: list[Record]) -> None:
    finals = [run for run in found if _is_final(run)]
    for axes, (problem, k) in zip(
        figure.subplots(1, len(PROBLEMS), sharey=True), PROBLEMS.items(), strict=True
    ):
        shown = [run for run in finals if run["key"]["problem"] == problem]
        for place, run in enumerate(shown):
            side_by_side = [place + 0.1 * (i - (len(run["ranks"]) - 1) / 2) for i in range(len(run["ranks"]))]
            axes.plot(side_by_side, run["ranks"], "o", markersize=4, alpha=0.6)
        axes.axhline((k + 1) / 2, color="grey", linewidth=0.5)
        axes.axhline((FEATURES + 1) / 2, color="grey", linewidth=0.5, linestyle=":")
        names = [run["key"]["method"] for run in shown]
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
