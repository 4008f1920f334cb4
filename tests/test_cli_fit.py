"""`imle-opt fit`, `predict` and `solve` as they are run: from two tables to a verdict, and everything bad."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imle_opt.cli import main

WEIGHTS = (2, 3, 6, 7, 5)
CAPACITY = 11
ITEMS = tuple(f"take_{i}" for i in range(5))
MPS = f"""NAME knapsack
OBJSENSE
    MAX
ROWS
 N value
 L weight
COLUMNS
    MARKER 'MARKER' 'INTORG'
{"".join(f"    take_{i} value 1 weight {WEIGHTS[i]}{chr(10)}" for i in range(5))}\
    MARKER 'MARKER' 'INTEND'
RHS
    RHS weight {CAPACITY}
BOUNDS
{"".join(f" BV BND {name}{chr(10)}" for name in ITEMS)}ENDATA
"""
PACKINGS = np.array([z for z in itertools.product([0, 1], repeat=5) if np.dot(z, WEIGHTS) <= CAPACITY])


def make_tables(folder, rows=60, seed=0):
    """Write the tables; the second half of the features is noise, the columns of the costs are reversed."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 4))
    mixing = np.random.default_rng(99).normal(size=(2, 5))
    costs = 100 * np.exp(0.6 * features[:, :2] @ mixing + 0.1 * rng.normal(size=(rows, 5)))
    pd.DataFrame(features, columns=["wind", "sun", "load", "price"]).to_csv(folder / "x.csv", index=False)
    pd.DataFrame(costs[:, ::-1], columns=ITEMS[::-1]).to_csv(folder / "c.csv", index=False)
    pd.DataFrame(best(costs), columns=ITEMS).to_csv(folder / "z.csv", index=False)
    return features, costs


def best(costs):
    return PACKINGS[(costs @ PACKINGS.T).argmax(axis=1)]


def regret_by_enumeration(predicted, true):
    optimal = (true * best(true)).sum()
    return (optimal - (true * best(predicted)).sum()) / optimal


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "knapsack.mps").write_text(MPS, encoding="utf-8")
    return tmp_path


def read(path):
    return pd.read_csv(path)[list(ITEMS)].to_numpy()


FIT = "fit knapsack.mps --features x.csv --out fitted"
QUICK = "--epochs 2 --samples 1"


def run(words):
    return main(words.split())


