"""The benchmark of estimators: every estimator and layer on every toy, and the tables that the docs show."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from imle_opt.families.capabilities import METHODS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    threads = torch.get_num_threads()
    yield importlib.import_module("estimators")
    torch.set_num_threads(threads)


def test_every_method_is_in_the_tables_of_the_toys_that_allow_it(script):
    for toy in script.TOYS:
        shown = {row.name.removeprefix("pathwise(").split("(")[0] for row in script.rows_of(toy)}
        losses = {
            "ExplicitMLE",
            "FenchelYoung",
            "SPOPlus",
            "StructuredHinge",
            "DirectionalGradient",
            "pathwise",
        }
        assert shown == {name for name, needs in METHODS.items() if isinstance(toy.family, needs)} - losses


def test_rows_are_saved_and_the_tables_drawn_from_them(script, tmp_path, monkeypatch, capsys):
    results = tmp_path / "rows.jsonl"
    monkeypatch.setattr(script, "TOYS", script.TOYS[:1])
    monkeypatch.setattr(script, "tuned", lambda estimator, toy: estimator)
    monkeypatch.setattr(sys, "argv", ["estimators", "--replicates", "300", "--results", str(results)])
    script.main()
    first, saved = capsys.readouterr().out, results.read_text()
    assert json.loads(saved.splitlines()[1])["key"]["replicates"] == 300
    script.main()
    assert results.read_text() == saved
    assert first.endswith(capsys.readouterr().out)


def test_the_docs_show_every_row_and_unbiased_ones_are(script):
    runs = script.Runs(script.RESULTS / "estimators.jsonl").read()
    saved = {(run["key"]["toy"], run["key"]["estimator"]) for run in runs if "toy" in run["key"]}
    assert saved == {(toy.name, row.name) for toy in script.TOYS for row in script.rows_of(toy)}
    assert script.text(runs) == script.TABLES.read_text(encoding="utf-8")
    unbiased = [run for run in runs if run["key"].get("unbiased")]
    assert {run["key"]["toy"] for run in unbiased} == {toy.name for toy in script.TOYS}
    for run in unbiased:
        assert run["key"]["replicates"] == 1_000_000 or run["key"]["estimator"] == "Enumerate()"
        assert script.stats_of(run).largest_z < 4.5
