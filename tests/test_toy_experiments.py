"""The experiments on toys: a few steps of everything, the curves' figures, and the pages of the docs."""

from __future__ import annotations

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from imle_opt import DeviceGridPath, Polytope
from imle_opt.data import TerrainMaps, terrain_maps
from imle_opt_solvers.grid import grid_path

ROOT = Path(__file__).parent.parent
NAMES = ("arsm_toy", "relax_toy", "explain", "terrain")


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


def test_the_network_of_the_maps_is_the_published_one(load):
    maps = terrain_maps(3, seed=0)
    images = torch.from_numpy(maps.images)
    network = load("terrain_network").CostNetwork(12, images)
    assert sum(parameter.numel() for parameter in network.parameters()) == 157_504
    costs = network(images)
    assert costs.shape == (3, 12, 12)
    assert costs.min() >= 0
    seen = []
    network.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    assert seen[0].mean((0, 2, 3)).numpy() == pytest.approx(0, abs=1e-5)
    assert seen[0].std((0, 2, 3)).numpy() == pytest.approx(1, abs=1e-4)


def test_paths_count_as_optimal_by_their_cost_and_not_by_their_cells(load):
    costs = np.ones((3, 12, 12))
    costs[:, 5, 5] = 2  # through it and around it: both cost 13
    maps = TerrainMaps(np.zeros((3, 3, 96, 96), np.uint8), costs, grid_path((12, 12)).solve(costs).decisions)
    predicted = costs.copy()
    predicted[:, 5, 5] = 1.9, 2.1, 1.9
    predicted[2, 1, :11] = 99  # along the first row and the last column: 22
    assert load("terrain").outcome(predicted, maps) == {"optimal": 0.6667, "regret": round(9 / 39, 5)}


def test_each_rule_has_the_same_gradient_on_the_device_and_counts_what_is_clipped(load):
    script, size = load("terrain_methods"), (12, 12)
    source = torch.Generator().manual_seed(1)
    predicted = (0.6 + torch.rand(4, *size, generator=source, dtype=torch.float64)).requires_grad_()
    costs = 0.1 + torch.rand(4, *size, generator=source, dtype=torch.float64)
    paths = torch.from_numpy(grid_path(size).solve(costs.numpy()).decisions)
    for name, method in script.METHODS.items():
        gradients, counts = [], []
        for family in (
            Polytope(grid_path(size, negative="clip")),
            DeviceGridPath(size, negative="clip"),
        ):
            torch.manual_seed(0)
            counting = script.Clipping(family)
            loss = method.rule(method.made.make(counting), predicted, costs, paths)
            assert loss.shape == (4,)
            gradients.append(torch.autograd.grad(loss.mean(), predicted)[0])
            counts.append((counting.clipped, counting.rows))
        assert torch.equal(*gradients), name
        assert gradients[0].abs().sum() > 0, name
        assert counts[0] == counts[1]


def test_the_files_of_warcraft_are_read_for_the_experiment(load, tmp_path, monkeypatch, capsys):
    folder, script = tmp_path / "12x12", load("terrain")
    folder.mkdir()
    for seed, split in enumerate(("train", "val", "test")):
        maps = terrain_maps(7, seed=seed)
        np.save(folder / f"{split}_maps.npy", maps.images.transpose(0, 2, 3, 1))
        np.save(folder / f"{split}_vertex_weights.npy", maps.costs.astype(np.float16))
        np.save(folder / f"{split}_shortest_paths.npy", maps.paths.astype(np.uint8))
    results = tmp_path / "runs.jsonl"
    options = ["--quick", "--only", "Two-stage", "--data", str(folder), "--results", str(results)]
    monkeypatch.setattr(sys, "argv", ["terrain", *options])
    script.main()
    first, _ = (json.loads(line) for line in results.read_text().splitlines())
    assert first["key"]["data"] == "Warcraft"
    assert first["key"]["maps"] == [6, 4, 5]
    mean = terrain_maps(7, seed=2).costs[:5].astype(np.float16).astype(float).mean()
    assert first["true mean cost"] == pytest.approx(mean, abs=1e-4)
    assert "5 test maps of `Warcraft`" in capsys.readouterr().out
