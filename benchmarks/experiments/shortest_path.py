"""Shortest paths on a 5x5 grid with costs that a linear predictor cannot represent: every loss and layer.

    c_j = e_j ((<B_j, x> / sqrt(5) + 3)^degree + 1) / 3.5^degree,   e_j ~ U[1 - noise, 1 + noise]

1,000 training and 1,000 test rows of each of ten seeds, the problems of the published runs; a linear
predictor of 5 features and a constant, 20 epochs of Adam in batches of 32 from random weights, the same for
all methods and data; I-MLE, SPO+ and the directional gradient also start from the weights of least squares.
Every method's learning rate is, for each degree and noise, the best of 0.001, 0.003, 0.01, 0.03, 0.1 and 0.3
on 1,000 other rows of seeds 0 and 1. I-MLE's noise, samples, density, first and further steps were chosen
beforehand, on seeds 0 to 21 of these paths and the knapsacks, and are the same for all; no other option is
tuned. The figure is the normalised regret on the test rows, a ratio of sums.

`python benchmarks/experiments/shortest_path.py --page docs/experiments` takes an hour of one core.

Source: Elmachtoub and Grigas, Management Science 68 (2022), arXiv 1710.08005, Section 6.1; published figures:
Tang and Khalil, Mathematical Programming Computation (2024), arXiv 2206.14234.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from spo import Problem, main
from stacked import LEAST_SQUARES, SPO_PLUS

from imle_opt import Solver
from imle_opt.data import shortest_path_data
from imle_opt_solvers.grid import grid_path
from imle_opt_solvers.solution import FloatArray


def tables(
    rows: int, degree: int, noise: float, seeds: Sequence[int]
) -> tuple[FloatArray, FloatArray, Solver]:
    """Return features, costs and the solver of all seeds."""
    made = [shortest_path_data(rows, degree=degree, noise=noise, seed=seed) for seed in seeds]
    solver = grid_path((5, 5), neighbours=2, costs_on="edges")
    return np.stack([one.features for one in made]), np.stack([one.costs for one in made]), solver


PROBLEM = Problem(
    "shortest_path",
    tables,
    seeds=(671, 986, 713, 822, 907, 866, 258, 593, 966, 876),
    paper={
        (LEAST_SQUARES, 4, 0.0): (2.01, 0.41),
        (LEAST_SQUARES, 4, 0.5): (8.96, 1.05),
        (SPO_PLUS, 4, 0.0): (0.63, 0.21),
        (SPO_PLUS, 4, 0.5): (7.78, 0.97),
    },
)

if __name__ == "__main__":
    main(PROBLEM, __doc__ or "")
