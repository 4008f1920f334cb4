"""The experiments on toys: a few steps of everything, the curves' figures, and the pages of the docs."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
NAMES = ("arsm_toy", "relax_toy", "explain")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "experiments"))
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_is_saved_and_read_back(name, load, tmp_path, monkeypatch, capsys):
    script, results = load(name), tmp_path / "runs.jsonl"
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--results", str(results)])
    script.main()
    first = capsys.readouterr().out
    saved = results.read_text()
    methods = [json.loads(line)["key"]["method"] for line in saved.splitlines()]
    assert list(dict.fromkeys(methods)) == list(script.METHODS)
    drawing = ["--page", str(tmp_path / "page")] if find_spec("matplotlib") else []
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--results", str(results), *drawing])
    script.main()
    assert results.read_text() == saved
    again = capsys.readouterr().out
    assert first.endswith(again)
    if drawing:
        assert (tmp_path / "page" / f"{name}.md").read_text() + "\n" == again
        assert (tmp_path / "page" / f"{name}.svg").stat().st_size > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_the_saved_runs(name, load):
    script, experiment = load(name), load("experiment")
    found = experiment.Runs(experiment.RESULTS / f"{name}.jsonl").read()
    assert script.text(found) == (experiment.PAGES / f"{name}.md").read_text(encoding="utf-8")


def test_saved_runs_of_arsm_end_at_the_maximum(load):
    experiment = load("experiment")
    runs = experiment.Runs(experiment.RESULTS / "arsm_toy.jsonl").read()
    (last,) = [run["last"]["reward"] for run in runs if run["key"]["method"] == "ARSM"]
    assert len(last) == 10
    assert min(last) > 0.53333 - 0.002


@pytest.mark.parametrize("method", ["RLOO, 2 samples", "REBAR", "RELAX"])
def test_gradients_of_the_toy_are_unbiased_for_every_run(method, load):
    script, toys = load("relax_toy"), load("toys")
    theta = torch.linspace(-1, 2, len(script.T), dtype=torch.float64)[:, None]
    source = torch.Generator().manual_seed(0)
    drawn = toys.replicated_gradients(script.TOY, script.METHODS[method](), theta, 2000, source)
    slope = theta.sigmoid() * (1 - theta.sigmoid()) * (1 - 2 * script.T[:, None])
    error = drawn.std(0) / 2000**0.5
    assert ((drawn.mean(0) - slope).abs() < 4.5 * error).all()
    # Runs differ in theta and t: a surrogate that mixed them up would have slopes by its neighbours.
    assert drawn.std(0).min() > 0


def test_median_ranks_count_from_the_largest_score(load):
    scores = torch.tensor([[[0.1, 3.0, 2.0, -1.0], [4.0, 3.0, 2.0, 1.0]]])
    relevant = torch.tensor([[[True, False, True, False], [False, True, False, True]]])
    # Ranks 3 and 2; 2 and 4.
    assert load("explain").median_ranks(scores, relevant).tolist() == [(2.5 + 3) / 2]
