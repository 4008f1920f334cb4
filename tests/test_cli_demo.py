"""`imle-opt demo`: a tiny run that is real, and exit codes with a demo that only pretends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import imle_opt.cli.demo_command as command
from imle_opt.cli import main


@pytest.fixture
def pretended(monkeypatch):
    calls = []

    def run_demo(**options):
        calls.append(options)
        return SimpleNamespace(target_met=options["seed"] == 0)

    monkeypatch.setattr(command, "run_demo", run_demo)
    return calls


def test_options_reach_the_demo(pretended):
    assert main(["demo"]) == 0
    assert main(["demo", "--out", "x.html", "--epochs", "3", "--maps", "7", "--test-maps", "5"]) == 0
    assert main(["demo", "--no-report", "--quick", "--maps", "9"]) == 0
    assert pretended == [
        {"out": Path("report.html"), "seed": 0},
        {"out": Path("x.html"), "seed": 0, "epochs": 3, "maps": 7, "test_maps": 5},
        {"out": None, "seed": 0, "epochs": 2, "maps": 9, "test_maps": 50},
    ]


def test_a_missed_target_ends_with_1(pretended, capsys):
    assert main(["demo", "--seed", "1"]) == 1
    assert capsys.readouterr().err.startswith("missed: ")
    assert main(["demo", "--seed", "1", "--quick"]) == 0
    assert capsys.readouterr().err == ""


def test_a_tiny_demo(tmp_path, capsys):
    out = tmp_path / "report.html"
    words = ["demo", "--quick", "--epochs", "1", "--maps", "24", "--test-maps", "8", "--out", str(out)]
    assert main(words) == 0
    assert "8 test maps" in capsys.readouterr().out
    assert out.stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--maps", "0"], "maps"),
        (["--epochs", "-1"], "epochs"),
        (["--out", "no/such/folder/r.html"], "folder"),
        (["--maps", "many"], "--maps"),
    ],
)
def test_bad_options_are_one_line(words, message, capsys):
    assert main(["demo", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert message in captured.err
