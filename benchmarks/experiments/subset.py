"""The synthetic experiment of the I-MLE paper: learn which 5 of 10 entries to choose, from a loss of samples.

    minimise E ||z - b||^2 over theta,   z a 5-subset of 10 with probability in proportion to exp <z, theta>

    theta_0 = randn(10), b = |randn(10)| of numpy's RandomState(0);   SGD with momentum 0.9, 50 steps

The gap is that of the exact expectation (all 252 subsets) to the best subset: 4.114 at the start. All runs
of a method are the rows of one batch. I-MLE and the straight-through estimator have the settings of the
paper; the learning rate of every other method is the best of a grid on runs of another seed.

`python benchmarks/experiments/subset.py --page docs/experiments` takes a minute.

Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Section 6.1, Figures 3 and 6.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from experiment import Call, Record, Runs, call, parser, provenance, runs_of, table, write_page
from torch import Tensor

from imle_opt import (
    IMLE,
    L2X,
    PID,
    Adaptive,
    BinaryEntropy,
    BlackBox,
    Enumerate,
    Eq14,
    Gumbel,
    Identity,
    KSubset,
    Normal,
    Perturbed,
    RegularizedFrankWolfe,
    Reinforce,
    SoftSub,
    SparseMAP,
    StochasticSoftmaxTrick,
    StraightThrough,
    SumOfGamma,
    expectation,
)
from imle_opt.layers.layer import Layer

NAME = "subset"
K = 5
STEPS = 50
RATES = tuple(10 ** (power / 4) for power in range(-12, 6))
"""Learning rates that are tried, 0.001 to 18, four per decade."""

_random = np.random.RandomState(0)
START = torch.from_numpy(_random.randn(10))
B = torch.from_numpy(np.abs(_random.randn(10)))
SUBSETS = torch.tensor([[float(i in chosen) for i in range(10)] for chosen in combinations(range(10), K)])
SUBSETS = SUBSETS.double()
VALUES = (SUBSETS - B).square().sum(-1)

SOG = SumOfGamma(kappa=5, temperature=1.0, terms=10)
METHODS: dict[str, tuple[Call, float | None]] = {
    "I-MLE, settings of the paper": (call(IMLE, noise=SOG, target=PID(2.0), scale="1"), 0.75),
    "Straight-through, settings of the paper": (call(StraightThrough, noise=Gumbel(1.0)), 0.019),
    "I-MLE": (call(IMLE, noise=SOG, target=PID(2.0), scale="1"), None),
    "I-MLE, Gumbel": (call(IMLE, noise=Gumbel(1.0), target=PID(2.0), scale="1"), None),
    "I-MLE, central": (call(IMLE, noise=SOG, target=PID(2.0), difference="central"), None),
    "I-MLE, Eq. 14": (call(IMLE, noise=SOG, target=Eq14()), None),
    "AIMLE": (call(IMLE, noise=SOG, target=call(Adaptive)), None),
    "AIMLE, central": (call(IMLE, noise=SOG, target=call(Adaptive), difference="central"), None),
    "AIMLE, larger steps": (call(IMLE, noise=SOG, target=call(Adaptive, step=0.1)), None),
    "AIMLE, start at 1": (call(IMLE, noise=SOG, target=call(Adaptive, start=1.0)), None),
    "AIMLE, central, start at 1": (
        call(IMLE, noise=SOG, target=call(Adaptive, start=1.0), difference="central"),
        None,
    ),
    "Straight-through": (call(StraightThrough, noise=Gumbel(1.0)), None),
    "Straight-through, exact samples, mean": (call(StraightThrough, exact=True, through="mean"), None),
    "Identity": (call(Identity, projection="standard", noise=Gumbel(1.0)), None),
    "Black-box": (call(BlackBox, strength=2.0), None),
    "Perturbed, 10 samples": (call(Perturbed, noise=Normal(1.0), num_samples=10), None),
    "SoftSub": (call(SoftSub, temperature=1.0), None),
    "SoftSub, hard": (call(SoftSub, temperature=1.0, hard=True), None),
    "L2X": (call(L2X, temperature=0.5), None),
    "Stochastic softmax trick": (call(StochasticSoftmaxTrick, temperature=1.0), None),
    "Stochastic softmax trick, hard": (call(StochasticSoftmaxTrick, temperature=1.0, hard=True), None),
    "SparseMAP": (call(SparseMAP, temperature=1.0), None),
    "Score function, 1 sample": (call(Reinforce, num_samples=1, baseline="none"), None),
    "Score function, leave-one-out of 4": (call(Reinforce, num_samples=4), None),
    "Exact gradient": (call(Enumerate), None),
    # Too slow for a grid.
    "Regularised Frank-Wolfe": (
        call(RegularizedFrankWolfe, regularizer=BinaryEntropy(1.0), tolerance=1e-3),
        0.1,
    ),
}
WITHOUT_NOISE = ("Black-box", "SparseMAP", "Regularised Frank-Wolfe", "Exact gradient")
"""Methods that always do the same: one run says all."""
REFERENCE = {
    "I-MLE, settings of the paper": (0.12, 0.25),
    "Straight-through, settings of the paper": (0.70, 0.80),
}
SWEEP_RATES = tuple(np.linspace(0.5, 1, 5).tolist())
SWEEP_STRENGTHS = tuple(np.linspace(0.5, 3, 6).tolist())


def loss(z: Tensor) -> Tensor:
    """Return `||z - b||^2`."""
    return (z - B).square().sum(-1)


def gap(theta: Tensor) -> Tensor:
    """Return by how much the expected loss exceeds the least one, exactly."""
    return (theta @ SUBSETS.T).softmax(-1) @ VALUES - VALUES.min()


def descend(method: Call, rate: float, *, runs: int, steps: int, seed: int) -> Tensor:
    """Return the gaps after 0, 1, ... steps, (steps + 1, runs)."""
    family = KSubset(K)
    source = torch.Generator().manual_seed(seed)
    theta = START.repeat(runs, 1).requires_grad_()
    optimizer = torch.optim.SGD([theta], lr=rate, momentum=0.9)
    made = method.make(family) if issubclass(method.maker, Layer) else method.make()
    gaps = [gap(theta.detach())]
    for _ in range(steps):
        optimizer.zero_grad()
        objective(made, theta, family, source).sum().backward()
        optimizer.step()
        gaps.append(gap(theta.detach()))
    return torch.stack(gaps)


def objective(made: Any, theta: Tensor, family: KSubset, source: torch.Generator) -> Tensor:
    if isinstance(made, Layer):
        return loss(made(theta, generator=source)).mean(0)
    return expectation(loss, theta, family, made, generator=source)


def run(name: str, steps: int, runs: int, rates: tuple[float, ...]) -> Record:
    """Choose the learning rate on seed 1 where it is not given, and run with seed 0."""
    method, rate = METHODS[name]
    runs = 1 if name in WITHOUT_NOISE else runs
    if rate is None:
        rate = min(rates, key=lambda rate: last(descend(method, rate, runs=runs, steps=steps, seed=1)))
    gaps = descend(method, rate, runs=runs, steps=steps, seed=0)
    return {
        "settings": str(method),
        "rate": rate,
        "runs": runs,
        "mean": last(gaps),
        "sd": gaps[-1].std(correction=0).item(),
        "curve": [round(value, 5) for value in gaps.mean(1).tolist()],
    }


def last(gaps: Tensor) -> float:
    """Return the mean of the last gaps; infinity where a run diverged."""
    return gaps[-1].nan_to_num(nan=torch.inf).mean().item()


def sweep(noise: SumOfGamma | Gumbel, steps: int, runs: int) -> Record:
    """Return means and standard deviations of the last gaps, learning rates by lambdas (Figure 6)."""
    cells = [
        [
            descend(
                call(IMLE, noise=noise, target=PID(strength), scale="1"), rate, runs=runs, steps=steps, seed=0
            )[-1]
            for strength in SWEEP_STRENGTHS
        ]
        for rate in SWEEP_RATES
    ]
    return {
        "means": [[cell.mean().item() for cell in row] for row in cells],
        "sds": [[cell.std(correction=0).item() for cell in row] for row in cells],
    }


def run_all(runs: Runs, only: str, quick: bool) -> None:
    steps, number, rates = (3, 4, (0.01, 0.1)) if quick else (STEPS, 100, RATES)
    for noise in () if only else (SOG, Gumbel(1.0)):
        key = {"sweep": str(noise), "steps": steps, "runs": number, "seed": 0}
        runs.complete(key, lambda noise=noise: sweep(noise, steps, number))
    for name in (name for name in METHODS if only in name):
        key = {"method": name, "settings": str(METHODS[name][0]), "steps": steps, "runs": number, "seed": 0}
        runs.complete(key, lambda name=name: run(name, steps, number, rates))


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    rows = []
    for record in sorted((record for record in found if "mean" in record), key=lambda record: record["mean"]):
        name = record["key"]["method"]
        low, high = REFERENCE.get(name, (np.nan, np.nan))
        within = (
            ""
            if np.isnan(low)
            else f"{low:.2f} to {high:.2f}: {'yes' if low <= record['mean'] <= high else 'no'}"
        )
        figures = (f"{record['rate']:.3g}", f"{record['mean']:.3f}", f"{record['sd']:.3f}")
        rows.append([name, f"`{record['settings']}`", *figures, within])
    header = ["method", "options", "learning rate", "mean gap", "sd", "reference"]
    return f"{table(header, rows)}\n{sweep_text(found)}{provenance(found)}\n"


def sweep_text(found: list[Record]) -> str:
    cells = {record["key"]["sweep"]: record for record in found if "means" in record}
    if len(cells) < 2:
        return ""
    first, second = cells[str(SOG)], cells[str(Gumbel(1.0))]
    wins = [int((np.array(first[what]) < np.array(second[what])).sum()) for what in ("means", "sds")]
    return (
        f"Over {len(SWEEP_RATES)} learning rates and {len(SWEEP_STRENGTHS)} lambdas, sum-of-gamma noise ends "
        f"lower than Gumbel noise in the mean of {wins[0]} of {np.array(first['means']).size} cells, in the "
        f"standard deviation of {wins[1]}.\n\n"
    )


def draw(figure: Any, found: list[Record]) -> None:
    curves, bars = figure.subplots(1, 2, width_ratios=(1, 1.2))
    methods = [record for record in found if "mean" in record]
    for record in methods:
        if record["key"]["method"] in (
            *REFERENCE,
            "AIMLE, central",
            "Stochastic softmax trick",
            "Exact gradient",
        ):
            curves.plot(record["curve"], label=record["key"]["method"])
    curves.set(xlabel="step", ylabel="gap of the expected loss", yscale="log")
    curves.legend(fontsize=7)
    methods.sort(key=lambda record: -record["mean"])
    places = range(len(methods))
    spread = [[min(r["sd"], r["mean"]) for r in methods], [r["sd"] for r in methods]]
    bars.barh(places, [r["mean"] for r in methods], xerr=spread, color="C0", alpha=0.7)
    bars.set_yticks(places, [r["key"]["method"] for r in methods], fontsize=7)
    bars.set_xlabel(f"gap after {STEPS} steps, mean and standard deviation")


def main() -> None:
    arguments = parser(__doc__ or "", NAME).parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, NAME)
    if not arguments.draw:
        run_all(runs, arguments.only, arguments.quick)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, NAME, text(found), lambda figure: draw(figure, found), (9, 4.5))


if __name__ == "__main__":
    main()
