"""The energy knapsacks: which half hours of a day to take, by prices of the Irish electricity market."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["EnergyDays", "EnergyKnapsack", "energy_knapsack"]

_ITEMS = 48
_ARRAYS = ("X_1gtrain", "X_1gtest", "y_train", "y_test", "weights")
_COUNTS = (550, 100, 139)


@final
@dataclass(frozen=True, eq=False)
class EnergyDays:
    """Days of the market, each a knapsack of 48 half hours.

    Args:
        features: (days, 48, 8).
        costs: (days, 48), profits, to be maximised.
    """

    features: FloatArray
    costs: FloatArray

    def __len__(self) -> int:
        return len(self.costs)


@final
@dataclass(frozen=True, eq=False)
class EnergyKnapsack:
    """Days to train on, to validate and to test, and the weights of the items, the same on all days."""

    train: EnergyDays
    validation: EnergyDays
    test: EnergyDays
    weights: FloatArray


def energy_knapsack(path: str | Path, seed: int, *, counts: tuple[int, int, int] = _COUNTS) -> EnergyKnapsack:
    """Read the energy knapsacks of the survey, and split their 789 days at random.

    The training and the test days of the file are joined, shuffled by `numpy.random.RandomState(seed)` and
    cut into 550, 100 and 139 days. The usual capacities are 60, 120 and 180; all 48 weights sum to 240.

    Args:
        path: of `Data.npz`, as the repository PredOpt/predopt-benchmarks has it in `Knapsack/Trainer`.
        seed: of the shuffle.
        counts: days to train on, to validate and to test.

    Returns:
        The splits and the weights. Features are as in the file, without the first column, the day: they are
        not scaled.

    Raises:
        InvalidInputError: a file that is not there or not this data set, or fewer days than are asked for.

    Source: Mandi, Kotary, Berden, Mulamba, Bucarey, Guns and Fioretto, Journal of Artificial Intelligence
    Research 80 (2024), arXiv 2307.13565; data: G. Ifrim, B. O'Sullivan and H. Simonis (2012), "Properties of
    energy-price forecasts for scheduling".
    """
    arrays = _read(Path(path))
    features = np.concatenate([arrays["X_1gtrain"], arrays["X_1gtest"]])
    costs = np.concatenate([arrays["y_train"], arrays["y_test"]])
    fits = features.ndim == 2 and features.shape[1] > 1 and len(features) % _ITEMS == 0
    if not fits or costs.shape != features.shape[:1] or arrays["weights"].shape != (_ITEMS,):
        raise InvalidInputError(
            f"`path` {path} must hold {_ITEMS} rows per day, one cost per row and {_ITEMS} weights; it has "
            f"features {features.shape}, costs {costs.shape} and weights {arrays['weights'].shape}."
        )
    days = len(features) // _ITEMS
    if min(counts) < 1 or sum(counts) > days:
        raise InvalidInputError(f"`counts` must be at least 1 each and at most {days} in all, not {counts}.")
    by_day = features[:, 1:].reshape(days, _ITEMS, -1), costs.reshape(days, _ITEMS)
    order = np.random.RandomState(seed).permutation(days)
    train, validation, test, _ = (
        EnergyDays(by_day[0][chosen], by_day[1][chosen]) for chosen in np.split(order, np.cumsum(counts))
    )
    return EnergyKnapsack(train, validation, test, arrays["weights"])


def _read(path: Path) -> dict[str, NDArray[np.float64]]:
    if not path.is_file():
        raise InvalidInputError(
            f"`path` must be the file Data.npz of the energy knapsacks; there is none at {path}."
        )
    if not zipfile.is_zipfile(path):
        raise InvalidInputError(f"`path` {path} must be an .npz file, as the energy knapsacks come.")
    with np.load(path, allow_pickle=False) as archive:
        missing = [name for name in _ARRAYS if name not in archive.files]
        if missing:
            raise InvalidInputError(
                f"`path` {path} lacks the arrays {', '.join(missing)}: it holds {', '.join(archive.files)}."
            )
        return {name: np.asarray(archive[name], dtype=np.float64) for name in _ARRAYS}
