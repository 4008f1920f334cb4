"""PyEPO's own batches in one process and in its pool of two: a program apart, since that pool forks.

    python -m benchmarks.compare.pyepo_pool CASE ROWS

Its last line is a JSON object of milliseconds per batch, wall clock.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from benchmarks.compare.cases import makers
from benchmarks.compare.pyepo_models import LinearOptModel
from benchmarks.compare.timing import interleaved
from pyepo.func import perturbedOpt


def main(name: str, rows: int) -> None:
    case = makers(Path("absent"))[name]()
    assert case.linear is not None
    costs = torch.tensor(case.costs[:rows], dtype=torch.float32)
    layers = {
        processes: perturbedOpt(LinearOptModel(case.linear), n_samples=1, sigma=1e-9, processes=processes)
        for processes in (1, 2)
    }
    calls = {f"{processes}": lambda layer=layer: layer(costs) for processes, layer in layers.items()}
    interleaved(calls, 1)  # starts the workers
    turns = interleaved(calls, 3, time.perf_counter)
    found = {f"processes={name}, ms": 1e3 * float(np.median(each)) for name, each in turns.items()}
    found["two over one"] = float(np.median(turns["1"] / turns["2"]))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
