"""Shortest paths on 12x12 maps of terrain, from pictures of them: the Warcraft experiment.

A network sees a map and predicts the cost of each cell; it learns from the shortest paths or the true costs
of other maps. Maps come from `imle_opt.data.terrain_maps`, or, with `--data FOLDER`, from the files of the
Warcraft maps. The share of optimal paths counts test maps on which the path for the predicted costs is
as cheap, under the true ones, as the shortest; the regret is a ratio of sums.

The network, the optimiser and each method's noise or lambda are the published ones: convolution 7x7 of stride
2, batch normalisation, ReLU, max pooling, two residual blocks of 64 channels, adaptive max pooling to a cell
each and the mean over channels (157,504 parameters), inputs normalised per channel, Adam with learning rate
5e-4 and batches of 70. The short run has 3 epochs of 2,000 maps; `--full` has 50 epochs of 10,000, with the
learning rate times 0.1 after epochs 30 and 40, on a GPU where there is one.

`python benchmarks/experiments/terrain.py --page docs/experiments` takes some 20 minutes of one core.

Source: Vlastelica et al. (Pogancic et al.), ICLR 2020, arXiv 1912.02175, Section 4.1; published
figures: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Table 2.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Record, Runs, parser, provenance, runs_of, table, write_page
from terrain_methods import METHODS, SIZE, Clipping
from terrain_network import CostNetwork
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from imle_opt import DeviceGridPath, Polytope, fit, predict_costs
from imle_opt.data import CELL_PIXELS, TerrainMaps, TerrainSplits, terrain_maps, warcraft_maps
from imle_opt_solvers.grid import grid_path

NAME = "terrain"
RATE = 5e-4
BATCH = 70


@dataclass(frozen=True)
class Protocol:
    """How much of everything.

    Args:
        maps: to train on, to watch and to test.
        epochs: passes over the training maps.
        seeds: of the weights, the noise and the order of the maps, one run each.
        drops: epochs after which the learning rate is divided by ten.
    """

    maps: tuple[int, int, int]
    epochs: int
    seeds: tuple[int, ...]
    drops: tuple[int, ...] = ()


QUICK = Protocol((6, 4, 5), 1, (0, 1))
SHORT = Protocol((2000, 500, 1000), 3, (0, 1, 2))
FULL = Protocol((10_000, 1000, 1000), 50, (0, 1, 2, 3, 4), drops=(30, 40))
PUBLISHED = {"mu-mu": 97.2, "M-M": 95.2, "Black-box": 95.2, "Fenchel-Young": 94.8}
"""Optimal paths in percent, K = 12, after the full protocol on the Warcraft maps."""


def splits(folder: Path | None, counts: tuple[int, int, int]) -> TerrainSplits:
    """Return the maps, the same ones for all methods and seeds."""
    if folder is None:
        return TerrainSplits(*(terrain_maps(count, SIZE, seed=seed) for seed, count in enumerate(counts)))
    data = warcraft_maps(folder)
    if data.train.costs.shape[1:] != (SIZE, SIZE):
        raise SystemExit(f"`--data` must hold maps of {SIZE} x {SIZE} cells: give the folder {SIZE}x{SIZE}.")
    parts = zip((data.train, data.validation, data.test), counts, strict=True)
    return TerrainSplits(*(first(maps, count) for maps, count in parts))


def first(maps: TerrainMaps, count: int) -> TerrainMaps:
    """Return the first maps, all where there are fewer."""
    return TerrainMaps(maps.images[:count], maps.costs[:count], maps.paths[:count])


def outcome(predicted: np.ndarray, maps: TerrainMaps) -> dict[str, float]:
    """Return the share of optimal paths and the regret of paths for the predicted costs."""
    decisions = grid_path((SIZE, SIZE)).solve(predicted).decisions
    paid, best = ((maps.costs * paths).sum((1, 2)) for paths in (decisions, maps.paths))
    optimal = paid <= best * (1 + 1e-9)
    return {
        "optimal": round(float(optimal.mean()), 4),
        "regret": round(float(paid.sum() / best.sum() - 1), 5),
    }


def run(method: str, seed: int, data: TerrainSplits, protocol: Protocol, device: str) -> Record:
    """Train a network by a method, and find the paths of the test maps."""
    _, made, rule = METHODS[method]
    on_device = DeviceGridPath((SIZE, SIZE), negative="clip")
    family = Clipping(on_device if device == "cuda" else Polytope(grid_path((SIZE, SIZE), negative="clip")))
    loss = made.make(family)
    train, validation, test = (
        [torch.from_numpy(array) for array in (maps.images, maps.costs, maps.paths)]
        for maps in (data.train, data.validation, data.test)
    )
    torch.manual_seed(seed)
    network = CostNetwork(SIZE, train[0]).to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.MultiStepLR(adam, protocol.drops)
    curve: list[float] = []

    def predicted(images: Tensor) -> np.ndarray:
        return predict_costs(network, images, batch_size=BATCH).double().cpu().numpy()

    def after_epoch(_: object) -> None:
        schedule.step()
        curve.append(outcome(predicted(validation[0]), data.validation)["optimal"])

    fit(
        network,
        DataLoader(TensorDataset(*train), BATCH, shuffle=True),
        lambda costs, batch: rule(loss, costs, batch[1].to(costs), batch[2].to(costs)),
        epochs=protocol.epochs,
        optimizer=adam,
        seed=seed,
        callback=after_epoch,
        device=device,
    )
    costs = predicted(test[0])
    return {
        **outcome(costs, data.test),
        "curve": curve,
        "mean cost": round(float(costs.mean()), 4),
        "clipped": round(family.clipped / family.rows, 4) if family.rows else None,
        "equal costs": outcome(np.ones_like(costs), data.test),
        "true mean cost": round(float(data.test.costs.mean()), 4),
    }


def run_all(runs: Runs, protocol: Protocol, folder: Path | None, only: str) -> None:
    """Make the runs that are not saved yet, all methods with one seed before the next seed."""
    data = splits(folder, protocol.maps)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for seed in protocol.seeds:
        for method in (method for method in METHODS if only in method):
            key = {
                "method": method,
                "settings": str(METHODS[method].made),
                "seed": seed,
                "data": "terrain_maps" if folder is None else "Warcraft",
                "maps": protocol.maps,
                "epochs": protocol.epochs,
                "drops": protocol.drops,
                "device": device,
            }
            runs.complete(key, lambda method=method, seed=seed: run(method, seed, data, protocol, device))


def by_method(found: list[Record]) -> dict[str, list[Record]]:
    """Return the runs of each method, in the order of `METHODS`."""
    runs: dict[str, list[Record]] = {method: [] for method in METHODS}
    for record in found:
        runs[record["key"]["method"]].append(record)
    return {method: records for method, records in runs.items() if records}


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    rows = []
    for method, records in by_method(found).items():
        rows.append(
            [
                method,
                METHODS[method].sees,
                mean_sd([100 * record["optimal"] for record in records], 1),
                mean_sd([100 * record["regret"] for record in records], 2),
                mean_sd([record["mean cost"] for record in records], 2),
                "-" if records[0]["clipped"] is None else mean_sd([100 * r["clipped"] for r in records], 1),
                f"{statistics.mean(record['cpu_seconds'] for record in records):.0f}",
                f"{PUBLISHED[method]}" if method in PUBLISHED else "-",
            ]
        )
    equal, true = found[0]["equal costs"], found[0]["true mean cost"]
    shares = f"{100 * equal['optimal']:.1f}", f"{100 * equal['regret']:.2f}"
    rows.append(["equal costs", "-", *shares, "-", "-", "-", "-"])
    rows.append(["true costs", "-", "100.0", "0.00", f"{true:.2f}", "-", "-", "-"])
    header = (
        "",
        "learns from",
        "optimal paths, %",
        "regret, %",
        "mean cost",
        "solves with a negative cost, %",
        "seconds a run",
        "published, optimal paths, %",
    )
    key = found[0]["key"]
    train, _, test = key["maps"]
    seeds = sorted({record["key"]["seed"] for record in found})
    options = {record["key"]["method"]: record["key"]["settings"] for record in found}
    return (
        f"{table(header, rows)}\n"
        f"Means and standard deviations over seeds {', '.join(map(str, seeds))}, on {test:,} test maps of "
        f"`{key['data']}`; {train:,} maps to train on, {key['epochs']} epochs of Adam at {RATE:g}, batches "
        f"of {BATCH}, on {key['device']}. "
        + "; ".join(f"{method}: `{settings}`" for method, settings in options.items())
        + f". {provenance(found)}\n"
    )


def mean_sd(values: list[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def draw(figure: Any, found: list[Record]) -> None:
    picture, curves = figure.subplots(1, 2, width_ratios=(1, 1.3))
    shown = terrain_maps(1, SIZE, seed=0)
    picture.imshow(shown.images[0].transpose(1, 2, 0))
    rows, columns = CELL_PIXELS * np.argwhere(shown.paths[0] > 0.5).T + (CELL_PIXELS - 1) / 2
    picture.plot(columns, rows, "ws", markersize=9, fillstyle="none")
    picture.set(title="a map and its shortest path")
    picture.set_axis_off()
    for method, records in by_method(found).items():
        each = 100 * np.array([record["curve"] for record in records])
        epochs = range(1, each.shape[1] + 1)
        (line,) = curves.plot(epochs, each.mean(0), marker="o", markersize=3, label=method)
        curves.fill_between(epochs, each.min(0), each.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
    equal = 100 * found[0]["equal costs"]["optimal"]
    curves.axhline(equal, color="grey", linestyle=":", label="equal costs, test maps")
    curves.set(xlabel="epoch", ylabel="optimal paths on the validation maps, %", ylim=(0, None))
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def main() -> None:
    options = parser(__doc__ or "", NAME)
    options.add_argument("--full", action="store_true", help="the published protocol; on a CPU, days")
    options.add_argument("--data", type=Path, help="folder 12x12 of the Warcraft maps; default: drawn maps")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    runs = runs_of(arguments, NAME)
    if not arguments.draw:
        protocol = QUICK if arguments.quick else FULL if arguments.full else SHORT
        run_all(runs, protocol, arguments.data, arguments.only)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, NAME, text(found), lambda figure: draw(figure, found), (9, 3.8))


if __name__ == "__main__":
    main()
