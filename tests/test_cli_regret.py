"""`imle-opt regret` with several methods and seeds, in blocks, interrupted: by hand, and against one call."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

from imle_opt.cli import main
from imle_opt.evaluation import engine
from imle_opt.evaluation import run as run_module
from imle_opt_solvers import grid_path
from imle_opt_solvers.regret import evaluate

ONE_OF_THREE = """
    import numpy as np
    from imle_opt_solvers import FunctionSolver

    def cheapest(costs):
        with open("calls", "a") as file:
            file.write("x")
        return np.eye(3)[costs.argmin()]

    model = FunctionSolver(cheapest, 3, "min")
"""
MODEL = "three.py:model"
TRUE = "1,2,4\n10,20,40\n8,4,2\n"
GOOD = "2,1,4\n1,2,4\n8,4,2\n"  # takes the second, the first, the third: loses 1, 0, 0
POOR = "9,9,1\n9,1,9\n1,9,9\n"  # takes the third, the second, the first: loses 3, 10, 6


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line[4:] for line in ONE_OF_THREE.splitlines()]
    Path("three.py").write_text("\n".join(lines), encoding="utf-8")
    for name, text in {"true": TRUE, "good": GOOD, "poor": POOR}.items():
        Path(f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def run(words, code=0):
    assert main(["regret", *words.split()]) == code


def run_json(capsys, words, code=0):
    run(f"{words} --json", code)
    return json.loads(capsys.readouterr().out)


def figures(summary):
    return {method["name"]: method["figures"] for method in summary["methods"]}


def test_hand_computed(folder, capsys):
    summary = run_json(capsys, f"{MODEL} --true true.csv --predicted good=good.csv --predicted poor=poor.csv")
    good, poor, constant = figures(summary).values()
    # Optima 1, 10, 2: they add up to 13.
    assert good["normalized_regret_ratio_of_sums"] == pytest.approx(1 / 13)
    assert good["normalized_regret_mean_of_ratios"] == pytest.approx((1 / 1 + 0 + 0) / 3)
    assert poor["normalized_regret_ratio_of_sums"] == pytest.approx(19 / 13)
    assert poor["normalized_regret_mean_of_ratios"] == pytest.approx((3 / 1 + 10 / 10 + 6 / 2) / 3)
    # The means of the columns are 19/3, 26/3, 46/3: the first, which loses 0, 0 and 6.
    assert constant["normalized_regret_ratio_of_sums"] == pytest.approx(6 / 13)
    assert constant["normalized_regret_mean_of_ratios"] == pytest.approx(3 / 3)
    assert (good["mean_regret"], good["median_regret"], poor["median_regret"]) == (1 / 3, 0, 6)
    # The middle half of three values is 1.5 of them: the middle one, and a quarter of each neighbour.
    assert poor["interquartile_mean_regret"] == pytest.approx((3 / 4 + 6 + 10 / 4) / 1.5)
    assert poor["mean_objective"] == pytest.approx((4 + 20 + 8) / 3)
    assert summary["oracle"]["mean_objective"] == pytest.approx(13 / 3)
    assert (good["optimal_share"], good["exact_match_share"], good["mean_hamming"]) == (2 / 3, 2 / 3, 2 / 3)
    # Errors of `good`: 1, 1, 0; 9, 18, 36; 0, 0, 0.
    assert good["mse"] == pytest.approx((1 + 1 + 81 + 324 + 1296) / 9)
    assert good["mae"] == pytest.approx(65 / 9)
    assert poor["tied_share"] == 0  # 9 and 9 tie, but not for the best
    tied = run_json(capsys, f"{MODEL} --true true.csv --predicted poor.csv --predicted zero=good.csv")
    assert tied["methods"][2]["role"] == "constant"


def test_rows_that_tie(folder, capsys):
    Path("tied.csv").write_text("1,1,9\n9,5,5\n3,3,3\n", encoding="utf-8")
    summary = run_json(capsys, f"{MODEL} --true true.csv --predicted tied.csv")
    tied = figures(summary)["tied"]
    # Taken: first, second, first. The worst of the ties: second (+1), third (+30), first (+6).
    assert tied["mean_regret"] == pytest.approx((0 + 10 + 6) / 3)
    assert tied["mean_worst_case_regret"] == pytest.approx((1 + 30 + 6) / 3)
    assert tied["normalized_worst_case_regret_ratio_of_sums"] == pytest.approx(37 / 13)
    assert tied["tied_share"] == pytest.approx(2 / 3)


def test_seeds_in_files_and_in_a_column_are_the_same(folder, capsys):
    files = run_json(capsys, f"{MODEL} --true true.csv --predicted net=good.csv --predicted net=poor.csv")
    both = [text.split() for text in (GOOD, POOR)]
    lines = [
        f"{seed},{line}" for pair in zip(*both, strict=True) for seed, line in zip("ab", pair, strict=True)
    ]
    Path("net.csv").write_text("\n".join(["seed,0,1,2", *lines]), encoding="utf-8")
    column = run_json(capsys, f"{MODEL} --true true.csv --predicted net.csv")
    assert files["methods"][0]["seeds"] == ["0", "1"]
    assert column["methods"][0]["seeds"] == ["a", "b"]
    for key in ("figures", "figures_by_seed", "statuses", "rows_measured"):
        assert files["methods"][0][key] == column["methods"][0][key]
    one, other = files["methods"][0]["figures_by_seed"]
    assert one["mean_regret"] == pytest.approx(1 / 3)
    assert other["mean_regret"] == pytest.approx(19 / 3)
    assert files["methods"][0]["figures"]["mean_regret"] == pytest.approx(20 / 6)
    assert files["methods"][0]["rows_measured"] == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--predicted oracle=good.csv", "'oracle' is the name of a reference"),
        ("--predicted good.csv --predicted good.csv", "there is a 'good' already"),
        ("--predicted =good.csv", "write NAME=FILE"),
        ("--predicted a=", "write NAME=FILE"),
        ("--predicted good.csv --baseline old", "--baseline old: there is no such method. There are good"),
        ("--predicted good.csv --workers 0", "--workers must be at least 1"),
        ("--predicted good.csv --tolerance 1", "--tolerance must be in [0, 1)"),
        ("--predicted two.csv", "two.csv: seed a has 3 rows and true.csv has"),
        ("--predicted n=net.csv --predicted n=net.csv", "seed a, b comes in more than one file"),
        ("--predicted good.csv --resume good.csv", "--resume good.csv: cannot be used"),
        ("--predicted good.csv --resume .", "no run of imle-opt"),
    ],
)
def test_bad_input(folder, capsys, words, message):
    lines = [*(f"a,{line}" for line in GOOD.split()), *(f"b,{line}" for line in POOR.split())]
    Path("net.csv").write_text("\n".join(["seed,0,1,2", *lines]), encoding="utf-8")
    Path("two.csv").write_text("\n".join(["seed,0,1,2", *lines[:-1]]), encoding="utf-8")
    if "two.csv" in words:
        message = "two.csv: seed b has 2 rows and true.csv has 3"
    run(f"{MODEL} --true true.csv {words}", code=2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_repeated_rows_are_solved_once(folder, capsys):
    Path("true.csv").write_text(TRUE * 200, encoding="utf-8")
    Path("good.csv").write_text(GOOD * 200, encoding="utf-8")
    summary = run_json(capsys, f"{MODEL} --true true.csv --predicted good.csv --no-worst-case")
    # Three true rows, one other predicted one (two are true rows too), the constant.
    assert summary["solves"] == len(Path("calls").read_text(encoding="utf-8")) == 5
    assert summary["rows"] == 600
    assert figures(summary)["good"]["normalized_regret_ratio_of_sums"] == pytest.approx(1 / 13)


GAPS = """
import numpy as np
from imle_opt_solvers import Sense, Solution, Solver, Status, Traits


