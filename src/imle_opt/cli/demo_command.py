"""`imle-opt demo`: the main job on real images, without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from imle_opt.cli.outcome import ExitCode, say
from imle_opt.demo import run_demo

__all__ = ["DemoOptions", "run_demo_command"]


class _Sizes(TypedDict, total=False):
    epochs: int
    maps: int
    test_maps: int


@dataclass(frozen=True)
class DemoOptions:
    """What `imle-opt demo` was asked; None: the demo's own choice.

    Args:
        out: where the report goes; None for no report.
        seed: of everything random.
        epochs: passes over the training maps.
        maps: maps to train on.
        test_maps: maps to test on.
        quick: few maps and epochs, to see it run; the target is not asked for.
    """

    out: Path | None
    seed: int
    epochs: int | None
    maps: int | None
    test_maps: int | None
    quick: bool


def run_demo_command(options: DemoOptions) -> ExitCode:
    """Run the demo; the exit code is 1 if learning from paths alone misses its target.

    Raises:
        InvalidInputError: a number below 1, or a report in a folder that does not exist.
    """
    result = run_demo(out=options.out, seed=options.seed, **_sizes(options))
    if options.quick or result.target_met:
        return ExitCode.OK
    say("missed", "learning from paths alone did not reach the regret that it should, see above.")
    return ExitCode.MISSED


def _sizes(options: DemoOptions) -> _Sizes:
    sizes: _Sizes = {"epochs": 2, "maps": 100, "test_maps": 50} if options.quick else {}
    if options.epochs is not None:
        sizes["epochs"] = options.epochs
    if options.maps is not None:
        sizes["maps"] = options.maps
    if options.test_maps is not None:
        sizes["test_maps"] = options.test_maps
    return sizes
