"""How long `imle-opt regret` takes over a million rows of 40 costs, and how much memory.

    python benchmarks/regret_million.py [--rows 1000000] [--format npy parquet csv] [--workers 2]

Shortest paths on a grid of 5 x 5 cells, right and down, with costs on the 40 edges, and one method. The
command runs as a user runs it, in a process of its own; its peak is that of its resident memory, workers
included. CPU seconds tell what it would take on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROWS_AT_ONCE = 50_000
MODEL = "grid-path:5x5,2,edges"
NUM_COSTS = 40


def blocks(rows: int, distinct: int, noise: float) -> Iterator[np.ndarray]:
    """Yield costs between 1 and 9, or those times a factor between `1 / (1 + noise)` and `1 + noise`."""
    for start in range(0, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - start)
        generator = np.random.default_rng(start % distinct)
        true = generator.uniform(1, 9, (count, NUM_COSTS))
        yield true * (1 + noise) ** generator.uniform(-1, 1, true.shape) if noise else true


def write(path: Path, rows: int, distinct: int, noise: float) -> None:
    if path.suffix == ".npy":
        whole = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(rows, NUM_COSTS))
        for start, block in zip(range(0, rows, ROWS_AT_ONCE), blocks(rows, distinct, noise), strict=True):
            whole[start : start + len(block)] = block
        whole.flush()
        return
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    schema = pa.schema([(str(index), pa.float64()) for index in range(NUM_COSTS)])
    writer = (
        pa.csv.CSVWriter(path, schema)
        if path.suffix == ".csv"
        else pa.parquet.ParquetWriter(path, schema, use_dictionary=False)
    )
    with writer:
        for block in blocks(rows, distinct, noise):
            writer.write_table(pa.table(list(block.T.copy()), schema=schema))


def resident(pid: int) -> float:
    """Return the resident memory of a process and its children, in MiB."""
    total, waiting = 0.0, [pid]
    while waiting:
        current = waiting.pop()
        try:
            pages = int(Path(f"/proc/{current}/statm").read_text(encoding="ascii").split()[1])
            tasks = Path(f"/proc/{current}/task").iterdir()
            children = [(task / "children").read_text(encoding="ascii").split() for task in tasks]
        except (OSError, IndexError):
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        waiting += [int(child) for each in children for child in each]
    return total


def measure(words: list[str]) -> tuple[float, float, float, dict]:
    """Run the command; return its seconds, CPU seconds, peak memory in MiB, and what it printed."""
    began, peak, before = time.perf_counter(), 0.0, cpu_seconds()
    command = [sys.executable, "-m", "imle_opt.cli", "regret", MODEL, *words, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    printed: list[str] = []
    reader = threading.Thread(target=lambda: printed.append(process.communicate()[0]))
    reader.start()
    while reader.is_alive():
        peak = max(peak, resident(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"the command ended with {process.returncode}")
    return time.perf_counter() - began, cpu_seconds() - before, peak, json.loads(printed[0])


def cpu_seconds() -> float:
    """Return what ended children have used of all processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distinct", type=int, default=0, help="rows before they repeat; 0: none does")
    parser.add_argument("--formats", nargs="+", default=["npy", "parquet", "csv"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--more", nargs="*", default=[], help="more options of the command")
    options = parser.parse_args()
    distinct = options.distinct or options.rows
    print(f"{options.rows} rows, {NUM_COSTS} costs, {MODEL}, {options.workers} workers", flush=True)
    print("format   seconds  CPU      reading  solving  ties   MiB   solves   normalised regret")
    for ending in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            true, predicted = Path(folder) / f"true.{ending}", Path(folder) / f"predicted.{ending}"
            write(true, options.rows, distinct, noise=0.0)
            write(predicted, options.rows, distinct, noise=1.0)
            words = ["--true", str(true), "--predicted", f"a={predicted}", "--workers", str(options.workers)]
            seconds, cpu, peak, found = measure([*words, *options.more])
            spent, figures = found["seconds"], found["methods"][0]["figures"]
            print(
                f"{ending:<8} {seconds:<8.1f} {cpu:<8.1f} {spent['reading']:<8.1f} {spent['solving']:<8.1f} "
                f"{spent['ties']:<6.1f} {peak:<5.0f} {found['solves']:<8} "
                f"{100 * figures['normalized_regret_ratio_of_sums']:.3f}%",
                flush=True,
            )


if __name__ == "__main__":
    main()
