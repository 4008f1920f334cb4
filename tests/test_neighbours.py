"""Labels blended with those of neighbours, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from imle_opt.data import knn_labels
from imle_opt_solvers.errors import InvalidInputError
from opaque import SENSES, opaque


@pytest.mark.parametrize("sense", SENSES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_labels_are_their_formula(sense, weight):
    rng = np.random.default_rng(0)
    features, costs = rng.normal(size=(30, 3)), rng.normal(size=(30, 5))
    solver = opaque(sense)
    labels = knn_labels(features, costs, solver, k=4, weight=weight)
    for i in range(30):
        distances = np.linalg.norm(features - features[i], axis=1)
        others = [j for j in np.argsort(distances) if j != i][:4]
        blends = [weight * costs[i] + (1 - weight) * costs[j] for j in others]
        np.testing.assert_allclose(labels.costs[i], np.mean(blends, axis=0))
        solved = solver.solve(np.array(blends))
        np.testing.assert_allclose(labels.solutions[i], solved.decisions.mean(0))
        assert labels.objectives[i] == pytest.approx(solved.objectives.mean())


def test_a_row_is_not_its_own_neighbour_even_among_equals():
    features = np.zeros((6, 2))
    costs = np.eye(6)[:, :5] * 100
    labels = knn_labels(features, costs, opaque(), k=5, weight=0.0)
    for i in range(5):
        assert labels.costs[i, i] == 0  # only the others count


def test_decisions_of_any_rank():
    decisions = np.eye(4).reshape(4, 2, 2)
    rng = np.random.default_rng(0)
    labels = knn_labels(rng.normal(size=(7, 2)), rng.normal(size=(7, 2, 2)), opaque("min", decisions), k=2)
    assert labels.costs.shape == labels.solutions.shape == (7, 2, 2)
    assert labels.objectives.shape == (7,)


def test_bad_options_are_refused():
    features, costs, solver = np.zeros((4, 2)), np.ones((4, 5)), opaque()
    for arguments, options, message in (
        ((features, costs, solver), {"k": 0}, r"`k` must lie in \[1, 3\] for 4 rows"),
        ((features, costs, solver), {"k": 4}, r"`k` must lie in \[1, 3\] for 4 rows"),
        ((features, costs, solver), {"k": 2, "weight": 1.5}, "`weight` must lie in"),
        ((features[:3], costs, solver), {"k": 2}, "one row per row of `features`: 4 and 3"),
        ((features * np.nan, costs, solver), {"k": 2}, "`features` must be a finite table"),
        ((features, costs * np.nan, solver), {"k": 2}, "`costs` must be finite"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            knn_labels(*arguments, **options)
