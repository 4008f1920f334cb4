"""What the two problems of the SPO paper share: how they are run, compared with published runs, and drawn.

The problems are those that published runs were made on: the same seeds, rows and split, so that least squares
can be compared run by run. Every method's learning rate is chosen for each degree and noise, on other seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch
from experiment import RESULTS, Record, Runs, parser, provenance, runs_of, table, write_page
from stacked import (
    IMLE_ADAPTIVE,
    IMLE_WARM,
    LEAST_SQUARES,
    METHODS,
    SPO_PLUS,
    SPO_PLUS_PUBLISHED,
    SPO_PLUS_WARM,
    Rows,
    Schedule,
    best,
    cell_text,
    instances_of,
    names_of,
    plain_numbers,
    rates_of,
    ratio,
    ratio_text,
    regrets_of,
    rows_of,
    settings_of,
    standard_error,
    style_of,
    weights_of,
)

from imle_opt import Solver
from imle_opt_solvers.solution import FloatArray

NOISES, DEGREES = (0.0, 0.5), (1, 2, 4, 6, 8)
CELLS = tuple((degree, noise) for noise in reversed(NOISES) for degree in (4, 8, 6, 1, 2))
QUICK_CELLS = ((4, 0.5), (8, 0.0))
RATE_SEEDS = (0, 1)
TRAIN, TEST = 1000, 1000
COMPARED = (
    (IMLE_ADAPTIVE, SPO_PLUS, SPO_PLUS_PUBLISHED, LEAST_SQUARES),
    (IMLE_WARM, SPO_PLUS_WARM, SPO_PLUS, LEAST_SQUARES),
)
"""A form of I-MLE, and what it is compared with."""
LEAST_DRAWN = 0.003
"""Regrets in percent below this are not drawn: some are all but exact in the first cell."""

Cell: TypeAlias = tuple[str, int, float]


@dataclass(frozen=True, eq=False)
class Problem:
    """One of the two problems.

    Args:
        name: of its files.
        tables: from rows, degree, noise and seeds to features (seeds, rows, features), costs (seeds, rows, m)
            and the solver of all.
        seeds: of the published runs, in their order.
        paper: what the paper gives for some cells, mean and standard deviation over its runs in percent.
    """

    name: str
    tables: Callable[[int, int, float, Sequence[int]], tuple[FloatArray, FloatArray, Solver]]
    seeds: tuple[int, ...]
    paper: dict[Cell, tuple[float, float]]

    @cache  # noqa: B019 (a problem lives as long as the script)
    def data(
        self, degree: int, noise: float, seeds: tuple[int, ...], train: int, test: int
    ) -> tuple[Solver, Rows, Rows]:
        """Return the solver, training and test rows of all seeds, split as the published runs are."""
        features, costs, solver = self.tables(train + test, degree, noise, seeds)
        order = np.stack([np.random.RandomState(seed).permutation(train + test) for seed in seeds])
        every = np.arange(len(seeds))[:, None]
        scale = costs[every, order[:, test:]].mean((1, 2), keepdims=True)
        costs = costs / scale
        instances = instances_of(solver, len(seeds), train + test)
        decisions = solver.solve(costs, instances=instances).decisions
        rows = rows_of(features[:, :, None], costs, decisions)
        chosen = torch.from_numpy(order)
        return solver, rows.pick(chosen[:, test:]), rows.pick(chosen[:, :test])


def run_all(problem: Problem, runs: Runs, only: str, quick: bool) -> None:
    """Choose the learning rate of every method in every cell, then run it."""
    train, test = (40, 50) if quick else (TRAIN, TEST)
    seeds = problem.seeds[:2] if quick else problem.seeds
    schedule = Schedule(epochs=1) if quick else Schedule()
    for name in (name for name in (LEAST_SQUARES, *METHODS) if only in name):

        def complete(
            figure: str, cell: tuple[int, float], seeds: tuple[int, ...], rate: float | None, name: str = name
        ) -> Record:
            key = {
                "method": name,
                "settings": settings_of(name),
                "figure": figure,
                "degree": cell[0],
                "noise": cell[1],
                "seeds": seeds,
                "rows": [train, test],
                "rate": rate,
                "schedule": str(schedule),
            }

            def run() -> Record:
                solver, training, testing = problem.data(*cell, seeds, train, test)
                weights = weights_of(name, solver, training, schedule, rate)
                return {figure: regrets_of(solver, testing, weights)}

            return runs.complete(key, run)

        for cell in QUICK_CELLS if quick else CELLS:
            rates = rates_of(name, quick)
            if len(rates) > 1:
                tried = [complete("validation", cell, RATE_SEEDS, rate) for rate in rates]
                rates = (best(tried)["key"]["rate"],)
            complete("regrets", cell, seeds, rates[0])


def _cell_of(run: Record) -> Cell:
    return run["key"]["method"], run["key"]["degree"], run["key"]["noise"]


def by_cell(found: list[Record]) -> dict[Cell, list[float]]:
    """Return the regrets in percent of each method, degree and noise."""
    return {_cell_of(run): [100 * regret for regret in run["regrets"]] for run in found if "regrets" in run}


def text(problem: Problem, found: list[Record]) -> str:
    """Return the section of the documentation."""
    regrets = by_cell(found)
    names = names_of(found)
    parts = [table_of(regrets, names, noise) for noise in NOISES]
    parts += [beside_spo_plus(regrets, *some) for some in COMPARED]
    parts += [published(problem, regrets), rates_table(found, names)]
    return "\n".join([*parts, provenance(found) + "\n"])


def rates_table(found: list[Record], names: list[str]) -> str:
    """Return the options of all methods and the learning rate of every cell."""
    rates = {_cell_of(run): run["key"]["rate"] for run in found if "regrets" in run}
    cells = tuple(product(NOISES, DEGREES))
    rows = []
    for name in names:
        chosen = (rates.get((name, degree, noise)) for noise, degree in cells)
        rows.append(
            [name, f"`{settings_of(name)}`", *("" if rate is None else f"{rate:g}" for rate in chosen)]
        )
    header = ("learning rate", "options", *(f"degree {degree}, noise {noise:g}" for noise, degree in cells))
    return table(header, rows)


def table_of(regrets: dict[Cell, list[float]], names: list[str], noise: float) -> str:
    rows = [[name, *(cell_text(regrets.get((name, degree, noise))) for degree in DEGREES)] for name in names]
    return table([f"noise {noise:g}, regret in %", *(f"degree {degree}" for degree in DEGREES)], rows)


def beside_spo_plus(regrets: dict[Cell, list[float]], ours: str, *others: str) -> str:
    """Return a form of I-MLE beside SPO+ with the same start, some other method and least squares."""
    rows = []
    for noise, degree in product(NOISES, DEGREES):
        cells = [regrets.get((name, degree, noise), []) for name in (ours, *others)]
        if all(cells):
            ratios = [ratio(cells[0], cell) for cell in cells[1:] if np.mean(cell) > 1e-9]
            shown = [ratio_text(*one) for one in ratios]
            exact = len(ratios) < len(others)  # of these only least squares is, in one cell
            met = "yes" if ratios[0][0] <= 1.03 and ratios[-1][0] < 1 and not exact else "**no**"
            shown += ["least squares is exact"] * exact
            rows.append((f"{degree}, {noise:g}", *shown, met if degree >= 4 else "not asked"))
    header = (f"{ours}: degree, noise", *(f"over {name}" for name in others))
    return table((*header, "at most 1.03 times SPO+ of the same start, below least squares"), rows)


def published(problem: Problem, regrets: dict[Cell, list[float]]) -> str:
    """Return how the runs compare with published ones of the same problems, and with the paper's means."""
    known = json.loads((RESULTS / "spo_published.json").read_text(encoding="utf-8"))
    rows = []
    ours = {LEAST_SQUARES: LEAST_SQUARES, SPO_PLUS: SPO_PLUS_PUBLISHED}
    for name, cells in known[problem.name].items():
        for which, runs in cells.items():
            degree, noise = json.loads(f"[{which}]")
            if cell := regrets.get((ours[name], degree, noise)):
                paired = name not in known["other_seeds"][problem.name]
                same = runs[: len(cell)] if paired else runs
                rows.append((name, f"{degree}, {noise:g}", cell_text(same), *beside(cell, same, paired)))
    for (name, degree, noise), (mean, spread) in problem.paper.items():
        if cell := regrets.get((ours[name], degree, noise)):
            away = (np.mean(cell) - mean) / (spread / len(cell) ** 0.5)
            label = f"{name}, paper"
            figures = (f"{mean:.2f} ± {spread:.2f}", cell_text(cell), "", f"{away:+.1f}")
            rows.append((label, f"{degree}, {noise:g}", *figures))
    header = ("published", "degree, noise", "mean ± sd", "here", "largest difference of a run")
    return table((*header, "standard errors away"), rows)


