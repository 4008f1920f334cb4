"""The Warcraft maps of the black-box differentiation paper, from the files that they come in."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from imle_opt.data.terrain import TerrainMaps
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["TerrainSplits", "warcraft_maps"]


@final
@dataclass(frozen=True, eq=False)
class TerrainSplits:
    """Maps to train on, to validate and to test."""

    train: TerrainMaps
    validation: TerrainMaps
    test: TerrainMaps


def warcraft_maps(folder: str | Path) -> TerrainSplits:
    """Read the Warcraft maps of one size.

    The folder, for maps of 12 x 12 cells `warcraft_shortest_path_oneskin/12x12` of the archive, holds for
    each of `train`, `val` and `test`:

        *_maps.npy             (maps, 8 size, 8 size, 3), pictures of bytes
        *_vertex_weights.npy   (maps, size, size), costs; half precision in the published files
        *_shortest_paths.npy   (maps, size, size), 0 or 1

    A file may also come in parts that are joined in their order, `train_maps_part0.npy`, `..._part1.npy`, as
    those of larger maps do.

    Args:
        folder: with the nine files.

    Returns:
        The splits as they are in the files, costs and paths in double precision. That the paths are the
        shortest ones is not checked.

    Raises:
        InvalidInputError: a file that is not there, cannot be read or does not hold what it should.

    The archive (`warcraft_maps.tar.gz`, doi:10.17617/3.YJCQ5S) is not downloaded for you.

    Source: Vlastelica et al. (Pogancic et al.), ICLR 2020, arXiv 1912.02175.
    """
    return TerrainSplits(*(_read_split(Path(folder), split) for split in ("train", "val", "test")))


def _read_split(folder: Path, split: str) -> TerrainMaps:
    pictures, weights, paths = (
        _read(folder, f"{split}_{name}") for name in ("maps", "vertex_weights", "shortest_paths")
    )
    _check_shapes(folder / f"{split}_*.npy", pictures, weights, paths)
    images = pictures.astype(np.uint8, copy=False)
    if not np.array_equal(images, pictures):
        raise InvalidInputError(f"{folder / split}_maps.npy must hold whole numbers from 0 to 255.")
    if not np.isfinite(weights).all() or weights.min() <= 0:
        raise InvalidInputError(f"{folder / split}_vertex_weights.npy must hold finite costs above 0.")
    if not np.isin(paths, (0, 1)).all() or not (paths[:, 0, 0] * paths[:, -1, -1] == 1).all():
        raise InvalidInputError(
            f"{folder / split}_shortest_paths.npy must hold 1 on paths from the top left to the bottom right "
            "cell, and 0 elsewhere."
        )
    return TerrainMaps(images.transpose(0, 3, 1, 2), weights.astype(np.float64), paths.astype(np.float64))


def _check_shapes(path: Path, *arrays: NDArray[Any]) -> None:
    pictures, weights, paths = arrays
    maps, size = len(weights), weights.shape[-1]
    width = size * (pictures.shape[1] // size)
    if (
        pictures.shape != (maps, width, width, 3)
        or weights.shape != (maps, size, size)
        or paths.shape != weights.shape
    ):
        raise InvalidInputError(
            f"{path} must hold as many pictures (maps, width, width, 3) as costs and paths (maps, size, "
            f"size), with whole pixels per cell; their shapes are {pictures.shape}, {weights.shape} and "
            f"{paths.shape}."
        )


def _read(folder: Path, name: str) -> NDArray[Any]:
    whole = folder / f"{name}.npy"
    if whole.is_file():
        return _load(whole)
    numbered = (folder / f"{name}_part{number}.npy" for number in count())
    parts = [_load(part) for part in takewhile(Path.is_file, numbered)]
    if not parts:
        raise InvalidInputError(
            f"`folder` {folder} has neither {name}.npy nor {name}_part0.npy. Give the folder of one size, "
            "such as warcraft_shortest_path_oneskin/12x12 of the archive warcraft_maps.tar.gz."
        )
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise InvalidInputError(f"The parts of {whole} do not belong together: they have shapes {shapes}.")
    return np.concatenate(parts)


def _load(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInputError(f"{path} is no array in numpy's own format: {error}") from error
    if array.dtype.kind not in "biuf" or array.ndim < 3 or not array.size:
        raise InvalidInputError(
            f"{path} must hold numbers for one map or more; it has {array.dtype} of shape {array.shape}."
        )
    return array
