"""2-D knapsacks of 32 items with values that a linear predictor cannot represent: every loss and layer.

    v_j = ceil(5 e_j ((<B_j, x> / sqrt(5) + 3)^degree + 1) / 3.5^degree),   e_j ~ U[1 - noise, 1 + noise]

Two weights per item between 3 and 8, drawn by the seed, two capacities of 20; values are maximised. 1,000
training and 1,000 test rows of each of five seeds, the first five problems of the published runs; a linear
predictor of 5 features and a constant, 20 epochs of Adam in batches of 32, the same for all methods and data.
Every method's learning rate is, for each degree and noise, the best of 0.001, 0.003, 0.01, 0.03, 0.1 and 0.3
on 1,000 other rows of seeds 0 and 1; all other options, and the starts, are those of the shortest paths. The
figure is the normalised regret on the test rows, a ratio of sums.

`python benchmarks/experiments/knapsack.py --page docs/experiments` takes seventy minutes of one core.

Source: Tang and Khalil, Mathematical Programming Computation (2024), arXiv 2206.14234.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from spo import Problem, main
from stacked import OneOfSeveral

from imle_opt import Knapsack, Solver
from imle_opt.data import knapsack_data
from imle_opt_solvers.solution import FloatArray


def tables(
    rows: int, degree: int, noise: float, seeds: Sequence[int]
) -> tuple[FloatArray, FloatArray, Solver]:
    """Return features, values and the solver of all seeds: each has weights of its own."""
    made = [knapsack_data(rows, degree=degree, noise=noise, seed=seed) for seed in seeds]
    solver = OneOfSeveral([Knapsack(one.weights, [20.0, 20.0]) for one in made])
    return np.stack([one.features for one in made]), np.stack([one.costs for one in made]), solver


PROBLEM = Problem("knapsack", tables, seeds=(671, 603, 547, 937, 888), paper={})

if __name__ == "__main__":
    main(PROBLEM, __doc__ or "")
