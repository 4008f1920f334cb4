"""The energy knapsacks: 48 half hours a day, weights 3, 5 and 7, capacities 60, 120 and 180.

550 days to train on, 100 to validate and 139 to test, as the seed splits them, 5 seeds. One linear predictor
of 8 features and a constant for all items; features are standardised and profits divided by their mean, both
on the training days. 20 epochs of Adam in batches of 32, with starts and options as for the shortest paths;
every method's learning rate is the best of 0.001, 0.003, 0.01, 0.03, 0.1 and 0.3 on the validation days of
all seeds at capacity 120. The figure is the normalised regret on the test days, a ratio of sums.

`python benchmarks/experiments/energy_knapsack.py --data Data.npz --page docs/experiments` takes a quarter of
an hour of one core, two fifths of it for SparseMAP.

Source: Mandi et al., Journal of Artificial Intelligence Research 80 (2024), arXiv 2307.13565.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Record, Runs, parser, provenance, runs_of, table, write_page
from stacked import (
    IMLE_ADAPTIVE,
    IMLE_WARM,
    LEAST_SQUARES,
    METHODS,
    RATES,
    SPO_PLUS,
    SPO_PLUS_WARM,
    Rows,
    Schedule,
    best,
    cell_text,
    names_of,
    plain_numbers,
    rates_of,
    ratio,
    ratio_text,
    regrets_of,
    rows_of,
    settings_of,
    standard_error,
    weights_of,
)

from imle_opt import Knapsack, Solver
from imle_opt.data import energy_knapsack

NAME = "energy_knapsack"
SEEDS = tuple(range(5))
CAPACITIES, RATE_CAPACITY = (60, 120, 180), 120
COMPARED = (
    (IMLE_ADAPTIVE, SPO_PLUS),
    (IMLE_ADAPTIVE, LEAST_SQUARES),
    (IMLE_WARM, SPO_PLUS_WARM),
    (IMLE_WARM, LEAST_SQUARES),
)
"""A form of I-MLE, and what it is compared with."""
COUNTS, QUICK_COUNTS = (550, 100, 139), (12, 1, 1)


def data(
    path: Path, capacity: int, seeds: tuple[int, ...], counts: tuple[int, int, int]
) -> tuple[Solver, list[Rows]]:
    """Return the solver, and training, validation and test rows of all seeds."""
    splits = [energy_knapsack(path, seed, counts=counts) for seed in seeds]
    solver = Knapsack(splits[0].weights, capacity)
    parts = []
    for part in ("train", "validation", "test"):
        days = [(getattr(split, part), split.train) for split in splits]
        features = np.stack([scaled(some.features, training.features) for some, training in days])
        costs = np.stack([some.costs / training.costs.mean() for some, training in days])
        parts.append(rows_of(features, costs, solver.solve(costs).decisions))
    return solver, parts


def scaled(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return features of mean 0 and standard deviation 1 on the training days; constant ones become 0."""
    deviation = training.std((0, 1))
    return (features - training.mean((0, 1))) / np.where(deviation > 0, deviation, 1)


def run_all(runs: Runs, path: Path, only: str, quick: bool) -> None:
    """Choose the learning rate of every method at one capacity, then run it at the others."""
    seeds, counts = (SEEDS[:2], QUICK_COUNTS) if quick else (SEEDS, COUNTS)
    schedule = Schedule(epochs=1) if quick else Schedule()
    chosen_by_rate = [name for name, method in METHODS.items() if method.rate is None]
    for name in (name for name in (LEAST_SQUARES, *chosen_by_rate) if only in name):

        def complete(capacity: int, rate: float | None, name: str = name) -> None:
            key = {
                "method": name,
                "settings": settings_of(name),
                "capacity": capacity,
                "seeds": seeds,
                "days": counts,
                "rate": rate,
                "schedule": str(schedule),
            }

            def run() -> Record:
                solver, (training, validating, testing) = data(path, capacity, seeds, counts)
                weights = weights_of(name, solver, training, schedule, rate)
                validation, regrets = (regrets_of(solver, rows, weights) for rows in (validating, testing))
                return {"validation": validation, "regrets": regrets}

            runs.complete(key, run)

        for rate in rates_of(name, quick):
            complete(RATE_CAPACITY, rate)
        rate = best(tried(runs.read(), name))["key"]["rate"]
        for capacity in CAPACITIES:
            complete(capacity, rate)


