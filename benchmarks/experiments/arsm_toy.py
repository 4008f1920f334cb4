"""The toy of the ARSM paper: find the best of 30 classes, whose rewards differ by a thousandth.

    maximise E f(z) over the logits of one choice of C = 30 classes,   f(c) = 0.5 + c / (C R),   R = 30

The maximum is 0.53333, the start (equal logits) 0.51722. Gradient steps of size 1 on ten runs, the seeds, as
the rows of one batch. The expectation is exact; the variance is that of 100 replicates of the gradient.

`python benchmarks/experiments/arsm_toy.py --page docs/experiments` takes a few minutes.

Source: Yin, Yue and Zhou, ICML 2019, arXiv 1905.01413, Section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from experiment import Record, Runs, parser, provenance, runs_of, table, write_page
from toys import HIDDEN, TUNING_RATE, Surrogate, Toy, rebar_per_run, train

from imle_opt import AR, ARS, ARSM, Categorical, Enumerate, GumbelSoftmax, Reinforce, Relax, pathwise

NAME = "arsm_toy"
CLASSES = 30
RUNS = 10
STEPS = 5000
EVERY = 100
REPLICATES = 100
STEP_SIZE = 1.0
REWARDS = 0.5 + torch.arange(1, CLASSES + 1, dtype=torch.float64) / (CLASSES * CLASSES)
BEST = REWARDS.max().item()
WITHIN = 0.002
"""How near to the maximum each of ARSM's runs must end."""

TOY = Toy(
    Categorical(),
    lambda z: (z * REWARDS).sum(-1),
    lambda theta: theta.softmax(-1) @ REWARDS,
    sign=-1,
    groups={"reward": slice(None)},
)
METHODS: dict[str, Callable[[], Any]] = {
    "Exact gradient": Enumerate,
    "REINFORCE": lambda: Reinforce(1, "none"),
    "RLOO, 2 samples": lambda: Reinforce(2),
    "RLOO, 8 samples": lambda: Reinforce(8),
    "Gumbel-softmax, temperature 1": lambda: pathwise(GumbelSoftmax(TOY.family, temperature=1.0)),
    "REBAR": lambda: rebar_per_run(RUNS),
    "RELAX": lambda: Relax(Surrogate(RUNS, CLASSES, seed=0)),
    "AR": AR,
    "ARS": ARS,
    "ARSM": ARSM,
}


def run(name: str, steps: int, every: int, replicates: int) -> Record:
    start = torch.zeros(RUNS, CLASSES, dtype=torch.float64)
    return train(
        TOY,
        METHODS[name](),
        start,
        lambda parameters: torch.optim.SGD(parameters, lr=STEP_SIZE),
        steps=steps,
        every=every,
        replicates=replicates,
        seed=0,
    )


def run_all(runs: Runs, only: str, quick: bool) -> None:
    steps, every, replicates = (4, 2, 3) if quick else (STEPS, EVERY, REPLICATES)
    for name in (name for name in METHODS if only in name):
        key = {"method": name, "steps": steps, "step size": STEP_SIZE, "runs": RUNS, "seed": 0}
        runs.complete(key, lambda name=name: run(name, steps, every, replicates))


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    rows = []
    for record in found:
        curve, last = record["curves"]["reward"], record["last"]["reward"]
        near = sum(BEST - value <= WITHIN for value in last)
        rows.append(
            (
                record["key"]["method"],
                f"{record['evaluations']:.3g}",
                f"{sum(last) / len(last):.5f}",
                f"{min(last):.5f}",
                f"{near} of {len(last)}",
                f"{curve['variance'][0]:.2g}",
            )
        )
    header = ["method", "f per step", "mean reward", "worst run", f"within {WITHIN}", "variance at the start"]
    settings = (
        f"Maximum {BEST:.5f}; {found[0]['key']['steps']:,} steps of size {STEP_SIZE:g}, {RUNS} runs, seed 0. "
        f"RELAX: a tanh network of {HIDDEN} units; it and REBAR's two parameters are tuned by Adam at "
        f"{TUNING_RATE:g}, for each run on its own."
    )
    return f"{table(header, rows)}\n{settings} {provenance(found)}\n"


def draw(figure: Any, found: list[Record]) -> None:
    rewards, gradients, variances = figure.subplots(1, 3)
    for i, record in enumerate(found):
        curve, name, colour = record["curves"]["reward"], record["key"]["method"], f"C{i}"
        rewards.plot(record["steps"], curve["value"], colour, label=name)
        gradients.plot(record["steps"], curve["gradient"], colour, linewidth=0.8)
        if name != "Exact gradient":
            variances.plot(record["steps"], curve["variance"], colour)
    rewards.axhline(BEST, color="grey", linewidth=0.5)
    rewards.set(xlabel="step", ylabel="expected reward, mean of the runs")
    gradients.set(xlabel="step", ylabel="one gradient, logit of the best class")
    gradients.set_yscale("symlog", linthresh=1e-4)
    variances.set(xlabel="step", ylabel="variance of the gradient", yscale="log")
    figure.legend(loc="outside right center", fontsize=7)


def main() -> None:
    arguments = parser(__doc__ or "", NAME).parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, NAME)
    if not arguments.draw:
        run_all(runs, arguments.only, arguments.quick)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, NAME, text(found), lambda figure: draw(figure, found), (11, 3.6))


if __name__ == "__main__":
    main()
