"""The energy knapsacks: 48 half hours a day, weights 3, 5 and 7, capacities 60, 120 and 180.

550 days to train on and 139 to test, as the seed splits them, 5 seeds. One linear predictor of 8 features and
a constant for all items; features are standardised and profits divided by their mean, both on the training
days. Adam with learning rate 0.03, 20 epochs, batches of 32, the same for all methods and capacities; nothing
is tuned, and the validation days are not used. The figure is the normalised regret on the test days, a ratio
of sums.

`python benchmarks/experiments/energy_knapsack.py --data Data.npz --page docs/experiments` takes half an hour.

Source: Mandi et al., Journal of Artificial Intelligence Research 80 (2024), arXiv 2307.13565.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Record, Runs, parser, provenance, runs_of, table, write_page
from stacked import (
    LEAST_SQUARES,
    METHODS,
    Rows,
    Schedule,
    settings_of,
    standard_error,
    test_regrets,
    weights_of,
)

from imle_opt import Knapsack
from imle_opt.data import energy_knapsack

NAME = "energy_knapsack"
SEEDS = tuple(range(5))
CAPACITIES = (60, 120, 180)
COUNTS, QUICK_COUNTS = (550, 100, 139), (3, 1, 1)


def data(path: Path, capacity: int, seeds: tuple[int, ...], counts: tuple[int, int, int]) -> tuple[Any, ...]:
    """Return the solver, training rows and test rows of all seeds."""
    splits = [energy_knapsack(path, seed, counts=counts) for seed in seeds]
    solver = Knapsack(splits[0].weights, capacity)
    parts = []
    for days in ([split.train for split in splits], [split.test for split in splits]):
        features = np.stack(
            [scaled(part.features, split.train.features) for part, split in zip(days, splits, strict=True)]
        )
        costs = np.stack(
            [part.costs / split.train.costs.mean() for part, split in zip(days, splits, strict=True)]
        )
        ones = np.ones((*features.shape[:-1], 1))
        rows = (np.concatenate([features, ones], -1), costs, solver.solve(costs).decisions)
        parts.append(Rows(*map(torch.from_numpy, rows)))
    return solver, *parts


def scaled(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return features of mean 0 and standard deviation 1 on the training days; constant ones become 0."""
    deviation = training.std((0, 1))
    return (features - training.mean((0, 1))) / np.where(deviation > 0, deviation, 1)


def run_all(runs: Runs, path: Path, only: str, quick: bool) -> None:
    seeds, counts = (SEEDS[:2], QUICK_COUNTS) if quick else (SEEDS, COUNTS)
    schedule = Schedule(epochs=1) if quick else Schedule()
    for name in (name for name in (LEAST_SQUARES, *METHODS) if only in name):
        for capacity in CAPACITIES:
            key = {
                "method": name,
                "settings": settings_of(name),
                "capacity": capacity,
                "seeds": seeds,
                "days": counts,
                "schedule": str(schedule),
            }

            def run(name: str = name, capacity: int = capacity) -> Record:
                solver, training, testing = data(path, capacity, seeds, counts)
                weights = weights_of(name, solver, training, schedule)
                return {"regrets": test_regrets(solver, testing, weights)}

            runs.complete(key, run)


def by_capacity(found: list[Record]) -> dict[str, dict[int, list[float]]]:
    """Return the regrets in percent of each method and capacity."""
    regrets: dict[str, dict[int, list[float]]] = {}
    for run in found:
        cell = [100 * regret for regret in run["regrets"]]
        regrets.setdefault(run["key"]["method"], {})[run["key"]["capacity"]] = cell
    return regrets


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    rows = [
        [name, *(cell_text(cells.get(capacity)) for capacity in CAPACITIES)]
        for name, cells in by_capacity(found).items()
    ]
    header = ["regret in %", *(f"capacity {capacity}" for capacity in CAPACITIES)]
    return f"{table(header, rows)}\n{provenance(found)}\n"


def cell_text(cell: list[float] | None) -> str:
    return f"{np.mean(cell):.2f} ± {np.std(cell, ddof=1):.2f}" if cell else "not run"


def draw(figure: Any, found: list[Record]) -> None:
    regrets = by_capacity(found)
    axes = figure.subplots()
    places = np.arange(len(regrets))
    for shift, capacity in zip((-0.25, 0, 0.25), CAPACITIES, strict=True):
        cells = [cells.get(capacity, [np.nan, np.nan]) for cells in regrets.values()]
        means, errors = [np.mean(cell) for cell in cells], [standard_error(cell) for cell in cells]
        axes.bar(places + shift, means, 0.25, yerr=errors, label=f"capacity {capacity}")
    axes.set_xticks(places, list(regrets), rotation=60, ha="right", fontsize=7)
    axes.set(ylabel="normalised regret, %", yscale="log")
    axes.legend()


def main() -> None:
    options = parser(__doc__ or "", NAME)
    options.add_argument("--data", type=Path, help="Data.npz of the data set; needed to run")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, NAME)
    if not arguments.draw:
        if arguments.data is None:
            options.error(
                "`--data` must name the file Data.npz of PredOpt/predopt-benchmarks, or give --draw."
            )
        run_all(runs, arguments.data, arguments.only, arguments.quick)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, NAME, text(found), lambda figure: draw(figure, found), (9, 4.5))


if __name__ == "__main__":
    main()
