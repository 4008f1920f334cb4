"""Maps made of real handwritten digits, whose values are the costs of the cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["PIXELS", "DigitMapSplits", "DigitMaps", "digit_maps"]

PIXELS = 8
"""Width and height of a digit's image."""

_SHARES = (2 / 3, 1 / 9, 2 / 9)


@final
@dataclass(frozen=True, eq=False)
class DigitMaps:
    """A set of maps.

    Args:
        images: (maps, 1, 8 size, 8 size) float32 in [0, 1]: each map as one grey picture, ink is 1.
        costs: (maps, size, size) the true cost of each cell, 1 + its digit.
        sources: (maps, size, size) which of the 1,797 images each cell shows.
    """

    images: NDArray[np.float32]
    costs: FloatArray
    sources: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.costs)


@final
@dataclass(frozen=True, eq=False)
class DigitMapSplits:
    """Maps to train on, to validate and to test, that share no image of a digit."""

    train: DigitMaps
    validation: DigitMaps
    test: DigitMaps


def digit_maps(
    train: int = 1000, validation: int = 200, test: int = 500, *, size: int = 6, seed: int = 0
) -> DigitMapSplits:
    """Lay real handwritten digits out as maps, `size` x `size` digits each.

    The digits are the 1,797 images of 8x8 pixels that come with scikit-learn (E. Alpaydin and C. Kaynak,
    "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998: its test set, 13
    people wrote it). Two thirds of the images make the training maps, a ninth the validation maps, the rest
    the test maps; within a split an image is drawn with replacement.

    Args:
        train: number of training maps.
        validation: number of validation maps.
        test: number of test maps.
        size: rows and columns of a map.
        seed: the same seed gives the same maps; a larger number of maps begins with the same ones.

    Raises:
        InvalidInputError: a number below 1.
    """
    counts = (train, validation, test)
    if min(*counts, size) < 1:
        raise InvalidInputError(f"Numbers of maps and `size` must be at least 1, not {(*counts, size)}.")
    digits: Any = load_digits()
    generators = np.random.default_rng(seed).spawn(4)
    order = generators[0].permutation(len(digits.target))
    ends = np.rint(np.cumsum(_SHARES) * len(order)).astype(np.int64)
    pools = np.split(order, ends[:-1])
    splits = [
        _lay_out(digits, rng.choice(pool, (count, size, size)))
        for rng, pool, count in zip(generators[1:], pools, counts, strict=True)
    ]
    return DigitMapSplits(*splits)


def _lay_out(digits: Any, sources: NDArray[np.int64]) -> DigitMaps:
    maps, size, _ = sources.shape
    cells = digits.images[sources] / 16  # ink comes as 0..16
    pixels = cells.transpose(0, 1, 3, 2, 4).reshape(maps, 1, size * PIXELS, size * PIXELS)
    return DigitMaps(pixels.astype(np.float32), 1.0 + digits.target[sources], sources)
