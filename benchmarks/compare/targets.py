"""What was aimed at, what was measured, and whether it was met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.compare.cases import HIGHSPY, KERNEL, NETWORKX, OURS, OURS_HIGHS, PULP, PYEPO

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A target and its measurement.

    Args:
        what: in words.
        bound: the number aimed at.
        at_least: whether more is better.
        measured: the same ratio in this run.
    """

    what: str
    bound: float
    at_least: bool
    measured: float

    @property
    def met(self) -> bool:
        """Whether the run reached the target."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def verdicts(results: Results) -> Iterator[Verdict]:
    """Yield a verdict for each target that this run measured."""
    yield from _speedups(results["cases"])
    yield from _floors(results["cases"])
    for name, found in results["layers"].items():
        label = f"{name}: I-MLE, forward and backward, over the floor of its solves"
        yield Verdict(label, 1.25, False, found["step_over_floor"])
    if results["pools"]["overhead"]:
        yield from _pools(results["pools"])
    yield from _training(results["epoch"], results["imports"])


def _speedups(cases: Results) -> Iterator[Verdict]:
    programs = ("grid-lp-5x5", "grid-lp-12x12")
    wanted = [(case, PYEPO, OURS, 100.0) for case in programs]
    wanted += [(case, PYEPO, OURS_HIGHS, 2.0) for case in programs]
    wanted += [("knapsack-32x2", PYEPO, OURS, 10.0), ("facility-location", PYEPO, OURS, 3.0)]
    wanted += [(case, NETWORKX, OURS, 50.0) for case in ("grid-map-12x12", "tree-20")]
    wanted += [(case, PULP, OURS, 10.0) for case in (*programs, "assignment-20x20")]
    whole = ("knapsack-32x2", "knapsack-48x1", "set-cover", "facility-location")
    wanted += [(case, PULP, OURS, 3.0) for case in whole]
    for case, peer, mine, bound in wanted:
        against = cases.get(case, {"times": {}})["times"].get(peer, {"against": {}})["against"]
        if mine in against:
            engine = ' with `engine="highs"`' if mine == OURS_HIGHS else ""
            yield Verdict(f"{case}: {peer} over imle-opt{engine}", bound, True, against[mine])


def _floors(cases: Results) -> Iterator[Verdict]:
    for case, found in cases.items():
        times = found["times"]
        if OURS_HIGHS in times:
            label = f'{case}: `solver.map` with `engine="highs"` over highspy by hand'
            yield Verdict(label, 1.10, False, 1 / times[HIGHSPY]["against"][OURS_HIGHS])
        if KERNEL in times:
            label = f"{case}: `solver.map` over the bare kernel"
            yield Verdict(label, 1.05, False, 1 / times[KERNEL]["against"][OURS])


def _pools(pools: Results) -> Iterator[Verdict]:
    for case, found in pools["workers"].items():
        for backend in ("thread", "process"):
            label = f"{case}: 2 workers ({backend}) over 1"
            yield Verdict(label, 1.7, True, found[f"{backend}: two over one"])
    for backend in ("thread", "process"):
        overhead = pools["overhead"]
        call, row = (overhead[f"{backend}, median: us per {unit}"] for unit in ("call", "row"))
        yield Verdict(f"pool ({backend}), microseconds a call", 150.0, False, call)
        yield Verdict(f"pool ({backend}), microseconds a row of 144 doubles", 1.0, False, row)


def _training(epoch: Results, imports: Results) -> Iterator[Verdict]:
    if "PyEPO over imle-opt" in epoch:
        label = "an epoch of I-MLE on SPO shortest paths: PyEPO over imle-opt"
        yield Verdict(label, 20.0, True, epoch["PyEPO over imle-opt"])
        whole, alone = "PyEPO over imle-opt", "PyEPO over imle-opt, names not yet used"
        yield Verdict("import: PyEPO over `import imle_opt`", 2.0, True, imports[alone])
        yield Verdict(
            "import, torch and all names that training needs: PyEPO over imle-opt", 2.0, True, imports[whole]
        )