def tried(found: list[Record], name: str) -> list[Record]:
    """Return the runs that choose the learning rate of a method."""
    where = (name, RATE_CAPACITY)
    return [run for run in found if (run["key"]["method"], run["key"]["capacity"]) == where]


def chosen(found: list[Record]) -> dict[str, dict[int, Record]]:
    """Return the run of each method and capacity with the learning rate that was best on validation days."""
    rates = {name: best(tried(found, name))["key"]["rate"] for name in names_of(found)}
    runs: dict[str, dict[int, Record]] = {name: {} for name in rates}
    for run in found:
        if run["key"]["rate"] == rates[run["key"]["method"]]:
            runs[run["key"]["method"]][run["key"]["capacity"]] = run
    return runs


def percent(run: Record | None) -> list[float] | None:
    """Return the regrets on the test days in percent."""
    return None if run is None else [100 * regret for regret in run["regrets"]]


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    runs = chosen(found)
    rows = [
        [name, *(cell_text(percent(by_capacity.get(capacity))) for capacity in CAPACITIES)]
        for name, by_capacity in runs.items()
    ]
    header = ["regret in %", *(f"capacity {capacity}" for capacity in CAPACITIES)]
    rates = [rate_row(name, tried(found, name)) for name in runs]
    options = ("method", "options", *(f"rate {rate:g}" for rate in RATES))
    parts = [table(header, rows), beside(runs), table(options, rates), provenance(found) + "\n"]
    return "\n".join(parts)


def rate_row(name: str, runs: Sequence[Record]) -> list[str]:
    """Return a row of a table: the method, its options, and its validation regret in % by learning rate."""
    by_rate = {run["key"]["rate"]: 100 * float(np.mean(run["validation"])) for run in runs}
    chosen = best(runs)["key"]["rate"] if len(runs) > 1 else None
    cells = [f"{by_rate[rate]:.2f}" if rate in by_rate else "" for rate in RATES]
    bold = [f"**{cell}**" if rate == chosen else cell for rate, cell in zip(RATES, cells, strict=True)]
    return [name, f"`{settings_of(name)}`", *bold]


def beside(runs: dict[str, dict[int, Record]]) -> str:
    """Return I-MLE beside SPO+ and least squares, on the same seeds."""
    rows = []
    for ours, theirs in COMPARED:
        cells: list[str] = []
        for capacity in CAPACITIES:
            pair = [percent(runs.get(name, {}).get(capacity)) for name in (ours, theirs)]
            cells.append(ratio_text(*ratio(*pair)) if all(pair) else "not run")
        rows.append([f"{ours} / {theirs}", *cells])
    return table(("ratio", *(f"capacity {capacity}" for capacity in CAPACITIES)), rows)


def draw(figure: Any, found: list[Record]) -> None:
    """Draw a group of bars per method, with standard errors."""
    runs = chosen(found)
    axes = figure.subplots()
    places = np.arange(len(runs))
    for shift, capacity in zip((-0.25, 0, 0.25), CAPACITIES, strict=True):
        cells = [percent(by_capacity.get(capacity)) or [np.nan, np.nan] for by_capacity in runs.values()]
        means, errors = [np.mean(cell) for cell in cells], [standard_error(cell) for cell in cells]
        axes.bar(places + shift, means, 0.25, yerr=errors, label=f"capacity {capacity}")
    axes.set_xticks(places, list(runs), rotation=60, ha="right", fontsize=7)
    axes.set(ylabel="normalised regret, %", yscale="log")
    plain_numbers(axes)
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
