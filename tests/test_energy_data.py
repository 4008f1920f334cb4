"""The loader of the energy knapsacks, on a small file in the manner of the real one."""

from __future__ import annotations

import numpy as np
import pytest

from imle_opt.data import energy_knapsack
from imle_opt_solvers.errors import InvalidInputError

DAYS = 5


@pytest.fixture
def arrays():
    """Features that tell their day, item and column, and costs that tell their day and item."""
    day, item = (part.ravel() for part in np.mgrid[:DAYS, :48])
    features = 1000.0 * day[:, None] + 10 * item[:, None] + np.arange(9)
    costs = 100.0 * day + item
    cut = 3 * 48
    return {
        "X_1gtrain": features[:cut],
        "X_1gtest": features[cut:],
        "y_train": costs[:cut],
        "y_test": costs[cut:],
        "weights": np.arange(48) % 3 + 3,
    }


def saved(folder, arrays):
    path = folder / "Data.npz"
    np.savez(path, **arrays)
    return path


def test_days_stay_whole_and_are_shuffled_by_the_seed(tmp_path, arrays):
    path = saved(tmp_path, arrays)
    data = energy_knapsack(path, 3, counts=(2, 1, 2))
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [2, 1, 2]
    order = np.random.RandomState(3).permutation(DAYS)
    costs = np.concatenate([part.costs for part in parts])
    assert np.array_equal(costs, 100 * order[:, None] + np.arange(48))
    features = np.concatenate([part.features for part in parts])
    # The first column, the day, is left out.
    expected = 1000 * order[:, None, None] + 10 * np.arange(48)[:, None] + np.arange(1, 9)
    assert np.array_equal(features, expected)
    assert np.array_equal(data.weights, np.arange(48) % 3 + 3)
    other = energy_knapsack(path, 4, counts=(2, 1, 2))
    assert not np.array_equal(other.train.costs, data.train.costs)


def test_days_that_are_left_over_are_in_no_part(tmp_path, arrays):
    data = energy_knapsack(saved(tmp_path, arrays), 0, counts=(1, 1, 1))
    assert len(data.train) == len(data.validation) == len(data.test) == 1


@pytest.mark.parametrize("counts", [(550, 100, 139), (5, 0, 0), (4, 1, 1)])
def test_counts_that_do_not_fit_are_refused(tmp_path, arrays, counts):
    with pytest.raises(InvalidInputError, match="`counts`"):
        energy_knapsack(saved(tmp_path, arrays), 0, counts=counts)


def test_other_files_are_refused(tmp_path, arrays):
    with pytest.raises(InvalidInputError, match="there is none at"):
        energy_knapsack(tmp_path / "nothing.npz", 0)
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    with pytest.raises(InvalidInputError, match=r"must be an \.npz file"):
        energy_knapsack(text, 0)
    del arrays["weights"]
    with pytest.raises(InvalidInputError, match="lacks the arrays weights"):
        energy_knapsack(saved(tmp_path, arrays), 0)


def test_arrays_of_other_shapes_are_refused(tmp_path, arrays):
    arrays["y_test"] = arrays["y_test"][:-1]
    with pytest.raises(InvalidInputError, match="one cost per row"):
        energy_knapsack(saved(tmp_path, arrays), 0)
