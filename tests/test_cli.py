"""The command line as it is run: numbers against enumeration, exit codes, one line for everything bad."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

from imle_opt.cli import main

PROFITS = (6.0, 5.0, 8.0, 9.0, 6.0)
WEIGHTS = ((2, 3, 6, 7, 5), (4, 1, 2, 3, 2))
CAPACITIES = (11, 8)
FIXED_PROFIT = 4.5  # of the last item, whose profit is not predicted
ITEMS = ("take_0", "take_1", "take_2", "take_3")
MODEL = f"""
    import pulp

    model = pulp.LpProblem("knapsack", pulp.LpMaximize)
    items = [model.add_variable(f"take_{{i}}", cat="Binary") for i in range(5)]
    model += pulp.lpDot({PROFITS[:4]}, items[:4]) + {FIXED_PROFIT} * items[4] + 2.25
    for weights, capacity in zip({WEIGHTS}, {CAPACITIES}):
        model += pulp.lpDot(weights, items) <= capacity
"""


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(textwrap.dedent(MODEL), encoding="utf-8")
    return path


@pytest.fixture
def tables(tmp_path):
    """Predictions in steps of 3, so that ties happen; the columns of the true costs in another order."""
    rng = np.random.default_rng(5)
    true = rng.uniform(-1, 10, (20, 4))
    predicted = 3 * np.round((true + rng.normal(0, 3, true.shape)) / 3)
    paths = tmp_path / "predicted.csv", tmp_path / "true.csv"
    pd.DataFrame(predicted, columns=ITEMS).to_csv(paths[0], index=False)
    pd.DataFrame(true, columns=ITEMS)[["take_3", "take_1", "take_0", "take_2"]].to_csv(paths[1], index=False)
    return (*paths, predicted, true)


def arguments(model_file, tables, *more):
    chosen = [word for item in ITEMS for word in ("--variables", item)]
    spec = f"{model_file}:model"
    return ["regret", spec, "--predicted", str(tables[0]), "--true", str(tables[1]), *chosen, *more]


def enumerate_knapsack(predicted, true):
    """Regret, worst tie, optimum, decisions, of every row: all 32 packings are looked at."""
    packings = np.array(list(itertools.product([0, 1], repeat=5)), dtype=float)
    packings = packings[(packings @ np.array(WEIGHTS).T <= CAPACITIES).all(axis=1)]
    choices, fixed = packings[:, :4], packings[:, 4] * FIXED_PROFIT + 2.25
    for seen, real in zip(predicted @ choices.T + fixed, true @ choices.T + fixed, strict=True):
        ties = real[seen >= seen.max() - 1e-9]
        yield real.max() - ties, real.max(), choices[seen >= seen.max() - 1e-9], choices[real.argmax()]


def read_rows(path, method="predicted"):
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["method"] == method]


def figures_of(summary, place=0):
    return summary["methods"][place]["figures"]


def run_json(capsys, words):
    code = main([*words, "--json"])
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, json.loads(captured.out)


@pytest.mark.parametrize("engine", ["highs", "native"])
def test_regret_of_a_pulp_file_equals_enumeration(model_file, tables, tmp_path, capsys, engine):
    out = tmp_path / "rows.csv"
    words = arguments(model_file, tables, "--engine", engine, "--csv", str(out))
    code, summary = run_json(capsys, words)
    assert code == 0
    rows = read_rows(out)
    expected = list(enumerate_knapsack(tables[2], tables[3]))
    regrets = []
    for row, (ties, optimum, tied_choices, best) in zip(rows, expected, strict=True):
        regret = float(row["regret"])
        nearest = np.abs(ties - regret).argmin()
        assert regret == pytest.approx(ties[nearest], abs=1e-9)  # one of the ties is what a solver returns
        assert float(row["worst_case_regret"]) == pytest.approx(ties.max(), abs=1e-7)
        assert float(row["optimal_objective"]) == pytest.approx(optimum)
        assert float(row["achieved_objective"]) == pytest.approx(optimum - regret)
        assert float(row["hamming_distance"]) == np.abs(tied_choices[nearest] - best).sum()
        assert row["optimal"] == str(int(regret < 1e-9))
        assert row["predicted_status"] == row["true_status"] == "optimal"
        regrets.append(regret)
    regrets, optima = np.array(regrets), np.array([optimum for _, optimum, _, _ in expected])
    worst = np.array([ties.max() for ties, *_ in expected])
    assert (worst > regrets + 1e-6).any() or engine == "native"
    figures = {
        "normalized_regret_ratio_of_sums": regrets.sum() / optima.sum(),
        "normalized_regret_mean_of_ratios": (regrets / optima).mean(),
        "mean_regret": regrets.mean(),
        "normalized_worst_case_regret_ratio_of_sums": worst.sum() / optima.sum(),
        "normalized_worst_case_regret_mean_of_ratios": (worst / optima).mean(),
        "mean_worst_case_regret": worst.mean(),
        "optimal_share": (regrets < 1e-9).mean(),
        "mean_hamming": np.mean([float(row["hamming_distance"]) for row in rows]),
        "mse": ((tables[2] - tables[3]) ** 2).mean(),
        "mae": np.abs(tables[2] - tables[3]).mean(),
    }
    for name, figure in figures.items():
        assert figures_of(summary)[name] == pytest.approx(figure, abs=1e-7), name
    assert summary["rows"] == 20
    assert summary["model"]["sense"] == "max"
    assert summary["methods"][0]["statuses"] == {"optimal": 20}
    assert 0.02 < figures_of(summary)["normalized_regret_ratio_of_sums"] < 0.5


def test_every_table_format_gives_the_same(model_file, tables, tmp_path, capsys):
    _, expected = run_json(capsys, arguments(model_file, tables))
    np.save(tmp_path / "p.npy", tables[2])
    np.savez(tmp_path / "p.npz", costs=tables[2])
    pd.DataFrame(tables[2], columns=ITEMS).to_parquet(tmp_path / "p.parquet")
    for name in ("p.npy", "p.npz", "p.parquet"):
        _, summary = run_json(capsys, arguments(model_file, (f"predicted={tmp_path / name}", tables[1])))
        for each, other in zip(summary["methods"], expected["methods"], strict=True):
            assert each.pop("seconds") > 0
            assert each == {key: value for key, value in other.items() if key != "seconds"}


def test_variables_from_the_table(model_file, tables, capsys):
    _, expected = run_json(capsys, arguments(model_file, tables))
    words = ["regret", f"{model_file}:model", "--predicted", str(tables[0]), "--true", str(tables[1])]
    _, summary = run_json(capsys, [*words, "--variables-from-table"])
    assert figures_of(summary) == pytest.approx(figures_of(expected))
    assert main(words) == 2
    assert "lacks 'take_4'" in capsys.readouterr().err


def test_the_table_in_a_pipe_is_plain_text(model_file, tables, capsys):
    assert main(arguments(model_file, tables)) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["predicted", "constant", "oracle"]
    labels = [line.strip().split("  ")[0] for line in lines]
    assert labels[:6] == [
        "normalised regret (ratio of sums)",
        "95% interval",
        "normalised regret (mean of ratios)",
        "95% interval",
        "mean regret",
        "95% interval",
    ]
    for label in ("optimal decisions", "exact matches", "mean Hamming distance", "rows", "solver"):
        assert label in labels
    assert "worst case under ties (ratio of sums)" in labels
    assert not any("│" in line for line in lines)
    values = [line.split()[-3] for line in lines[:3:2]]
    assert [line.index(value) for line, value in zip(lines[:3:2], values, strict=True)] == [42, 42]
    assert any(line.startswith("predicted decides better than constant") for line in lines)
    assert main(arguments(model_file, tables, "--no-worst-case")) == 0
    assert "worst case" not in capsys.readouterr().out


def test_fail_above(model_file, tables, capsys):
    _, summary = run_json(capsys, arguments(model_file, tables))
    figure = figures_of(summary)["normalized_regret_ratio_of_sums"]
    assert main(arguments(model_file, tables, "--fail-above", str(figure + 1e-6))) == 0
    assert capsys.readouterr().err == ""
    assert main(arguments(model_file, tables, "--fail-above", str(figure - 1e-6))) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("missed: predicted: normalised regret (ratio of sums) is ")
    assert captured.err.count("\n") == 1
    assert "normalised regret" in captured.out
    assert main(arguments(model_file, tables, "--fail-above", "0", "--json")) == 1
    thresholds = json.loads(capsys.readouterr().out)["thresholds"]
    assert thresholds["fail_above"] == 0
    assert len(thresholds["missed"]) == 1
    assert main(arguments(model_file, tables, "--fail-above", "0", "--baseline", "predicted")) == 0
    perfect = (f"perfect={tables[1]}", tables[1])
    assert main(arguments(model_file, perfect, "--fail-above", "0")) == 0


def test_an_undefined_ratio_misses_the_threshold(tmp_path, capsys):
    (tmp_path / "m.py").write_text(
        "import numpy as np\nfrom imle_opt_solvers import FunctionSolver\n"
        "model = FunctionSolver(lambda c: (c > 0) * 1.0, 2, 'max')\n",
        encoding="utf-8",
    )
    (tmp_path / "p.csv").write_text("1.5,1\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text("-1.5,-1\n", encoding="utf-8")
    words = ["regret", f"{tmp_path / 'm.py'}:model", "--predicted", str(tmp_path / "p.csv")]
    words += ["--true", str(tmp_path / "t.csv"), "--fail-above", "0.5"]
    assert main(words) == 1
    captured = capsys.readouterr()
    assert "is undefined, above the threshold" in captured.err
    assert "note: p: the optima sum to zero: the ratio of sums is undefined" in captured.out
    assert "note: the solver (function) does not prove its optima" in captured.out


def test_rows_without_a_decision(tmp_path, capsys):
    (tmp_path / "m.py").write_text(
        "import pulp\nmodel = pulp.LpProblem('open', pulp.LpMaximize)\n"
        "x = [model.add_variable(name, 0, None) for name in 'ab']\n"
        "model += x[0] + x[1]\nmodel += x[0] - x[1] <= 1\nmodel += x[0] <= 7\n",
        encoding="utf-8",
    )
    (tmp_path / "p.csv").write_text("b,a\n-1,2\n1,1\n-3,1\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text("b,a\n-1,2\n-1,1\n-0.5,1\n", encoding="utf-8")
    words = ["regret", f"{tmp_path / 'm.py'}:model", "--predicted", str(tmp_path / "p.csv")]
    words += ["--true", str(tmp_path / "t.csv")]
    assert main(words) == 2
    assert (
        "With the predicted costs of 'p': 1 of 2 rows have no proven optimum (row 1: unbounded)"
        in capsys.readouterr().err
    )
    out = tmp_path / "rows.csv"
    code, summary = run_json(capsys, [*words, "--on-failure", "skip", "--csv", str(out)])
    assert code == 0
    failure = {"method": "p", "seed": "0", "row": 1, "status": "unbounded"}
    assert summary["failures"] == [failure]
    assert summary["methods"][0]["statuses"] == {"optimal": 2, "unbounded": 1}
    assert "p: no decision in 1 row (row 1): left out of its figures" in summary["notes"]
    rows = read_rows(out, "p")
    assert rows[1]["regret"] == ""
    assert rows[1]["predicted_status"] == "unbounded"
    # True costs (-0.5, 1): (6, 7) earns 4; predicted (-3, 1) stops at (0, 1), which earns 1.
    assert float(rows[2]["regret"]) == pytest.approx(3)


def test_a_grid_path(tmp_path, capsys):
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 9, (6, 5, 5))
    np.save(tmp_path / "t.npy", true)
    np.save(tmp_path / "p.npy", true * rng.uniform(0.3, 3, true.shape))
    words = [
        "regret",
        "grid-path:5x5",
        "--predicted",
        str(tmp_path / "p.npy"),
        "--true",
        str(tmp_path / "t.npy"),
    ]
    code, summary = run_json(capsys, words)
    assert code == 0
    assert 0 < figures_of(summary)["normalized_regret_ratio_of_sums"] < 1
    assert summary["model"]["engine"].startswith("kernel")
    assert summary["notes"] == []
    true[4, 1, 2] = -1
    np.save(tmp_path / "p.npy", true)
    assert main(words) == 2
    wrong = capsys.readouterr().err
    assert "With the predicted costs of 'p' in rows 1 to 5, counted here from the first of them: " in wrong
    assert "row 3, entry 7" in wrong


def bad_inputs(folder):
    good = folder / "good.csv"
    good.write_text("take_0,take_1,take_2,take_3,take_4\n1,2,3,4,5\n2,3,4,5,6\n", encoding="utf-8")
    (folder / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    (folder / "infeasible.py").write_text(
        "import pulp\nmodel = pulp.LpProblem('none')\nx = model.add_variable('x', 0, 1)\n"
        "model += 2 * x\nmodel += x >= 2, 'floor'\n",
        encoding="utf-8",
    )
    for name, text in {
        "short.csv": "take_0,take_1,take_2,take_3,take_4\n1,2,3,4,5\n",
        "hole.csv": "take_0,take_1,take_2,take_3,take_4\n1,2,3,4,5\n1,2,,4,5\n",
        "word.csv": "take_0,take_1,take_2,take_3,take_4\n1,2,three,4,5\n2,3,4,5,6\n",
        "other.csv": "take_0,take_1,take_2,take_3,price\n1,2,3,4,5\n2,3,4,5,6\n",
        "twice.csv": "take_0,take_1,take_2,take_3,take_3\n1,2,3,4,5\n2,3,4,5,6\n",
        "empty.csv": "",
        "x.csv": "x\n1\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return good


@pytest.mark.parametrize(
    ("model", "predicted", "more", "message"),
    [
        ("model.py:model", "missing.csv", [], "missing.csv: no such file"),
        ("model.py:model", "short.csv", [], "short.csv has 1 rows and"),
        ("model.py:model", "hole.csv", [], "hole.csv, line 3, column 'take_2': the cell is missing"),
        ("model.py:model", "word.csv", [], "line 2, column 'take_2': 'three' is not a number"),
        ("model.py:model", "other.csv", [], "lacks 'take_4' and has unknown 'price'"),
        ("model.py:model", "twice.csv", [], "names 'take_3' more than once"),
        ("model.py:model", "empty.csv", [], "empty.csv: the file is empty"),
        ("model.py:model", "good.csv", ["--variables", "nothing"], "'nothing', which is not a variable"),
        ("model.py:model", "good.csv", ["--engine", "abacus"], "`engine` must be"),
        ("model.py:model", "good.csv", ["--seconds", "-1"], "`seconds` must be positive"),
        ("model.py:model", "good.csv", ["--relative-gap", "2"], "`relative_gap` must lie in"),
        ("model.py:model", "good.csv", ["--fail-above", "nan"], "--fail-above must be a number"),
        ("model.py:model", "good.csv", ["--fail-above", "much"], "--fail-above"),
        ("model.py:model", "good.csv", ["--csv", "no/where.csv"], "--csv no/where.csv must name a file"),
        ("model.py:model", "good.csv", ["--csv", "."], "--csv . must name a file in a folder that exists"),
        ("model.py:model", "good.csv", ["--variables-from-table", "--variables", "x"], "give one of them"),
        ("model.py:model", "good.csv", ["--on-failure", "cry"], "cry"),
        ("model.py:model", "good.csv", ["--what"], "--what"),
        ("model.py:other", "good.csv", [], "has no 'other'. It has "),
        ("model.py", "good.csv", [], "write model.py:name"),
        ("missing.py:model", "good.csv", [], "missing.py: no such file"),
        ("missing.mps", "good.csv", [], "missing.mps"),
        ("good.csv", "good.csv", [], "is none of: a model file"),
        ("broken.py:model", "good.csv", [], "No module named 'no_such_package'"),
        ("infeasible.py:model", "x.csv", [], "infeasible"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(model_file, tmp_path, monkeypatch, capsys, model, predicted, more, message):
    bad_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    true = "x.csv" if predicted == "x.csv" else "good.csv"
    assert main(["regret", model, "--predicted", predicted, "--true", true, *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert message in captured.err


def test_a_wrong_sense_is_bad_input(tmp_path, capsys):
    (tmp_path / "m.py").write_text(
        "import numpy as np\nfrom imle_opt_solvers import FunctionSolver\n"
        "model = FunctionSolver(lambda c: np.eye(3)[c.argmin()], 3, 'max')\n",
        encoding="utf-8",
    )
    (tmp_path / "p.csv").write_text("1,2,3\n3,2,1\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text("1,2,3\n1,2,4\n", encoding="utf-8")
    words = ["regret", f"{tmp_path / 'm.py'}:model", "--predicted", str(tmp_path / "p.csv")]
    assert main([*words, "--true", str(tmp_path / "t.csv")]) == 2
    captured = capsys.readouterr()
    assert "a wrong `sense`" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("words", [["nonsense"], ["regret"], ["--nonsense"], ["doctor", "--nonsense"]])
def test_usage_errors_end_with_2(capsys, words):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 2
    assert "regret" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("imle-opt 0")


def test_a_bug_is_no_missed_threshold(monkeypatch, capsys):
    import imle_opt.cli.doctor_command as doctor

    def fail(**_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(doctor, "run_doctor", fail)
    assert main(["doctor"]) == 3
    assert "RuntimeError: a bug" in capsys.readouterr().err


def test_help_and_regret_load_no_torch(model_file, tables):
    words = arguments(model_file, tables)
    for line in (["--help"], ["--version"], ["regret", "--help"], words):
        code = (
            "import sys; from imle_opt.cli import main\n"
            f"code = main({line!r})\n"
            "assert code == 0, code\n"
            "assert 'torch' not in sys.modules\n"
            "assert 'pandas' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_installed_command_answers():
    command = [
        sys.executable,
        "-m",
        "imle_opt.cli",
        "regret",
        "nothing",
        "--predicted",
        "p.csv",
        "--true",
        "t.csv",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: MODEL 'nothing' is none of")
    assert "Traceback" not in done.stderr


def test_interrupting(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom imle_opt_solvers import FunctionSolver\n"
        "def slow(costs):\n    open('started', 'w').close()\n    time.sleep(30)\n    return costs\n"
        "model = FunctionSolver(slow, 2, 'min')\n",
        encoding="utf-8",
    )
    (tmp_path / "t.csv").write_text("1,2\n", encoding="utf-8")
    words = ["regret", "slow.py:model", "--predicted", "t.csv", "--true", "t.csv"]
    process = subprocess.Popen(
        [sys.executable, "-m", "imle_opt.cli", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted: nothing was written. With --resume DIR, what is solved is kept.\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_table_and_a_progress_bar(tmp_path):
    """On a terminal the result has borders, and a bar appears after a second and goes away."""
    (tmp_path / "slow.py").write_text(
        "import time\nimport numpy as np\nfrom imle_opt_solvers import FunctionSolver\n"
        "def slow(costs):\n    time.sleep(0.1)\n    return np.eye(2)[costs.argmin()]\n"
        "model = FunctionSolver(slow, 2, 'min')\n",
        encoding="utf-8",
    )
    (tmp_path / "t.csv").write_text("".join(f"{row},3\n" for row in range(8)), encoding="utf-8")
    (tmp_path / "p.csv").write_text("".join(f"{row},2\n" for row in range(8)), encoding="utf-8")
    words = ["regret", "slow.py:model", "--predicted", "p.csv", "--true", "t.csv"]
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "imle_opt.cli", *words],
        cwd=tmp_path, stdout=slave, stderr=slave, stdin=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait(timeout=30) == 0
    text = shown.decode()
    assert "solving" in text
    assert "│" in text
    assert "normalised regret (ratio of sums)" in text


def test_progress_does_not_change_the_answers():
    from imle_opt.cli.progress import ProgressSolver
    from imle_opt_solvers import FunctionSolver

    inner = FunctionSolver(lambda costs: np.eye(3)[costs.argmin()], 3, "min")
    counted = []
    costs = np.random.default_rng(0).normal(size=(70, 3))
    solution = ProgressSolver(inner, counted.append).solve(costs)
    expected = inner.solve(costs)
    np.testing.assert_array_equal(solution.decisions, expected.decisions)
    np.testing.assert_array_equal(solution.objectives, expected.objectives)
    assert solution.statuses == expected.statuses
    assert sum(counted) == 70
    assert len(counted) > 3


@pytest.fixture(scope="module")
def doctor():
    done = subprocess.run(
        [sys.executable, "-m", "imle_opt.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_the_doctor_finds_every_required_solver(doctor):
    code, report, errors = doctor
    findings = {finding["name"]: finding for finding in report["solvers"]}
    broken = {
        name: each["problem"] for name, each in findings.items() if each["required"] and not each["answers"]
    }
    assert broken == {}
    assert code == 0
    assert report["healthy"] is True
    assert errors == ""
    assert all(each["seconds"] > 0 for each in findings.values() if each["answers"])
    assert {"HiGHS", "PuLP CBC", "cvxpy CLARABEL", "OR-Tools CP-SAT", "OR-Tools MathOpt"} <= findings.keys()
    assert report["versions"]["numpy"] == np.__version__
    assert report["versions"]["torch"]
    pools = {(each["name"], each["backend"]): each for each in report["pools"]}
    assert {backend for _, backend in pools} == {"thread", "process"}
    for each in pools.values():
        assert each["answers"], each["problem"]
        assert each["start_seconds"] > 0
        assert each["call_seconds"] >= 0
    assert pools["kernels: shortest path", "thread"]["inline_below"] > 1


def test_the_doctor_survives_a_broken_solver(monkeypatch, capsys):
    import imle_opt.cli.doctor_command as command
    from imle_opt.cli.doctor_checks import CHECKS, Check
    from imle_opt.cli.doctor_pools import PoolCheck

    def broken():
        raise ImportError("undefined symbol\nin libhighs.so.1")

    wrong = Check("wrong", CHECKS[0].make, optimum=8.0)
    monkeypatch.setattr(command, "CHECKS", (Check("broken", broken), wrong, CHECKS[0]))
    pool = PoolCheck(wrong, "thread")
    monkeypatch.setattr(command, "POOL_CHECKS", (pool, PoolCheck(Check("none", broken), "thread")))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "ImportError: undefined symbol in libhighs.so.1" in captured.out
    assert captured.out.count("it finds 7 where the optimum is 8") == 2
    assert captured.out.count("undefined symbol") == 2
    assert captured.err.startswith("missed: these solvers are required and do not answer: broken, wrong.")
    monkeypatch.setattr(command, "CHECKS", (Check("broken", broken, required=False), CHECKS[0]))
    monkeypatch.setattr(command, "POOL_CHECKS", ())
    assert main(["doctor"]) == 0
    assert "no (optional)" in capsys.readouterr().out
