"""Handwritten digits as zeros and ones: scikit-learn's, and MNIST from files that are on the disk already."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

__all__ = ["Digits", "mnist", "small_digits"]

_IDX_FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")


@dataclass(frozen=True, eq=False)
class Digits:
    """Images to train on, to choose by and to test on, each pixel 0 or 1.

    Args:
        train: (rows, pixels), like the others.
        validation: other images.
        test: yet others.
    """

    train: Tensor
    validation: Tensor
    test: Tensor

    def first(self, rows: int) -> Digits:
        """Return the first rows of each part."""
        return Digits(self.train[:rows], self.validation[:rows], self.test[:rows])


def small_digits() -> Digits:
    """Return the 1,797 digits of 8x8 pixels that come with scikit-learn, shuffled and split 1,200, 200, 397.

    A pixel is 1 where its grey value, 0 to 16, is at least 8.
    """
    loaded: Any = load_digits()
    images = loaded.data[np.random.RandomState(0).permutation(len(loaded.data))]
    train, validation, test = np.split(_binary(images, 8), [1200, 1400])
    return Digits(*(torch.from_numpy(part) for part in (train, validation, test)))


def mnist(path: Path) -> Digits:
    """Return MNIST, its last 10,000 training images as validation; a pixel is 1 from grey value 128 on.

    Args:
        path: an `.npz` with `x_train` and `x_test`, or the folder of `train-images-idx3-ubyte` and
            `t10k-images-idx3-ubyte`, as they are or with `.gz`.
    """
    if path.is_dir():
        train, test = (_read_idx(path / name) for name in _IDX_FILES)
    else:
        with np.load(path) as arrays:
            train, test = arrays["x_train"], arrays["x_test"]
    parts = (*np.split(_binary(train, 128), [len(train) - len(train) // 6]), _binary(test, 128))
    return Digits(*(torch.from_numpy(part) for part in parts))


def _binary(images: NDArray[Any], least: int) -> NDArray[np.float32]:
    return (images.reshape(len(images), -1) >= least).astype(np.float32)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read images of bytes: a magic number, then how many, rows and columns, four bytes each."""
    packed = path.with_name(f"{path.name}.gz")
    content = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    magic, *shape = np.frombuffer(content, ">u4", count=4).tolist()
    if magic != 0x0803:
        raise ValueError(f"{path} is no file of images: it starts with {magic:#x}, not 0x803.")
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)
