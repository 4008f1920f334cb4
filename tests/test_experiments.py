"""The experiments, a few steps of everything: they save their runs, resume, and draw what they saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "experiments"


def run(script, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # tests run side by side
    done = subprocess.run(
        [sys.executable, FOLDER / script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def market(folder):
    """Save a fortnight of a market that never was."""
    random = np.random.RandomState(0)
    features, costs = random.rand(14 * 48, 9), 1 + random.rand(14 * 48)
    path = folder / "Data.npz"
    parts = {
        "X_1gtrain": features[:96],
        "X_1gtest": features[96:],
        "y_train": costs[:96],
        "y_test": costs[96:],
    }
    np.savez(path, **parts, weights=3 + 2 * random.randint(0, 3, 48))
    return path


@pytest.mark.parametrize("name", ["subset", "shortest_path", "knapsack", "energy_knapsack", "discrete_vae"])
def test_experiment_saves_resumes_and_draws(name, tmp_path):
    results = tmp_path / "runs.jsonl"
    options = ["--quick", "--results", results]
    if name == "energy_knapsack":
        options += ["--data", market(tmp_path)]
    first = run(f"{name}.py", *options)
    saved = results.read_text()
    # An interruption in the middle of a line: what was cut off is run again, the rest is not.
    lines = saved.splitlines(keepends=True)
    results.write_text("".join(lines[:-1]) + lines[-1][:20])
    drawing = ["--page", tmp_path / "page"] if find_spec("matplotlib") else []
    second = run(f"{name}.py", *options, *drawing)
    again = results.read_text().splitlines(keepends=True)
    assert again[:-1] == lines[:-1]
    assert json.loads(again[-1])["key"] == json.loads(lines[-1])["key"]
    assert json.loads(lines[-1])["machine"]
    table = [line for line in first.splitlines() if line.startswith("|")]
    assert len(table) > 10
    assert [line for line in second.splitlines() if line.startswith("|")] == table
    if drawing:
        assert (tmp_path / "page" / f"{name}.svg").stat().st_size > 0