class Rough(Solver):
    def solve_rows(self, costs, instances, deterministic):
        decisions = np.eye(3)[costs.argmin(axis=1)]
        statuses = tuple(Status.FEASIBLE if row[0] == 10 else Status.OPTIMAL for row in costs)
        return Solution(decisions, costs.min(axis=1), statuses, np.where(costs[:, 0] == 8, 0.25, 0.0), 0.0)


model = Rough((3,), Sense.MIN, Traits(binary=True))
"""


def test_a_gap_of_the_oracle_is_in_every_output(folder, capsys):
    Path("rough.py").write_text(GAPS, encoding="utf-8")
    words = "rough.py:model --true true.csv --predicted poor.csv --csv rows.csv --on-failure incumbent"
    summary = run_json(capsys, words)
    assert summary["oracle"]["gaps"] == {"rows_with_a_gap": 1, "rows_unknown": 0, "largest": 0.25}
    (note,) = [note for note in summary["notes"] if "oracle" in note]
    assert note.startswith(
        "the oracle is not optimal in 2 rows (row 1, 2): it is solved to a gap of up to 25%"
    )
    assert summary["failures"] == [{"method": None, "seed": None, "row": 1, "status": "feasible"}]
    run(words)
    assert f"note: {note}" in capsys.readouterr().out
    rows = pd.read_csv("rows.csv")
    assert rows[rows.method == "poor"].true_gap.tolist() == [0, 0, 0.25]
    assert rows[rows.method == "poor"].true_status.tolist() == ["optimal", "feasible", "optimal"]
    skipped = run_json(capsys, words.replace("incumbent", "skip"))
    assert skipped["methods"][0]["rows_measured"] == 2
    assert any("poor: no decision" in note or "no decision under" in note for note in skipped["notes"])
    run(words.replace("incumbent", "raise"), code=2)
    assert "(row 1: feasible)" in capsys.readouterr().err


def make_grid(rows=300):
    rng = np.random.default_rng(3)
    true = np.round(rng.uniform(1, 9, (rows, 4, 4)), 1)
    predicted = np.round(true * rng.uniform(0.4, 2, true.shape))
    np.save("t.npy", true)
    np.save("p.npy", predicted)
    pd.DataFrame(true.reshape(rows, -1)).to_parquet("t.parquet")
    return true, predicted


@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_and_threads_change_nothing(folder, capsys, workers):
    true, predicted = make_grid()
    summary = run_json(capsys, f"grid-path:4x4 --true t.npy --predicted p.npy --workers {workers}")
    report = evaluate(grid_path((4, 4)), predicted, true)
    found = figures(summary)["p"]
    assert report.tied_share > 0.01
    for name in ("mean_regret", "normalized_regret_mean_of_ratios", "mean_worst_case_regret", "tied_share",
                 "optimal_share", "exact_match_share", "mean_hamming"):  # fmt: skip
        assert found[name] == pytest.approx(getattr(report, name, report.summary().get(name)), rel=1e-12)
    parquet = run_json(capsys, "grid-path:4x4 --true t.parquet --predicted p.npy --workers 1")
    assert figures(parquet)["p"] == found


def test_processes_change_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr(engine, "_WORTH_A_POOL", 0.0)
    words = f"{MODEL} --true true.csv --predicted poor.csv --predicted good.csv"
    alone = run_json(capsys, f"{words} --workers 1")
    pooled = run_json(capsys, f"{words} --workers 2")
    assert figures(pooled) == figures(alone)


def test_going_on(folder, capsys):
    make_grid()
    words = "grid-path:4x4 --true t.npy --predicted p.npy"
    expected = run_json(capsys, words)
    first = run_json(capsys, f"{words} --resume kept")
    blocks = sorted(Path("kept").glob("block-*.npz"))
    assert len(blocks) > 3
    for block in blocks[2:]:
        block.unlink()
    (Path("kept") / "block-000000072-000000100.npz.part").write_bytes(b"half of a file")
    again = run_json(capsys, f"{words} --resume kept")
    assert 0 < again["solves"] < first["solves"] == expected["solves"]
    done = run_json(capsys, f"{words} --resume kept")
    assert done["solves"] == 0
    for summary in (first, again, done):
        for method, other in zip(summary["methods"], expected["methods"], strict=True):
            assert {**method, "seconds": 0} == {**other, "seconds": 0}
    run(f"{words} --resume kept --no-worst-case", code=2)
    assert "belongs to another run: worst_case differ" in capsys.readouterr().err
    blocks[0].write_bytes(b"rubbish")
    run(f"{words} --resume kept", code=2)
    assert "cannot be read" in capsys.readouterr().err
    np.save("p.npy", np.load("p.npy") + 1)
    run(f"{words} --resume kept", code=2)
    assert "input 1 (p) differ" in capsys.readouterr().err


@pytest.mark.parametrize("pooled", [False, True])
def test_code_of_the_model_that_fails_while_it_solves(folder, capsys, monkeypatch, pooled):
    text = Path("three.py").read_text(encoding="utf-8")
    broken = text.replace(
        "    with open", "    if costs[0] == 9:\n        raise ValueError('no road')\n    with open"
    )
    Path("broken.py").write_text(broken, encoding="utf-8")
    Path("late.csv").write_text("1,2,3\n1,2,3\n9,1,1\n", encoding="utf-8")
    monkeypatch.setattr(engine, "_WORTH_A_POOL", 0.0 if pooled else np.inf)
    run("broken.py:model --true true.csv --predicted late.csv --workers 2", code=2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(
        r"error: With the predicted costs of 'late', rows 1 to 2: broken\.py:model fails in line 7 of "
        r"broken\.py: ValueError: no road\n",
        captured.err,
    )


SLOW = """
import time
import numpy as np
from imle_opt_solvers import FunctionSolver

