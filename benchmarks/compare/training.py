"""A whole epoch of I-MLE, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from benchmarks.compare.timing import interleaved
from benchmarks.compare.user_models import pulp_model
from benchmarks.kernels import path_program
from torch import Tensor, nn

from imle_opt import IMLE, PID, SumOfGamma
from imle_opt.data import shortest_path_data
from imle_opt_solvers import Solver, wrap

_SAMPLES, _BATCH = 10, 32

Layer = Callable[[Tensor], Tensor]


def epoch(
    layer: Layer, features: Tensor, labels: Tensor, seed: int = 0
) -> tuple[Callable[[], None], nn.Linear]:
    """Return an epoch of a linear predictor under the Hamming loss, and the predictor."""
    torch.manual_seed(seed)
    predictor = nn.Linear(features.shape[1], labels.shape[1])
    optimizer = torch.optim.Adam(predictor.parameters(), lr=1e-2)

    def run() -> None:
        order = torch.randperm(len(features))
        for rows in order.split(_BATCH):
            optimizer.zero_grad()
            (layer(predictor(features[rows])) - labels[rows]).abs().mean().backward()
            optimizer.step()

    return run, predictor


def ours(solver: Solver) -> Layer:
    """PyEPO's defaults: sums of gammas with kappa 5, a step of 10, here on the wrapped linear model."""
    layer = IMLE(solver, noise=SumOfGamma(kappa=5), target=PID(10.0), num_samples=_SAMPLES)
    return lambda costs: layer(costs).mean(0)


def normalized_regret(predictor: nn.Linear, features: Tensor, costs: np.ndarray, solver: Solver) -> float:
    with torch.no_grad():
        decisions = solver.solve(predictor(features).double().numpy()).decisions
    best = solver.solve(costs).objectives
    return float(((costs * decisions).sum(1) - best).sum() / best.sum())


def time_epochs(instances: int, repeats: int) -> dict[str, float]:
    """Return processor seconds per epoch of everybody, our ratio, and the regret that training led to."""
    torch.set_num_threads(1)
    model = path_program(5)
    problem, predicted, _ = pulp_model(model)
    solvers = {engine: wrap(problem, variables=predicted, engine=engine) for engine in ("auto", "highs")}
    table = shortest_path_data(instances, degree=4, noise=0.5, seed=0)
    features = torch.tensor(table.features, dtype=torch.float32)
    labels = torch.tensor(solvers["auto"].solve(table.costs).decisions, dtype=torch.float32)
    layers = {"imle-opt": ours(solvers["auto"]), "imle-opt, highs": ours(solvers["highs"])}
    if find_spec("pyepo") is not None:
        from benchmarks.compare.pyepo_models import LinearOptModel
        from pyepo.func import implicitMLE

        layers["PyEPO"] = implicitMLE(LinearOptModel(model), n_samples=_SAMPLES)
    runs = {name: epoch(layer, features, labels) for name, layer in layers.items()}
    for name in solvers:
        ours_alone, _ = epoch(ours(solvers[name]), features[:64], labels[:64])
        ours_alone()  # compiles
    turns = interleaved({name: run for name, (run, _) in runs.items()}, repeats)
    found = {f"{name}, seconds": float(np.median(each)) for name, each in turns.items()}
    for name, (_, predictor) in runs.items():
        found[f"{name}, regret"] = normalized_regret(predictor, features, table.costs, solvers["auto"])
    if "PyEPO" in turns:
        for name in ("imle-opt", "imle-opt, highs"):
            found[f"PyEPO over {name}"] = float(np.median(turns["PyEPO"] / turns[name]))
    return found


_IMPORTS = {
    "torch": "import torch",
    "imle-opt": "from imle_opt import IMLE, PID, SumOfGamma, wrap",
    "imle-opt, names not yet used": "import imle_opt",
    "imle-opt, numpy side": "from imle_opt_solvers import wrap",
    "PyEPO": "import pyepo",
}


def time_imports(repeats: int) -> dict[str, float]:
    """Return processor seconds of a fresh interpreter with each import."""
    statements = {
        name: text for name, text in _IMPORTS.items() if name != "PyEPO" or find_spec("pyepo") is not None
    }
    calls = {
        name: partial(subprocess.run, [sys.executable, "-c", text], check=True)
        for name, text in statements.items()
    }
    turns = interleaved(calls, repeats)
    found = {name: float(np.median(each)) for name, each in turns.items()}
    if "PyEPO" in turns:
        for name in ("imle-opt", "imle-opt, names not yet used"):
            found[f"PyEPO over {name}"] = float(np.median(turns["PyEPO"] / turns[name]))
    return found
