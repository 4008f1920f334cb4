"""Shortest paths on a 5x5 grid with costs that a linear predictor cannot represent: every loss and layer.

    c_j = e_j ((<B_j, x> / sqrt(5) + 3)^degree + 1) / 3.5^degree,   e_j ~ U[1 - noise, 1 + noise]

1,000 training and 10,000 test rows per seed, 5 seeds; a linear predictor of 5 features and a constant, Adam
with learning rate 0.03, 20 epochs, batches of 32, the same for all methods and data (SPO+ also
with learning rate 0.01, which suits it better), and nothing is tuned per degree. The figure is the
normalised regret on the test rows, a ratio of sums.

`python benchmarks/experiments/shortest_path.py --page docs/experiments` takes an hour for all methods.

Source: Elmachtoub and Grigas, Management Science 68 (2022), arXiv 1710.08005, Section 6.1; published figures:
Tang and Khalil, Mathematical Programming Computation (2024), arXiv 2206.14234.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from experiment import Record, Runs, parser, provenance, runs_of, table, write_page
from stacked import (
    IMLE_ADAPTIVE,
    LEAST_SQUARES,
    METHODS,
    SPO_PLUS,
    SPO_PLUS_SLOWER,
    Rows,
    Schedule,
    settings_of,
    standard_error,
    test_regrets,
    weights_of,
)

from imle_opt.data import shortest_path_data
from imle_opt_solvers.grid import grid_path

NAME = "shortest_path"
SEEDS = tuple(range(5))
CELLS = tuple((degree, noise) for noise in (0.0, 0.5) for degree in (8, 4, 6, 1, 2))
QUICK_CELLS = ((4, 0.5), (8, 0.0))
PUBLISHED = {
    (4, 0.0): {SPO_PLUS_SLOWER: (0.63, 0.21), SPO_PLUS: (0.63, 0.21), LEAST_SQUARES: (2.01, 0.41)},
    (4, 0.5): {SPO_PLUS_SLOWER: (7.78, 0.97), SPO_PLUS: (7.78, 0.97), LEAST_SQUARES: (8.96, 1.05)},
}
"""Mean and standard deviation over seeds, in percent."""
SOLVER = grid_path((5, 5), neighbours=2, costs_on="edges")


@cache
def data(degree: int, noise: float, seeds: tuple[int, ...], train: int, test: int) -> tuple[Rows, Rows]:
    """Return training and test rows of all seeds."""
    tables = [shortest_path_data(train + test, degree=degree, noise=noise, seed=seed) for seed in seeds]
    features = torch.from_numpy(np.stack([table.features for table in tables]))
    features = torch.cat([features, torch.ones_like(features[..., :1])], -1)[:, :, None]
    costs = np.stack([table.costs for table in tables])
    decisions = torch.from_numpy(SOLVER.solve(costs).decisions)
    rows = Rows(features, torch.from_numpy(costs), decisions)
    number = torch.arange(train + test).expand(len(seeds), -1)
    return rows.pick(number[:, :train]), rows.pick(number[:, train:])


def run_all(runs: Runs, only: str, quick: bool) -> None:
    seeds, train, test = (SEEDS[:2], 40, 50) if quick else (SEEDS, 1000, 10_000)
    schedule = Schedule(epochs=1) if quick else Schedule()
    for name in (name for name in (LEAST_SQUARES, *METHODS) if only in name):
        for degree, noise in QUICK_CELLS if quick else CELLS:
            key = {
                "method": name,
                "settings": settings_of(name),
                "degree": degree,
                "noise": noise,
                "seeds": seeds,
                "rows": [train, test],
                "schedule": str(schedule),
            }

            def run(name: str = name, degree: int = degree, noise: float = noise) -> Record:
                training, testing = data(degree, noise, seeds, train, test)
                weights = weights_of(name, SOLVER, training, schedule)
                return {"regrets": test_regrets(SOLVER, testing, weights)}

            runs.complete(key, run)


def by_cell(found: list[Record]) -> dict[tuple[str, int, float], list[float]]:
    """Return the regrets in percent of each method, degree and noise."""
    return {
        (run["key"]["method"], run["key"]["degree"], run["key"]["noise"]): [100 * r for r in run["regrets"]]
        for run in found
    }


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    regrets = by_cell(found)
    parts = [table_of(regrets, noise) for noise in (0.0, 0.5)]
    settings = {run["key"]["method"]: run["key"]["settings"] for run in found}
    options = table(("method", "options"), [(name, f"`{text}`") for name, text in settings.items()])
    return "\n".join([*parts, published(regrets), options, provenance(found) + "\n"])


def table_of(regrets: dict[tuple[str, int, float], list[float]], noise: float) -> str:
    degrees = sorted({degree for _, degree, other in regrets if other == noise})
    names = dict.fromkeys(name for name, _, other in regrets if other == noise)
    rows = []
    for name in names:
        row = [name]
        for degree in degrees:
            cell = regrets.get((name, degree, noise))
            row.append(f"{np.mean(cell):.2f} ± {np.std(cell, ddof=1):.2f}" if cell else "not run")
        rows.append(row)
    header = [f"noise {noise:g}, regret in %", *(f"degree {degree}" for degree in degrees)]
    return table(header, rows)


def published(regrets: dict[tuple[str, int, float], list[float]]) -> str:
    """Return how the runs compare with the published figures and I-MLE with SPO+ and least squares."""
    rows = []
    for (degree, noise), figures in PUBLISHED.items():
        for name, (mean, spread) in figures.items():
            if cell := regrets.get((name, degree, noise)):
                away = (np.mean(cell) - mean) / (spread / len(cell) ** 0.5)
                measured = f"{np.mean(cell):.2f} ± {np.std(cell, ddof=1):.2f}"
                rows.append((name, f"{degree}", f"{noise:g}", f"{mean} ± {spread}", measured, f"{away:+.1f}"))
    header = ("published", "degree", "noise", "mean ± sd", "here", "standard errors away")
    ratios = []
    for noise in (0.0, 0.5):
        for degree in (4, 6, 8):
            names = (IMLE_ADAPTIVE, SPO_PLUS, SPO_PLUS_SLOWER, LEAST_SQUARES)
            cells = [regrets.get((name, degree, noise)) for name in names]
            if all(cells):
                ours, faster, slower, squares = (float(np.mean(cell)) for cell in cells if cell)
                spo = min(faster, slower)
                met = "yes" if ours <= 1.03 * spo and ours < squares else "no"
                ratios.append((f"{degree}, {noise:g}", f"{ours / spo:.3f}", f"{ours / squares:.3f}", met))
    compared = ("degree, noise", "I-MLE / better SPO+", "I-MLE / least squares", "at most 1.03, and below 1")
    return f"{table(header, rows)}\n{table(compared, ratios)}"


def draw(figure: Any, found: list[Record]) -> None:
    regrets = by_cell(found)
    for axes, noise in zip(figure.subplots(1, 2, sharey=True), (0.0, 0.5), strict=True):
        names = list(dict.fromkeys(name for name, _, other in regrets if other == noise))
        for place, name in enumerate(names):
            cells = sorted(
                (degree, cell) for (n, degree, e), cell in regrets.items() if (n, e) == (name, noise)
            )
            degrees, values = [degree for degree, _ in cells], [cell for _, cell in cells]
            errors = [standard_error(cell) for cell in values]
            style = {"color": f"C{place % 10}", "marker": "osDv^"[place // 10], "markersize": 3}
            axes.errorbar(degrees, [np.mean(c) for c in values], errors, label=name, linewidth=1, **style)
        axes.set(xlabel="degree", title=f"noise {noise:g}", yscale="log")
    figure.axes[0].set_ylabel("normalised regret, %")
    figure.axes[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))


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
