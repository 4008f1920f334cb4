"""The benchmark still runs, whatever peers there are."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_cases_run_and_answers_agree(tmp_path):
    cases = ["grid-lp-5x5", "grid-map-12x12", "tree-20", "set-cover"]
    command = [sys.executable, "-m", "benchmarks.compare", *cases, "--quick"]
    options = ["--json", str(tmp_path / "results.json"), "--plot", str(tmp_path / "plot.svg")]
    done = subprocess.run(command + options, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["cases"]) == cases
    assert {"imle-opt", "bare kernel", "highspy by hand"} <= set(results["cases"]["grid-lp-5x5"]["times"])
    assert all(
        time["microseconds"] > 0 for case in results["cases"].values() for time in case["times"].values()
    )
    assert "grid-lp-5x5: `solver.map` over the bare kernel" in done.stdout
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8").count("<circle") > 20
