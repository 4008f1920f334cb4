"""What the experiments share: arguments, runs that are saved and resumed, and the page drawn from them.

A run is one JSON line of a file: what was run (its key), and what came out. A run whose key is in the file is
not run again, so that an interrupted experiment goes on where it stopped. Tables and plots are drawn from
the file alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
PAGES = HERE.parent.parent / "docs" / "experiments"

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A class and its options: prints as it is written, and makes a new object whenever it is asked to.

    Args:
        maker: the class.
        options: keyword arguments; those that are calls themselves are made anew, too.
    """

    maker: type[Any]
    options: tuple[tuple[str, Any], ...] = ()

    def make(self, *arguments: Any, **more: Any) -> Any:
        """Return a new object."""
        options = {key: value.make() if isinstance(value, Call) else value for key, value in self.options}
        return self.maker(*arguments, **options, **more)

    def __repr__(self) -> str:
        return f"{self.maker.__name__}({', '.join(f'{key}={value!r}' for key, value in self.options)})"


def call(maker: type[Any], **options: Any) -> Call:
    """Return `Call(maker, options)`."""
    return Call(maker, tuple(options.items()))


@dataclass(frozen=True)
class Runs:
    """The saved runs of an experiment.

    Args:
        path: of the file, one JSON object per line; it need not exist yet.
    """

    path: Path

    def read(self) -> list[Record]:
        """Return all runs; a last line that was cut off by an interruption does not count."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

    def complete(self, key: Record, run: Callable[[], Record]) -> Record:
        """Run what has this key and save what comes out, unless it is saved already; return what is saved."""
        key = json.loads(json.dumps(key))
        for saved in self.read():
            if saved["key"] == key:
                return saved
        start, busy = time.perf_counter(), time.process_time()
        result = run()
        seconds = {
            "seconds": round(time.perf_counter() - start, 2),
            "cpu_seconds": round(time.process_time() - busy, 2),
        }
        record = {"key": key, **result, **seconds, "machine": machine()}
        self._append(record)
        print(f"{json.dumps(key)}: {seconds['seconds']:.1f} s", flush=True)
        return record

    def _append(self, record: Record) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        if whole and not whole.endswith("\n"):  # an interruption cut the last line off
            self.path.write_text(whole[: whole.rfind("\n") + 1], encoding="utf-8")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def machine() -> str:
    """Return what the run was made on, as far as the interpreter knows."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, Python {platform.python_version()}, "
        f"torch {torch.__version__.split('+')[0]}, numpy {np.__version__}"
    )


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """Return a parser of the options that all experiments have."""
    made = argparse.ArgumentParser(description=description.split("\n")[0])
    made.add_argument("--quick", action="store_true", help="a few steps of everything, in seconds")
    made.add_argument("--only", default="", help="run the methods whose name contains this")
    made.add_argument("--draw", action="store_true", help="run nothing, draw what is saved")
    made.add_argument(
        "--results", type=Path, help=f"the file of runs; default benchmarks/results/{name}.jsonl"
    )
    made.add_argument(
        "--page", type=Path, help="folder to write the table and the plot to, as the docs show them"
    )
    return made


def runs_of(arguments: argparse.Namespace, name: str) -> Runs:
    """Return the runs of the file that was asked for; a quick run has a file of its own."""
    default = RESULTS / (f"{name}.quick.jsonl" if arguments.quick else f"{name}.jsonl")
    return Runs(arguments.results or default)


def provenance(runs: Iterable[Record]) -> str:
    """Return a line about the machines and the time of the runs."""
    found = list(runs)
    machines = sorted({run["machine"] for run in found})
    total = sum(run["cpu_seconds"] for run in found)
    return f"{len(found)} runs, {total / 60:.1f} minutes of processor time. {'; '.join(machines)}."


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows)) + "\n"


def write_page(
    folder: Path, name: str, text: str, draw: Callable[[Any], None], size: tuple[float, float]
) -> None:
    """Write the text as `name.md` and the plot as `name.svg`, the same bytes for the same runs."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    with mpl.rc_context(
        {"svg.hashsalt": name, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