def reported(folder):
    report = json.loads((folder / "fitted" / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "imle-opt/fit/1"
    if "overlap" in report:
        return {each["name"]: each for each in report["overlap"]}
    return {each["name"]: each["figures"] for each in report["evaluation"]["methods"]}


README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
WALK = README.partition("[start:walk]")[2].partition("[end:walk]")[0]


def test_three_commands_from_two_tables_to_a_verdict(folder, capsys):
    """Those of the README, on a problem of our own."""
    make_tables(folder)
    (folder / "x.csv").rename("features.csv")
    (folder / "c.csv").rename("costs.csv")
    fit, predict, regret = re.findall(r"^\$ imle-opt (.*)$", WALK, re.MULTILINE)
    assert run(fit) == 0
    printed = capsys.readouterr()
    for line in WALK.partition("--out fitted\n")[2].partition("$ imle-opt")[0].splitlines():
        assert line.split("  ")[0].partition(":")[0] in printed.out, "the README shows other lines"
    assert run(predict) == 0
    capsys.readouterr()
    assert run(f"{regret} --json") == 0
    method, two_stage, _ = json.loads(capsys.readouterr().out)["methods"]
    verdict = method["figures"]["normalized_regret_ratio_of_sums"]
    baseline = two_stage["figures"]["normalized_regret_ratio_of_sums"]
    true = read("fitted/held-out/costs.csv")
    assert verdict == pytest.approx(regret_by_enumeration(read("predicted.csv"), true), abs=1e-9)

    # What fit reported itself is the same, by enumeration too, and better than constant costs.
    figures = reported(folder)
    for method in ("explicit-mle", "two-stage"):
        predicted = read(f"fitted/held-out/{method}.csv")
        share = figures[method]["normalized_regret_ratio_of_sums"]
        assert share == pytest.approx(regret_by_enumeration(predicted, true), abs=1e-9)
    assert list(figures) == ["explicit-mle", "two-stage", "constant"]
    assert baseline == pytest.approx(figures["two-stage"]["normalized_regret_ratio_of_sums"])
    assert verdict == pytest.approx(figures["explicit-mle"]["normalized_regret_ratio_of_sums"])
    assert verdict < 0.5 * figures["constant"]["normalized_regret_ratio_of_sums"]
    assert printed.err == ""
    assert "two-stage" in printed.out
    assert "36 to train, 12 to watch, 12 held out" in printed.out

    written = sorted(path.name for path in (folder / "fitted").iterdir())
    assert written == [
        "held-out",
        "log.jsonl",
        "predictor.json",
        "predictor.safetensors",
        "report.html",
        "report.json",
    ]
    page = (folder / "fitted" / "report.html").read_text(encoding="utf-8")
    assert "two-stage" in page
    log = [json.loads(line) for line in (folder / "fitted" / "log.jsonl").read_text("utf-8").splitlines()]
    trained = [entry for entry in log if entry["method"] == "explicit-mle"]
    assert [entry["epoch"] for entry in trained] == list(range(1, len(trained) + 1))
    assert {"loss", "validation", "seconds", "solver_seconds"} <= trained[0].keys()


def test_without_plotly_there_is_no_page_and_a_note_says_why(folder, monkeypatch, capsys):
    make_tables(folder)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert run(f"{FIT} --costs c.csv {QUICK}") == 0
    assert "report.html was not written: The HTML report needs plotly" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not (folder / "fitted" / "report.html").exists()
    assert (folder / "fitted" / "report.json").exists()


def test_held_out_rows_are_rows_of_the_tables_that_no_training_saw(folder):
    make_tables(folder)
    assert run(f"{FIT} --costs c.csv {QUICK} --split order --method mse") == 0
    np.testing.assert_array_equal(read("fitted/held-out/costs.csv"), read("c.csv")[48:])
    changed = pd.read_csv("c.csv")
    changed.iloc[48:] *= -1
    changed.to_csv("c.csv", index=False)
    assert (
        run("fit knapsack.mps --features x.csv --out other --costs c.csv --split order --method mse " + QUICK)
        == 0
    )
    first, other = (pd.read_csv(f"{name}/held-out/mse.csv") for name in ("fitted", "other"))
    pd.testing.assert_frame_equal(first, other)


def test_two_stage_on_a_linear_rule_predicts_its_costs(folder):
    """In units, order of columns and level; squared error must find the rule itself."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 2)) * [1, 1e4] + [5, -1e5]
    costs = 1e3 + 100 * ((x - [5, -1e5]) / [1, 1e4]) @ rng.normal(size=(2, 5))
    pd.DataFrame(x, columns=["a", "b"]).to_csv("x.csv", index=False)
    pd.DataFrame(costs, columns=ITEMS).to_csv("c.csv", index=False)
    words = "--costs c.csv --method mse --epochs 30 --patience 30 --learning-rate 0.05 --test-share 0"
    assert run(f"{FIT} {words}") == 0
    pd.DataFrame(x[:, ::-1], columns=["b", "a"]).to_csv("swapped.csv", index=False)
    assert run("predict fitted --features swapped.csv --out p.csv") == 0
    predicted = read("p.csv")
    assert regret_by_enumeration(predicted, costs) < 0.001
    error = np.square(predicted - costs).mean() / np.square(costs - costs.mean(axis=0)).mean()
    assert error < 0.2


@pytest.mark.parametrize("method", ["explicit-mle", "imle", "blackbox"])
def test_learning_from_decisions_alone(folder, capsys, method):
    make_tables(folder)
    assert run(f"{FIT} --solutions z.csv --method {method} --epochs 20 --samples 2 --learning-rate 0.03") == 0
    figures = reported(folder)
    assert set(figures) == {method, "constant"}
    known = read("fitted/held-out/solutions.csv")
    decided = best(read(f"fitted/held-out/{method}.csv"))
    share = (known == decided).all(axis=1).mean()
    assert figures[method]["exact_match_share"] == pytest.approx(share)
    assert figures[method]["difference"] == pytest.approx(
        np.abs(known - decided).sum() / (known + decided).sum()
    )
    assert figures[method]["difference"] < figures["constant"]["difference"]


@pytest.mark.parametrize("method", ["imle", "blackbox", "spo+", "fenchel-young"])
def test_every_method_beats_constant_costs(folder, method):
    make_tables(folder, rows=150)
    assert run(f"{FIT} --costs c.csv --method {method} --epochs 12 --samples 2") == 0
    figures = reported(folder)
    constant = figures["constant"]["normalized_regret_ratio_of_sums"]
    assert figures[method]["normalized_regret_ratio_of_sums"] < 0.6 * constant


def start(words, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "imle_opt.cli", *words.split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_saves_and_the_same_command_goes_on_to_the_same_end(folder, capsys):
    make_tables(folder, rows=30)
    words = "--costs c.csv --epochs 12 --patience 12 --samples 1 --batch-size 12"
    process = start(f"{FIT} {words}", folder)
    log, deadline = folder / "fitted" / "log.jsonl", time.monotonic() + 60
    while not (log.is_file() and len(log.read_text("utf-8").splitlines()) >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert err.startswith("interrupted: Saved after epoch ")
    assert len(err.splitlines()) == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not (folder / "fitted" / "predictor.json").exists()
    assert run("predict fitted --features x.csv --out p.csv") == 2
    assert "that was interrupted" in capsys.readouterr().err

    assert run(f"{FIT} {words} --temperature 0.7") == 2
    assert "temperature was 0.5 and is 0.7" in capsys.readouterr().err
    assert run(f"{FIT} {words}") == 0
    assert run(f"fit knapsack.mps --features x.csv --out whole {words}") == 0
    for name in (
        "predictor.safetensors",
        "predictor.json",
        "held-out/explicit-mle.csv",
        "held-out/two-stage.csv",
    ):
        assert (folder / "fitted" / name).read_bytes() == (folder / "whole" / name).read_bytes(), name
    logs = [
        [
            [entry["method"], entry["epoch"], entry["loss"], entry["validation"]]
            for entry in map(json.loads, lines)
        ]
        for lines in (
            (folder / name / "log.jsonl").read_text("utf-8").splitlines() for name in ("fitted", "whole")
        )
    ]
    assert logs[0] == logs[1]


def test_solve_writes_decisions_and_statuses(folder, capsys):
    _, costs = make_tables(folder, rows=7)
    assert run("solve knapsack.mps --costs c.csv --out d.csv --status s.csv") == 0
    np.testing.assert_array_equal(read("d.csv"), best(costs))
    with Path("s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [str(row) for row in range(7)]
    assert {row["status"] for row in rows} == {"optimal"}
    np.testing.assert_allclose([float(row["objective"]) for row in rows], (costs * best(costs)).sum(1))
    assert capsys.readouterr().out == "d.csv: 7 decisions (7 optimal)\n"


@pytest.mark.parametrize("ending", ["parquet", "npy", "npz", "csv"])
def test_every_format_goes_round(folder, ending):
    make_tables(folder, rows=5)
    assert run(f"solve knapsack.mps --costs c.csv --out d.{ending}") == 0
    assert (
        run(f"fit knapsack.mps --features x.csv --solutions d.{ending} --test-share 0 --out fitted {QUICK}")
        == 0
    )
    assert run(f"predict fitted --features x.csv --out p.{ending}") == 0
    assert run(f"solve knapsack.mps --costs p.{ending} --out e.csv") == 0


def test_rows_that_fail_are_named(folder, capsys):
    (folder / "infeasible.lp").write_text(
        "max\n a + b\nst\n a + b <= 1\n a + b >= 2\nend\n", encoding="utf-8"
    )
    pd.DataFrame([[1.0, 2.0], [2.0, 1.0]], columns=["a", "b"]).to_csv("c.csv", index=False)
    assert run("solve infeasible.lp --costs c.csv --out d.csv") == 2
    assert "2 of 2 rows have no proven optimum" in capsys.readouterr().err
    assert not (folder / "d.csv").exists()
    assert run("solve infeasible.lp --costs c.csv --out d.csv --status s.csv --on-failure nan") == 0
    captured = capsys.readouterr()
    assert captured.out == "d.csv: 2 decisions (2 infeasible)\n"
    assert "row 0, 1 (counted from 0)" in captured.err
    assert (folder / "d.csv").read_text(encoding="utf-8").splitlines() == ["a,b", ",", ","]
    assert (folder / "s.csv").read_text(encoding="utf-8").splitlines()[1] == "0,infeasible,,"


def test_solving_loads_no_torch_and_predicting_no_solver(folder):
    make_tables(folder, rows=20)
    assert run(f"{FIT} --costs c.csv --method mse {QUICK} --test-share 0") == 0
    code = """
import sys
from imle_opt.cli import main
assert main(sys.argv[2:]) == 0
assert not set(sys.argv[1].split(",")) & set(sys.modules), sorted(sys.modules)
"""
    for absent, words in (
        ("torch,sklearn,pandas", "solve knapsack.mps --costs c.csv --out d.csv"),
        ("highspy,numba,ortools,pulp,sklearn,pandas", "predict fitted --features x.csv --out p.csv"),
    ):
        command = [sys.executable, "-c", code, absent, *words.split()]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_large_table_is_solved_in_blocks_whose_rows_are_counted_through(folder, capsys, monkeypatch):
    monkeypatch.setattr("imle_opt.tables._BLOCK_BYTES", 3 * 5 * 8)  # three rows of five costs
    _, costs = make_tables(folder, rows=7)
    for ending in ("csv", "parquet", "npy"):
        assert run(f"solve knapsack.mps --costs c.csv --out d.{ending} --status s.csv") == 0
    np.testing.assert_array_equal(read("d.csv"), best(costs))
    np.testing.assert_array_equal(pd.read_parquet("d.parquet")[list(ITEMS)].to_numpy(), best(costs))
    np.testing.assert_array_equal(np.load("d.npy"), pd.read_csv("d.csv").to_numpy())
    assert pd.read_csv("s.csv")["row"].tolist() == list(range(7))

    (folder / "one.py").write_text(FAILING, encoding="utf-8")
    np.save("c.npy", np.r_[np.zeros((16, 2)), [[2.0, 0.0]], np.zeros((3, 2))])
    capsys.readouterr()
    assert run("solve one.py:model --costs c.npy --out e.csv --on-failure nan") == 0
    assert "row 16 (counted from 0)" in capsys.readouterr().err
    assert run("solve one.py:model --costs c.npy --out f.csv") == 2
    assert "1 of 6 rows have no proven optimum (row 16: " in capsys.readouterr().err
    assert sorted(path.name for path in folder.glob("*f.*")) == []


FAILING = """
import numpy as np
from imle_opt_solvers import Sense, Solution, Solver, Status, Traits

class Fails(Solver):
    def solve_rows(self, costs, instances, deterministic):
        statuses = tuple(Status.LIMIT if row[0] > 1 else Status.OPTIMAL for row in costs)
        decisions = np.where(costs[:, :1] > 1, np.nan, costs * 0)
        return Solution(decisions, decisions.sum(1), statuses, np.zeros(len(costs)), 0.0)

model = Fails((2,), Sense.MAX, Traits())
"""


def spoil(path, row, column, value):
    table = pd.read_csv(path, dtype=object)
    table.loc[row, column] = value
    table.to_csv(path, index=False)


def shorten(path):
    pd.read_csv(path).iloc[:-1].to_csv(path, index=False)


BROKEN = """
from imle_opt_solvers import FunctionSolver

def solve(costs):
    return costs / (1.0 / 0)

model = FunctionSolver(solve, 5, "max")
"""
BAD = {
    "neither": (None, FIT, "Give --costs, true costs, or --solutions"),
    "both": (None, f"{FIT} --costs c.csv --solutions z.csv", "both were given"),
    "mse of solutions": (
        None,
        f"{FIT} --solutions z.csv --method mse",
        "'mse' learns from costs, and solutions were given: give costs, or use 'explicit-mle'",
    ),
    "method": (None, f"{FIT} --costs c.csv --method svm", "`method` must be one of"),
    "missing": (
        lambda: spoil("x.csv", 3, "sun", None),
        f"{FIT} --costs c.csv",
        "line 5, column 'sun': the cell is missing",
    ),
    "text": (lambda: spoil("x.csv", 3, "sun", "north"), f"{FIT} --costs c.csv", "'north' is not a number"),
    "rows": (lambda: shorten("x.csv"), f"{FIT} --costs c.csv", "x.csv has 59 rows and c.csv has 60"),
    "columns": (
        lambda: pd.read_csv("c.csv").rename(columns={"take_1": "take_9"}).to_csv("c.csv", index=False),
        f"{FIT} --costs c.csv",
        "lacks 'take_1' and has unknown 'take_9'",
    ),
    "repeated": (
        lambda: Path("x.csv").write_text("a,a\n" + 60 * "1,2\n", encoding="utf-8"),
        f"{FIT} --costs c.csv",
        "names 'a' more than once",
    ),
    "not 0 or 1": (
        lambda: spoil("z.csv", 3, "take_0", 0.5),
        f"{FIT} --solutions z.csv --method imle --epochs 1",
        "learns from solutions of 0 and 1, and 1 of 60 rows have others (first row 3",
    ),
    "shares": (None, f"{FIT} --costs c.csv --validation-share 0.6 --test-share 0.4", "leaves no rows"),
    "epochs": (None, f"{FIT} --costs c.csv --epochs 0", "`epochs` must be at least 1"),
    "learning rate": (None, f"{FIT} --costs c.csv --learning-rate -1", "`learning_rate` must be positive"),
    "diverges": (None, f"{FIT} --costs c.csv --method mse --learning-rate 1e200", "lower the learning rate"),
    "out": (lambda: Path("fitted").touch(), f"{FIT} --costs c.csv", "--out fitted: cannot be made"),
    "no predictor": (None, "predict . --features x.csv --out p.csv", "holds no predictor.json"),
    "ending": (None, "solve knapsack.mps --costs c.csv --out d.xls", "--out d.xls: cannot tell the format"),
    "failing code": (
        lambda: Path("own.py").write_text(BROKEN, encoding="utf-8"),
        "solve own.py:model --costs c.csv --out d.csv",
        "own.py:model fails in line 5 of own.py: ZeroDivisionError: float division by zero",
    ),
    "failing code in a fit": (
        lambda: Path("own.py").write_text(BROKEN, encoding="utf-8"),
        "fit own.py:model --features x.csv --costs c.csv --out fitted --epochs 1",
        "own.py:model fails in line 5 of own.py: ZeroDivisionError: float division by zero",
    ),
    "folder": (None, "solve knapsack.mps --costs c.csv --out no/d.csv", "the folder no does not exist"),
    "status": (
        None,
        "solve knapsack.mps --costs c.csv --out d.csv --status no/s.csv",
        "the folder no does not",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_line_and_code_2(folder, capsys, case):
    make_tables(folder)
    change, words, message = BAD[case]
    if change is not None:
        change()
    assert run(words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_finished_fit_is_not_replaced_unasked(folder, capsys):
    make_tables(folder)
    assert run(f"{FIT} --costs c.csv --method mse {QUICK}") == 0
    assert run(f"{FIT} --costs c.csv --method mse {QUICK}") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(f"{FIT} --solutions z.csv {QUICK} --overwrite") == 0
    assert not (folder / "fitted" / "held-out" / "costs.csv").exists()
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("all of it", encoding="utf-8")
    assert run(f"fit knapsack.mps --features x.csv --costs c.csv --out mine {QUICK} --overwrite") == 2
    assert "not empty" in capsys.readouterr().err


def test_features_of_prediction_are_checked(folder, capsys):
    make_tables(folder)
    assert run(f"{FIT} --costs c.csv --method mse {QUICK} --test-share 0") == 0
    table = pd.read_csv("x.csv")
    table.drop(columns="sun").to_csv("few.csv", index=False)
    np.save("narrow.npy", table.to_numpy()[:, :3])
    capsys.readouterr()
    assert run("predict fitted --features few.csv --out p.csv") == 2
    assert "lacks 'sun'. The predictor's features are 'wind', 'sun'" in capsys.readouterr().err
    assert run("predict fitted --features narrow.npy --out p.csv") == 2
    assert "3 columns and the predictor takes 4 features" in capsys.readouterr().err


def test_constant_features_have_no_effect_whatever_they_become(folder, capsys):
    make_tables(folder)
    table = pd.read_csv("x.csv")
    table["load"] = 0.1
    table.to_csv("x.csv", index=False)
    assert run(f"{FIT} --costs c.csv {QUICK} --predictor mlp --hidden 4") == 0
    assert "without effect: load" in capsys.readouterr().out
    table["load"] = 1e6
    table.to_csv("y.csv", index=False)
    assert run("predict fitted --features x.csv --out p.csv") == 0
    assert run("predict fitted --features y.csv --out q.csv") == 0
    assert (folder / "p.csv").read_text() == (folder / "q.csv").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: "{", "cannot be read as JSON"),
        (lambda spec: "[]", "is not a predictor"),
        (lambda spec: json.dumps({**spec, "version": 99}), "has version 99"),
        (lambda spec: json.dumps({**spec, "kind": "forest"}), "'forest' is none of linear, mlp"),
        (lambda spec: json.dumps({**spec, "num_features": 3}), "does not belong to the predictor.json"),
        (lambda spec: json.dumps({key: value for key, value in spec.items() if key != "shape"}), "'shape'"),
    ],
)
def test_a_predictor_that_was_tampered_with_is_refused(folder, capsys, change, message):
    make_tables(folder)
    assert run(f"{FIT} --costs c.csv --method mse {QUICK} --test-share 0") == 0
    path = folder / "fitted" / "predictor.json"
    path.write_text(change(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    capsys.readouterr()
    assert run("predict fitted --features x.csv --out p.csv") == 2
    assert message in capsys.readouterr().err
