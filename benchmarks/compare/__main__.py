"""The command: see the package."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from benchmarks.compare import measure, pools, report, training
from benchmarks.compare.cases import makers

_ENERGY = Path("../shared/data/energy_knapsack/Data.npz")
_PACKAGES = ("pyepo", "ortools", "pulp", "networkx", "cvxpy", "scipy", "highspy", "numba", "numpy", "torch")
_LAYERS = {"grid-map-12x12": 320, "grid-map-30x30": 320, "knapsack-32x2": 320, "set-cover": 40}
_POOLS = {"facility-location-8x20": 64}


def versions() -> dict[str, str]:
    found: dict[str, str] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
            print(f"{package} is not installed: left out", file=sys.stderr)
    return found


def run(names: list[str], energy: Path, quick: bool) -> dict[str, Any]:
    """Measure the named cases, or all of them with the layers, the pools and the training."""
    available, repeats = makers(energy), 1 if quick else 5
    if not energy.exists():
        print(f"knapsack-48x1 is left out: no data at {energy} (give --energy)", file=sys.stderr)
    unknown = [name for name in names if name not in available]
    if unknown:
        raise SystemExit(f"unknown or absent: {', '.join(unknown)}; the cases are {', '.join(available)}")
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": versions(),
        "cases": {},
        "layers": {},
    }
    made = {name: available[name]() for name in names or available}
    for name, case in made.items():
        print(name, file=sys.stderr, flush=True)
        results["cases"][name] = measure.as_record(case, measure.time_case(case, repeats, quick))
        if name in _LAYERS:
            rows = 10 if quick else _LAYERS[name]
            results["layers"][name] = measure.time_layer(case, 1 if quick else 9, rows)
    results["pools"], results["epoch"], results["imports"] = {"workers": {}, "overhead": {}}, {}, {}
    if names:
        return results
    print("pools, training, imports", file=sys.stderr, flush=True)
    for name, rows in _POOLS.items():
        case = made[name]
        found = pools.time_workers(case.solver, case.costs[: 4 if quick else rows], 1 if quick else 9)
        if results["versions"]["pyepo"] != "absent":
            peer = pools.pyepo_workers(name, 4 if quick else rows, timeout=60)
            found |= {f"PyEPO, {what}": value for what, value in peer.items()}
        results["pools"]["workers"][name] = found
    results["pools"]["overhead"] = pools.time_overhead(2 if quick else 200)
    results["epoch"] = training.time_epochs(32 if quick else 1000, 1 if quick else 3)
    results["imports"] = training.time_imports(1 if quick else 3)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare with peers.")
    parser.add_argument("cases", nargs="*", help="all, where none is named")
    parser.add_argument("--quick", action="store_true", help="two rows a case: does it still run?")
    parser.add_argument("--energy", type=Path, default=_ENERGY, help="the energy prices, Data.npz")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--page", type=Path, help="the page to put the tables into")
    parser.add_argument("--plot", type=Path, help="where to write the plot")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # PyEPO says once per model which optional solvers it lacks; cvxpy names its defaults.
    warnings.simplefilter("ignore")
    results = run(arguments.cases, arguments.energy, arguments.quick)
    text = report.markdown(results)
    print(text)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.page is not None:
        report.into_page(arguments.page, text)
    if arguments.plot is not None:
        arguments.plot.write_text(report.svg(results), encoding="utf-8")


if __name__ == "__main__":
    main()