def beside(cell: list[float], runs: list[float], paired: bool) -> tuple[str, str, str]:
    """Return our mean, the largest difference between paired runs, and the distance of the means.

    That is in standard errors of the published mean, and where seeds differ of the difference of the means.
    """
    largest = f"{np.abs(np.subtract(cell, runs)).max():.4f}" if paired else "other seeds"
    error = standard_error(runs) if paired else float(np.hypot(standard_error(runs), standard_error(cell)))
    away = f"{(np.mean(cell) - np.mean(runs)) / error:+.1f}" if error > 0 else "0"
    return cell_text(cell), largest, away


def draw(figure: Any, found: list[Record]) -> None:
    """Draw the regret by degree, on a logarithmic scale, one panel per noise."""
    regrets = by_cell(found)
    names = names_of(found)
    for axes, noise in zip(figure.subplots(1, 2), NOISES, strict=True):
        for place, name in enumerate(names):
            cells = [(degree, regrets.get((name, degree, noise))) for degree in DEGREES]
            seen = [(degree, cell) for degree, cell in cells if cell and np.mean(cell) > LEAST_DRAWN]
            degrees, values = [degree for degree, _ in seen], [cell for _, cell in seen]
            errors = [standard_error(cell) for cell in values]
            means = [float(np.mean(cell)) for cell in values]
            axes.errorbar(degrees, means, errors, label=name, elinewidth=0.8, **style_of(name, place))
        axes.set(xlabel="degree", title=f"noise {noise:g}", yscale="log", xticks=DEGREES)
        plain_numbers(axes)
    figure.axes[0].set_ylabel("normalised regret, %")
    figure.axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def main(problem: Problem, description: str) -> None:
    """Run what is not saved yet, and print and draw what is."""
    arguments: argparse.Namespace = parser(description, problem.name).parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, problem.name)
    if not arguments.draw:
        run_all(problem, runs, arguments.only, arguments.quick)
    found = runs.read()
    page = text(problem, found)
    print(page)
    if arguments.page:
        write_page(arguments.page, problem.name, page, lambda figure: draw(figure, found), (9, 4.5))