def slow(costs):
    time.sleep(0.02)
    return np.eye(3)[costs.argmin()]

model = FunctionSolver(slow, 3, "min")
"""


def children_of(pid):
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text("ascii").split()]
    except OSError:
        return []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
def test_interrupting_leaves_no_process_behind_and_loses_little(folder):
    Path("slow.py").write_text(SLOW, encoding="utf-8")
    rng = np.random.default_rng(0)
    np.save("t.npy", rng.uniform(1, 9, (2000, 3)))
    np.save("p.npy", rng.uniform(1, 9, (2000, 3)))
    words = "regret slow.py:model --true t.npy --predicted p.npy --no-worst-case --resume kept --workers 2"
    process = subprocess.Popen(
        [sys.executable, "-m", "imle_opt.cli", *words.split()], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        workers = children_of(process.pid)
        if len(workers) == 2 and len(list(Path("kept").glob("block-*.npz"))) > 2:
            break
        time.sleep(0.02)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.fullmatch(
        r"interrupted: \d+ rows are kept in kept\. The same command goes on from there\.\n", errors
    )
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert len(list(Path("kept").glob("block-*.npz"))) > 2


def test_the_json_is_of_its_schema(folder, capsys):
    schema = json.loads((Path(run_module.__file__).parent / "regret.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    Path("rough.py").write_text(GAPS, encoding="utf-8")
    words = "--true true.csv --predicted good.csv --predicted net=poor.csv --predicted net=good.csv"
    for more in (f"{MODEL} {words}", f"rough.py:model {words} --on-failure skip --no-worst-case"):
        summary = run_json(capsys, more)
        validator.validate(summary)
        known = schema["properties"]
        assert summary.keys() == known.keys()
        for part in ("model", "oracle", "bootstrap", "seconds", "thresholds"):
            assert summary[part].keys() == known[part]["properties"].keys()
        for part in ("inputs", "methods", "comparisons", "failures"):
            for each in summary[part]:
                assert each.keys() == known[part]["items"]["properties"].keys()
    del summary["methods"][0]["figures"]["mse"]
    assert not validator.is_valid(summary)
    hashes = {each["role"]: each["sha256"] for each in summary["inputs"]}
    assert hashes["true"] == hashlib.sha256(Path("true.csv").read_bytes()).hexdigest()
    assert list(hashes) == ["model", "true", "good", "net"]


def test_the_verdict(folder, capsys):
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 9, (200, 3))
    for name, spread in (("near", 0.5), ("far", 4.0), ("same", 4.0)):
        np.save(f"{name}.npy", true + rng.normal(size=true.shape) * spread)
    np.save("t.npy", true)
    names = " ".join(f"--predicted {name}={name}.npy" for name in ("near", "far", "same"))
    words = f"{MODEL} --true t.npy {names} --no-worst-case"
    summary = run_json(capsys, f"{words} --baseline far")
    near, same = summary["comparisons"]
    assert (near["first"], near["second"], same["first"]) == ("near", "far", "same")
    found = figures(summary)
    for name, comparison in (("near", near), ("same", same)):
        expected = [found[each]["normalized_regret_ratio_of_sums"] for each in (name, "far")]
        assert comparison["difference"]["estimate"] == pytest.approx(expected[0] - expected[1])
        assert comparison["comparisons"] == 2
    assert (near["shown"], same["shown"]) == (True, False)
    assert summary["verdict"][0].startswith("near decides better than far")
    assert summary["verdict"][1].startswith("No difference between same and far is shown")
    for method in summary["methods"]:
        for name, interval in method["intervals"].items():
            assert interval["estimate"] == pytest.approx(method["figures"][name])
            assert interval["low"] <= interval["estimate"] <= interval["high"]
    again = run_json(capsys, f"{words} --baseline far")
    assert again["comparisons"] == summary["comparisons"]
    other = run_json(capsys, f"{words} --baseline far --seed 5")
    assert other["comparisons"] != summary["comparisons"]
    assert len(run_json(capsys, words)["comparisons"]) == 3
    run(words)
    assert summary["verdict"][0].split(":")[0] in capsys.readouterr().out


def test_failing_where_another_is_better(folder, capsys):
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 9, (200, 3))
    for name, spread in (("new", 4.0), ("old", 0.5)):
        np.save(f"{name}.npy", true + rng.normal(size=true.shape) * spread)
    np.save("t.npy", true)
    words = f"{MODEL} --true t.npy --predicted new=new.npy --predicted old=old.npy --no-worst-case"
    summary = run_json(capsys, f"{words} --fail-if-worse-than constant")
    assert summary["thresholds"] == {"fail_above": None, "fail_if_worse_than": "constant", "missed": []}
    run(f"{words} --fail-if-worse-than new")
    assert capsys.readouterr().err == ""
    run(f"{words} --fail-if-worse-than old", code=1)
    assert capsys.readouterr().err.startswith("missed: old decides better than new: normalised regret")
    run(f"{words} --fail-if-worse-than other", code=2)
    assert "--fail-if-worse-than other: there is no such method" in capsys.readouterr().err
