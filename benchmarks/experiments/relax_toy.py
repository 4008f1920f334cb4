"""The toy of the RELAX paper: one bit, and a loss that hardly depends on it.

    minimise E (b - t)^2 over the logit of one bit b,   t = 0.45 and t = 0.499

The least loss is t^2, at b = 0; the start (logit 0) is above it by 1/2 - t. Adam with learning rate 0.01 on
ten runs for each t, the rows of one batch. The loss is exact; the variance is that of 100 replicates of the
gradient.

`python benchmarks/experiments/relax_toy.py --page docs/experiments` takes a few minutes.

Source: Grathwohl, Choi, Wu, Roeder and Duvenaud, ICLR 2018, arXiv 1711.00123, Figure 1 and Section 5.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from experiment import Record, Runs, parser, provenance, runs_of, table, write_page
from toys import HIDDEN, TUNING_RATE, Surrogate, Toy, rebar_per_run, train

from imle_opt import Bernoulli, DisARM, Enumerate, Reinforce, Relax

NAME = "relax_toy"
TARGETS = (0.45, 0.499)
RUNS = 10
"""For each t."""
STEPS = 5000
EVERY = 50
REPLICATES = 100
RATE = 0.01
T = torch.tensor(TARGETS, dtype=torch.float64).repeat_interleave(RUNS)

TOY = Toy(
    Bernoulli(),
    lambda z: (z[..., 0] - T).square(),
    lambda theta: T.square() + theta[..., 0].sigmoid() * (1 - 2 * T),
    sign=1,
    groups={f"t = {t}": slice(i * RUNS, (i + 1) * RUNS) for i, t in enumerate(TARGETS)},
)
METHODS: dict[str, Callable[[], Any]] = {
    "Exact gradient": Enumerate,
    "REINFORCE": lambda: Reinforce(1, "none"),
    "RLOO, 2 samples": lambda: Reinforce(2),
    "DisARM": DisARM,
    "REBAR": lambda: rebar_per_run(len(T)),
    "RELAX": lambda: Relax(Surrogate(len(T), 1, seed=0)),
}


def run(name: str, steps: int, every: int, replicates: int) -> Record:
    return train(
        TOY,
        METHODS[name](),
        torch.zeros(len(T), 1, dtype=torch.float64),
        lambda parameters: torch.optim.Adam(parameters, lr=RATE),
        steps=steps,
        every=every,
        replicates=replicates,
        seed=0,
    )


def run_all(runs: Runs, only: str, quick: bool) -> None:
    steps, every, replicates = (4, 2, 3) if quick else (STEPS, EVERY, REPLICATES)
    for name in (name for name in METHODS if only in name):
        key = {"method": name, "steps": steps, "rate": RATE, "runs": RUNS, "seed": 0}
        runs.complete(key, lambda name=name: run(name, steps, every, replicates))


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    rows: list[tuple[str, ...]] = []
    for name, t in zip(TOY.groups, TARGETS, strict=True):
        for record in found:
            last, variance = record["last"][name], record["curves"][name]["variance"]
            gaps = [value - t * t for value in last]
            rows.append(
                (
                    f"{name}, {record['key']['method']}",
                    f"{record['evaluations']:.3g}",
                    f"{sum(gaps) / len(gaps):.2g}",
                    f"{max(gaps):.2g}",
                    f"{variance[0]:.2g}",
                    f"{sum(variance) / len(variance):.2g}",
                )
            )
    header = ["method", "f per step", "mean gap", "worst run", "variance at the start", "mean variance"]
    settings = (
        "Gap: the loss above its least value, at the start "
        + " and ".join(f"{0.5 - t:.3f} for t = {t}" for t in TARGETS)
        + f"; {found[0]['key']['steps']:,} steps of Adam at {RATE:g}, {RUNS} runs, seed 0. RELAX: a tanh "
        f"network of {HIDDEN} units; it and REBAR's two parameters are tuned by Adam at {TUNING_RATE:g}, for "
        "each run on its own."
    )
    return f"{table(header, rows)}\n{settings} {provenance(found)}\n"


def draw(figure: Any, found: list[Record]) -> None:
    for axes, name, t in zip(figure.subplots(2, 2).T, TOY.groups, TARGETS, strict=True):
        losses, variances = axes
        for i, record in enumerate(found):
            curve, method, colour = record["curves"][name], record["key"]["method"], f"C{i}"
            losses.plot(record["steps"], curve["value"], colour, label=method)
            if method != "Exact gradient":
                variances.plot(record["steps"], curve["variance"], colour)
        losses.axhline(t * t, color="grey", linewidth=0.5)
        losses.set(title=name, ylabel="expected loss, mean of the runs")
        variances.set(xlabel="step", ylabel="variance of the gradient", yscale="log")
        losses.legend(fontsize=6)


def main() -> None:
    arguments = parser(__doc__ or "", NAME).parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, NAME)
    if not arguments.draw:
        run_all(runs, arguments.only, arguments.quick)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, NAME, text(found), lambda figure: draw(figure, found), (9, 6))


if __name__ == "__main__":
    main()
