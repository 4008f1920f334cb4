"""The loader of the Warcraft maps, on small files in the layout of the real ones."""

from __future__ import annotations

import numpy as np
import pytest

from imle_opt.data import terrain_maps, warcraft_maps
from imle_opt_solvers.errors import InvalidInputError

SIZE = 3
COUNTS = {"train": 5, "val": 2, "test": 3}


@pytest.fixture
def drawn():
    return {split: terrain_maps(count, SIZE, seed=seed) for seed, (split, count) in enumerate(COUNTS.items())}


@pytest.fixture
def folder(tmp_path, drawn):
    """Write maps as they are published: channels last, costs in half precision, paths as bytes."""
    for split, maps in drawn.items():
        np.save(tmp_path / f"{split}_maps.npy", maps.images.transpose(0, 2, 3, 1))
        np.save(tmp_path / f"{split}_vertex_weights.npy", maps.costs.astype(np.float16))
        np.save(tmp_path / f"{split}_shortest_paths.npy", maps.paths.astype(np.uint8))
    return tmp_path


def rewrite(path, change):
    np.save(path, change(np.load(path)))


def parts_of(data):
    return dict(zip(COUNTS, (data.train, data.validation, data.test), strict=True))


def test_files_come_back_as_they_were_written(folder, drawn):
    for split, maps in parts_of(warcraft_maps(folder)).items():
        assert len(maps) == COUNTS[split]
        assert np.array_equal(maps.images, drawn[split].images)
        assert maps.images.dtype == np.uint8
        assert np.array_equal(maps.costs, drawn[split].costs.astype(np.float16).astype(float))
        assert np.array_equal(maps.paths, drawn[split].paths)
        assert maps.costs.dtype == maps.paths.dtype == np.float64


def test_a_path_may_be_text_and_pictures_may_be_whole_floats(folder, drawn):
    rewrite(folder / "train_maps.npy", lambda pictures: pictures.astype(np.float32))
    assert np.array_equal(warcraft_maps(str(folder)).train.images, drawn["train"].images)


def test_parts_are_joined_in_their_order(folder, drawn):
    for name in ("maps", "vertex_weights", "shortest_paths"):
        whole = np.load(folder / f"train_{name}.npy")
        (folder / f"train_{name}.npy").unlink()
        np.save(folder / f"train_{name}_part1.npy", whole[2:])
        np.save(folder / f"train_{name}_part0.npy", whole[:2])
    train = warcraft_maps(folder).train
    assert np.array_equal(train.images, drawn["train"].images)
    assert np.array_equal(train.paths, drawn["train"].paths)
    rewrite(folder / "train_maps_part1.npy", lambda pictures: pictures[:, :8, :8])
    with pytest.raises(InvalidInputError, match=r"parts of .*train_maps\.npy do not belong together"):
        warcraft_maps(folder)


def test_a_missing_file_is_named_and_so_is_the_folder_to_give(folder):
    (folder / "val_vertex_weights.npy").unlink()
    with pytest.raises(InvalidInputError, match=r"neither val_vertex_weights\.npy nor .*12x12"):
        warcraft_maps(folder)
    with pytest.raises(InvalidInputError, match=r"neither train_maps\.npy"):
        warcraft_maps(folder / "nowhere")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_arrays_are_refused(folder, content):
    (folder / "test_maps.npy").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"test_maps\.npy is no array"):
        warcraft_maps(folder)


def test_arrays_of_objects_are_not_unpickled(folder):
    np.save(folder / "test_maps.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(InvalidInputError, match=r"test_maps\.npy is no array"):
        warcraft_maps(folder)


@pytest.mark.parametrize("content", [np.zeros((0, 24, 24, 3)), np.array(4.0), np.full((2, 24, 24, 3), "x")])
def test_arrays_without_numbers_of_maps_are_refused(folder, content):
    np.save(folder / "val_maps.npy", content)
    with pytest.raises(InvalidInputError, match=r"val_maps\.npy must hold numbers for one map or more"):
        warcraft_maps(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("maps", lambda a: a[:-1]),  # a map less
        ("maps", lambda a: a[..., :2]),  # two channels
        ("maps", lambda a: a[:, :-1]),  # not square
        ("maps", lambda a: a[:, :-1, :-1]),  # 23 pixels for 3 cells
        ("maps", lambda a: a[..., 0]),  # grey
        ("maps", lambda a: a[:, :2, :2]),  # less than a pixel per cell
        ("vertex_weights", lambda a: a[:, :2]),
        ("shortest_paths", lambda a: a[:, :2, :2]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(folder, name, change):
    rewrite(folder / f"train_{name}.npy", change)
    with pytest.raises(InvalidInputError, match=r"train_\*\.npy must hold as many pictures .* shapes are"):
        warcraft_maps(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("maps", lambda a: a / 255, "whole numbers from 0 to 255"),
        ("vertex_weights", lambda a: -a, "finite costs above 0"),
        ("vertex_weights", lambda a: np.where(a > 1, np.nan, a), "finite costs above 0"),
        ("shortest_paths", lambda a: 2 * a, "must hold 1 on paths"),
        ("shortest_paths", lambda a: a * (np.arange(SIZE) > 0), "from the top left"),
        ("shortest_paths", lambda a: a * (np.arange(SIZE) < SIZE - 1), "to the bottom right"),
    ],
)
def test_values_that_cannot_be_are_refused(folder, name, change, message):
    rewrite(folder / f"train_{name}.npy", change)
    with pytest.raises(InvalidInputError, match=message) as caught:
        warcraft_maps(folder)
    assert f"train_{name}.npy" in str(caught.value)
