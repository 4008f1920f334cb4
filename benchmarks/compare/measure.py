"""Answers compared, then everybody timed on the same rows, in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.compare.cases import HIGHSPY, KERNEL, OURS, OURS_HIGHS, Case
from benchmarks.compare.timing import FloatArray, interleaved, seconds_of

from imle_opt import IMLE, PID, Exponential
from imle_opt_solvers import HighsSolver, Solver

_MOST_SECONDS = 0.3
"""Who needs more for all rows gets the first few only."""
_LEAST_SECONDS = 0.02
"""Who needs less for all rows is called several times in a turn."""
_SLOW_SECONDS = 2.0
"""A turn that takes longer is repeated three times at most."""


@dataclass(frozen=True)
class Timing:
    """One contender in one case.

    Args:
        microseconds: processor time per row, the median of the repeats.
        rows: how many rows it was given.
        against: the median, over the repeats, of its time over that of each of `imle-opt` and its HiGHS.
    """

    microseconds: float
    rows: int
    against: dict[str, float]


def check_answers(case: Case, rows: FloatArray) -> None:
    """Raise an error where somebody finds another optimum than this library."""
    solution = case.solver.solve(rows)
    predicted = np.einsum("rm,rm->r", rows.reshape(len(rows), -1), solution.decisions.reshape(len(rows), -1))
    if case.highs is not None:
        np.testing.assert_allclose(case.highs.solve(rows).objectives, solution.objectives, rtol=1e-6)
    if case.kernel is not None:
        found = case.kernel(case.solver.sense.sign * rows)
        np.testing.assert_allclose((found * rows).reshape(len(rows), -1).sum(axis=1), predicted, rtol=1e-6)
    for name, loop in case.loops.items():
        expected = predicted if name == HIGHSPY else solution.objectives
        np.testing.assert_allclose(loop(rows), expected, rtol=1e-6, err_msg=name)


def time_case(case: Case, repeats: int, quick: bool) -> dict[str, Timing]:
    """Return everybody's time per row.

    Args:
        case: the case.
        repeats: how many turns everybody has.
        quick: two rows for everybody.
    """
    few = case.few_costs[:2] if quick else case.few_costs
    costs = few if quick else case.costs
    check_answers(case, few)
    sign = case.solver.sense.sign
    calls: dict[str, Callable[[FloatArray], object]] = {
        OURS: lambda costs: case.solver.map(sign * costs),
        **({} if case.kernel is None else {KERNEL: lambda costs: case.kernel(sign * costs)}),
        **({} if case.highs is None else {OURS_HIGHS: lambda costs: case.highs.map(sign * costs)}),
        **case.loops,
    }
    for _ in range(3):  # compiles; and the solver learns which of its ways is the fastest here
        case.solver.map(sign * costs)
        if case.highs is not None:
            case.highs.map(sign * few)
    costing = {name: seconds_of(partial(call, few)) for name, call in calls.items()}
    scale = len(costs) / len(few)
    given = {name: costs if scale * once < _MOST_SECONDS else few for name, once in costing.items()}
    times = {
        name: 1 if quick else int(np.clip(_LEAST_SECONDS / (scale * once), 1, 50))
        for name, once in costing.items()
    }
    turns = interleaved(
        {name: repeated(partial(call, given[name]), times[name]) for name, call in calls.items()},
        min(repeats, 3) if sum(costing.values()) > _SLOW_SECONDS else repeats,
    )
    per_row = {name: seconds / len(given[name]) / times[name] for name, seconds in turns.items()}
    bases = [name for name in (OURS, OURS_HIGHS) if name in calls]
    return {
        name: Timing(
            1e6 * float(np.median(each)),
            len(given[name]),
            {base: float(np.median(each / per_row[base])) for base in bases},
        )
        for name, each in per_row.items()
    }


def repeated(call: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [call() for _ in range(times)]


def layer_step(solver: Solver, costs: FloatArray, samples: int) -> Callable[[], object]:
    """Return a step of I-MLE from a tensor of costs to its gradient."""
    torch.manual_seed(0)
    # The step stays so small that costs on a graph stay positive.
    layer = IMLE(solver, noise=Exponential(0.1), target=PID(0.003), num_samples=samples)
    point = torch.tensor(costs, dtype=torch.float32, requires_grad=True)
    upstream = torch.randn(samples, *costs.shape) / samples

    def step() -> None:
        point.grad = None
        torch.autograd.backward(layer(point), upstream)

    return step


def time_layer(case: Case, repeats: int, rows: int) -> dict[str, float]:
    """Return milliseconds of a step with ten samples, of its solves alone by the floor, and their ratio."""
    samples = 10
    costs = case.costs[:rows:samples]
    perturbed = np.repeat(costs, samples, axis=0) - case.solver.sense.sign * np.random.default_rng(
        0
    ).exponential(0.1, size=(len(costs) * samples, *costs.shape[1:]))
    theta = case.solver.sense.sign * perturbed
    floor: Callable[[], object]
    if case.kernel is not None:
        kernel = case.kernel
        floor = lambda: (kernel(theta), kernel(theta))  # noqa: E731
    else:
        by_hand = case.loops[HIGHSPY]
        floor = lambda: (by_hand(perturbed), by_hand(perturbed))  # noqa: E731
    step = layer_step(case.solver, costs, samples)
    maps = lambda: (case.solver.map(theta), case.solver.map(theta))  # noqa: E731
    calls = {"floor": floor, "maps": maps, "step": step}
    interleaved(calls, 2)
    turns = interleaved(calls, repeats)
    middle = {f"{name}_ms": 1e3 * float(np.median(each)) for name, each in turns.items()}
    return middle | {
        "maps_over_floor": float(np.median(turns["maps"] / turns["floor"])),
        "step_over_floor": float(np.median(turns["step"] / turns["floor"])),
    }


def as_record(case: Case, timings: dict[str, Timing]) -> dict[str, Any]:
    engines = {OURS: case.solver.traits.engine}
    if isinstance(case.highs, HighsSolver):
        engines[OURS_HIGHS] = case.highs.traits.engine
    times = {name: asdict(timing) for name, timing in timings.items()}
    return {"title": case.title, "engines": engines, "times": times}
