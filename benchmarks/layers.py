"""What a layer costs above its solves: the bare kernel, `solver.map`, and I-MLE forward and backward.

    python benchmarks/layers.py [--repeats 200]

A step is 32 instances with 10 samples: 320 rows forward, 320 rows backward. The floor is the compiled kernel
called twice on arrays of these rows, as an expert would; `map` is the solver's public call, twice; the layer
takes a tensor of costs and gives back their gradient, noise, target and transfer included, for a given
gradient of the decisions. The layer's answers are checked against the kernel's before anything is timed. The
last table is the layer's time above its solves at (S, B, m) = (8, 64, 40).

One thread, processor time. Variants take turns in each repeat; medians of all repeats, and medians of the
ratios within a repeat, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imle_opt import IMLE, PID, DeviceGridPath, Exponential, Gumbel, KSubset, Normal, TopK
from imle_opt.families import MAPOracle
from imle_opt.noise import Noise, SumOfGamma
from imle_opt.targets import Adaptive, Target
from imle_opt_solvers.grid import grid_path
from imle_opt_solvers.kernels import selection, shortest_path
from imle_opt_solvers.solver import Solver

SAMPLES, INSTANCES = 10, 32


@dataclass(frozen=True)
class Case:
    """A problem, what perturbs it, and its kernel on rows of theta as an expert would call it."""

    name: str
    solver: Solver
    noise: Noise
    kernel: Callable[[np.ndarray], np.ndarray]
    device: MAPOracle


def path_case() -> Case:
    solver = grid_path((12, 12))
    arcs = solver._region.arcs
    ends = [np.full(SAMPLES * INSTANCES, node) for node in (0, 143)]

    def kernel(theta: np.ndarray) -> np.ndarray:
        return shortest_path.dijkstra(-theta.reshape(len(theta), -1), arcs, *ends, True)[0].reshape(
            theta.shape
        )

    return Case("path 12x12", solver, Exponential(0.1), kernel, DeviceGridPath((12, 12)))


def subset_case() -> Case:
    return Case(
        "10 of 100",
        TopK(100, 10),
        Normal(1.0),
        lambda theta: selection.top_k(theta, 10),
        KSubset(10),
    )


def step(
    model: Solver | MAPOracle, noise: Noise, target: Target, costs: Tensor, samples: int
) -> Callable[[], Tensor]:
    """Return a step of I-MLE: forward, backward, the gradient by the costs."""
    layer = IMLE(model, noise=noise, target=target, num_samples=samples)
    point = costs.clone().requires_grad_()
    upstream = torch.randn(samples, *costs.shape) / samples

    def run() -> Tensor:
        point.grad = None
        torch.autograd.backward(layer(point), upstream)
        assert point.grad is not None
        return point.grad

    return run


def timed(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every repeat of each variant, after rounds that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(-20, repeats):
        for name, call in variants.items():
            began = time.process_time()
            call()
            if repeat >= 0:
                seconds[name].append(time.process_time() - began)
    return seconds


def twice(call: Callable[[], object]) -> Callable[[], object]:
    return lambda: (call(), call())


def whole_layer(case: Case, repeats: int) -> None:
    """Print floor, map and layer for one case."""
    costs = torch.rand(INSTANCES, *case.solver.shape) + 1
    noise = case.noise.draw((SAMPLES, *costs.shape), dtype=costs.dtype, device="cpu")
    theta = (case.solver.sense.sign * costs + noise).movedim(0, 1).flatten(0, 1).double().numpy()
    found = torch.as_tensor(case.kernel(theta))
    torch.testing.assert_close(found, torch.as_tensor(case.solver.map(theta)))
    torch.testing.assert_close(found, case.device.map(torch.as_tensor(theta)))
    variants = {
        "bare kernel, twice": twice(lambda: case.kernel(theta)),
        "solver.map, twice": twice(lambda: case.solver.map(theta)),
        "I-MLE, PID": step(case.solver, case.noise, PID(0.1), costs, SAMPLES),
        "I-MLE, Adaptive": step(case.solver, case.noise, Adaptive(), costs, SAMPLES),
        "I-MLE, PID, on the tensors": step(case.device, case.noise, PID(0.1), costs, SAMPLES),
        "noise alone": lambda: case.noise.draw((SAMPLES, *costs.shape), dtype=costs.dtype, device="cpu"),
    }
    seconds = timed(variants, repeats)
    floor = seconds["bare kernel, twice"]
    print(f"\n{case.name}: {INSTANCES} instances x {SAMPLES} samples\n{'':30}{'ms':>10}{'ratio':>8}")
    for name, each in seconds.items():
        ratio = statistics.median(one / least for one, least in zip(each, floor, strict=True))
        print(f"{name:30}{1e3 * statistics.median(each):10.3f}{ratio:8.2f}")


def overhead(repeats: int, samples: int = 8, batch: int = 64, size: int = 40) -> None:
    """Print the time of a step above its solves."""
    family = KSubset(5)
    costs = torch.randn(batch, size)
    theta = torch.randn(samples * batch, size)
    variants: dict[str, Callable[[], object]] = {"solves": twice(lambda: family.map(theta))}
    for noise in (Normal(1.0), Gumbel(), SumOfGamma(kappa=5)):
        for target in (PID(1.0), Adaptive()):
            name = f"{type(noise).__name__}, {type(target).__name__}"
            variants[name] = step(family, noise, target, costs, samples)
    seconds = timed(variants, repeats)
    print(f"\nI-MLE above its solves, (S, B, m) = ({samples}, {batch}, {size})\n{'':30}{'ms':>10}")
    for name, each in seconds.items():
        if name != "solves":
            above = [one - solve for one, solve in zip(each, seconds["solves"], strict=True)]
            print(f"{name:30}{1e3 * statistics.median(above):10.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Layers above their solves.")
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for case in (path_case(), subset_case()):
        whole_layer(case, repeats)
    overhead(repeats)


if __name__ == "__main__":
    main()
