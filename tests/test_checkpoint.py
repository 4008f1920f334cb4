"""Training runs that are interrupted and go on: bit for bit as if nothing had happened, or refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from imle_opt import IMLE, InvalidInputError, Normal, RegretLoss, fit
from imle_opt._safe_files import read_tensors, read_tree, write_tensors, write_tree
from imle_opt.training import Checkpoint, ValidationRegret
from opaque import opaque

FEATURES = torch.randn(24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
COSTS = FEATURES @ torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class StopError(Exception):
    pass


def train(path=None, *, stop_after=None, epochs=6, loader_generator=False, settings=None, **options):
    """Train with everything that has a state: dropout, noise, an adaptive target, momentum, a schedule."""
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Dropout(0.2), nn.Linear(3, 5)).double()
    layer = IMLE(opaque(), noise=Normal(0.5), num_samples=2, batch_reduction="mean")
    regret = RegretLoss(opaque())
    optimizer = torch.optim.AdamW(model.parameters(), 0.05)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    own = torch.Generator() if loader_generator else None
    loader = DataLoader(TensorDataset(FEATURES, COSTS), 8, shuffle=True, generator=own)
    checkpoint = None
    if path is not None:
        checkpoint = Checkpoint(path, {"layer": layer, "schedule": schedule}, settings or {})

    def after_epoch(record):
        schedule.step()
        if record["epoch"] == stop_after:
            raise StopError

    result = fit(
        model,
        loader,
        lambda costs, batch: regret(layer(costs), batch[1]),
        epochs=epochs,
        optimizer=optimizer,
        validation=ValidationRegret(opaque(), FEATURES, COSTS),
        callback=after_epoch,
        checkpoint=checkpoint,
        progress=False,
        **options,
    )
    return model, layer, optimizer, result


def flat(model, layer, optimizer, result):
    moments = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    parts = [*model.state_dict().values(), *layer.state_dict().values(), *moments]
    return torch.cat([part.double().flatten() for part in parts])


def figures(result):
    times = {"seconds", "solver_seconds"}
    return [{key: value for key, value in record.items() if key not in times} for record in result.history]


@pytest.mark.parametrize("loader_generator", [False, True])
@pytest.mark.parametrize("stop_after", [1, 2, 5])
def test_a_run_that_goes_on_ends_bit_for_bit_as_one_never_interrupted(tmp_path, stop_after, loader_generator):
    path = tmp_path / "run.safetensors"
    whole = train(loader_generator=loader_generator)
    with pytest.raises(StopError):
        train(path, stop_after=stop_after, loader_generator=loader_generator)
    resumed = train(path, loader_generator=loader_generator)
    assert torch.equal(flat(*resumed), flat(*whole))
    assert figures(resumed[3]) == figures(whole[3])
    assert resumed[3].best_epoch == whole[3].best_epoch
    assert resumed[3].best_validation == whole[3].best_validation


def test_a_run_that_has_ended_is_not_trained_any_more(tmp_path):
    path = tmp_path / "run.safetensors"
    first = train(path, epochs=3)
    again = train(path, epochs=3, stop_after=1)
    assert torch.equal(flat(*first), flat(*again))
    assert again[3].history == first[3].history


def test_patience_counts_the_epochs_before_the_interruption(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = train(epochs=200, patience=3)[3]
    assert whole.stopped_early
    with pytest.raises(StopError):
        train(path, epochs=200, patience=3, stop_after=len(whole.history) - 1)
    resumed = train(path, epochs=200, patience=3)[3]
    assert figures(resumed) == figures(whole)
    assert resumed.stopped_early


def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(StopError):
        train(path, stop_after=2)
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    train(path)
    assert torch.equal(torch.randn(3), expected)


def test_a_run_with_other_settings_is_refused_by_name(tmp_path):
    path = tmp_path / "run.safetensors"
    train(path, epochs=1, settings={"lr": "0.05", "rows": "24"})
    with pytest.raises(InvalidInputError, match=r"other settings: lr was 0\.05 and is 0\.1"):
        train(path, settings={"lr": "0.1", "rows": "24"})


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(path, epochs=1)
    loader = DataLoader(TensorDataset(FEATURES, COSTS), 8)
    with pytest.raises(InvalidInputError, match=r"another model or optimiser.*Remove it"):
        fit(nn.Linear(3, 4), loader, lambda c, b: c.sum(1), epochs=2, checkpoint=Checkpoint(path))


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_files_that_are_no_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / "run.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"run\.safetensors"):
        train(path)


def test_trees_come_back_as_they_were(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "a": [shared, shared.T, shared[0]],
        "b": (1, 0.1, None, True, "é"),
        3: {"empty": torch.empty(0, dtype=torch.int32)},
        "tensor": {"list": [float("inf")]},
    }
    write_tree(tmp_path / "tree", tree)
    back = read_tree(tmp_path / "tree")
    assert torch.equal(back["a"][1], shared.T)
    assert torch.equal(back["a"][2], shared[0])
    assert back["b"] == tree["b"]
    assert isinstance(back["b"], tuple)
    assert back[3]["empty"].dtype == torch.int32
    assert back["tensor"] == tree["tensor"]
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_only_plain_values_are_written(tmp_path):
    with pytest.raises(InvalidInputError, match="not a set"):
        write_tree(tmp_path / "tree", {"a": {1, 2}})
    assert not (tmp_path / "tree").exists()


def test_tensors_by_name_are_an_ordinary_safetensors_file(tmp_path):
    from safetensors.torch import load_file

    tensor = torch.randn(3, 2).T
    write_tensors(tmp_path / "w.safetensors", {"weight": tensor})
    assert torch.equal(load_file(tmp_path / "w.safetensors")["weight"], tensor)
    assert torch.equal(read_tensors(tmp_path / "w.safetensors")["weight"], tensor)


def test_a_folder_that_does_not_exist_is_an_error_with_the_path(tmp_path):
    with pytest.raises(InvalidInputError, match=r"nowhere.*cannot be written"):
        train(tmp_path / "nowhere" / "run.safetensors")
