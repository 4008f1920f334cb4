"""The L2X generators: the published formulas, entry by entry, and what each label depends on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imle_opt.data import explain_data
from imle_opt_solvers.errors import InvalidInputError

PROBLEMS = ("xor", "orange skin", "nonlinear additive", "switch")


def logit(problem, x, relevant):
    """Return g of one row, from the features that count."""
    used = [value for value, counts in zip(x, relevant, strict=True) if counts]
    if problem == "xor":
        return used[0] * used[1]
    if problem == "orange skin" or (problem == "switch" and relevant[0]):
        return sum(value * value for value in used[:4]) - 4
    return -100 * math.sin(used[0] / 5) + abs(used[1]) + used[2] + math.exp(-used[3]) - 2.4


@pytest.mark.parametrize("problem", PROBLEMS)
def test_probabilities_are_those_of_the_formula_at_the_relevant_features(problem):
    table = explain_data(40, problem, seed=3)
    for x, relevant, probability in zip(table.features, table.relevant, table.probabilities, strict=True):
        # By hyperbolic functions, an identity of the sigmoid.
        expected = (1 + math.tanh(logit(problem, x, relevant) / 2)) / 2
        assert probability == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [("xor", [[0, 1]]), ("orange skin", [[0, 1, 2, 3]]), ("nonlinear additive", [[0, 1, 2, 3]]),
     ("switch", [[0, 1, 2, 3, 9], [4, 5, 6, 7, 9]])],
)  # fmt: skip
def test_relevant_features_are_those_of_the_paper(problem, expected):
    relevant = explain_data(50, problem, seed=0).relevant
    found = sorted({tuple(np.flatnonzero(row).tolist()) for row in relevant})
    assert [list(columns) for columns in found] == expected


def test_labels_follow_their_probabilities_and_features_their_law():
    table = explain_data(20_000, "xor", seed=1)
    spread = math.sqrt((table.probabilities * (1 - table.probabilities)).sum())
    assert abs(table.labels.sum() - table.probabilities.sum()) < 4.5 * spread
    assert np.abs(table.features.mean(0)).max() < 4.5 / math.sqrt(20_000)
    assert set(table.labels.tolist()) == {0, 1}


def test_the_switch_tells_which_half_counts():
    table = explain_data(20_000, "switch", seed=2)
    first = table.relevant[:, 0]
    assert abs(first.mean() - 0.5) < 4.5 * 0.5 / math.sqrt(20_000)
    for half, centre in ((first, 3), (~first, -3)):
        assert abs(table.features[half, 9].mean() - centre) < 4.5 / math.sqrt(half.sum())


def test_the_seed_decides():
    first, again, other = (explain_data(4, "switch", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.features, again.features)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.features, other.features)


def test_bad_options_are_refused():
    with pytest.raises(InvalidInputError, match=r"`problem` must be one of 'xor', .* not 'or'"):
        explain_data(4, "or", seed=0)
    with pytest.raises(InvalidInputError, match="`rows` must be at least 1"):
        explain_data(0, "xor", seed=0)
