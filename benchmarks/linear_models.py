"""Linear and mixed-integer models on HiGHS, against a hand-written loop over highspy.

    python benchmarks/linear_models.py [name ...]

A batch is 32 instances x 10 samples of noisy costs (4 x 2 for models that need branch and bound). The loop
does what an expert would: costs changed in place, warm simplex first, branch and bound where that is
fractional. Answers are compared before they are timed. Processor time per row, median of five interleaved
repeats.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import highspy
import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.engines.highs_object import as_highs_lp
from imle_opt_solvers.linear_model import LinearModel, Selection
from imle_opt_solvers.solution import Sense

FloatArray = NDArray[np.float64]
REPEATS = 5


def model_of(
    sense: Sense,
    matrix: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    integer: NDArray[np.bool_],
    fixed: FloatArray,
    predicted: NDArray[np.int64],
) -> LinearModel:
    """Variables in [0, 1] over a dense matrix."""
    rows, columns = matrix.shape
    row_index, column_index = np.nonzero(matrix)
    return LinearModel(
        sense,
        np.searchsorted(row_index, np.arange(rows + 1)).astype(np.int64),
        column_index.astype(np.int64),
        matrix[row_index, column_index],
        lower,
        upper,
        np.zeros(columns),
        np.ones(columns),
        integer,
        fixed,
        0.0,
        Selection(predicted, (len(predicted),)),
        tuple(f"x{column}" for column in range(columns)),
        tuple(f"r{row}" for row in range(rows)),
    )


def pure(
    sense: Sense, matrix: FloatArray, lower: FloatArray, upper: FloatArray, *, integer: bool
) -> LinearModel:
    """All costs predicted, all variables of one kind."""
    columns = matrix.shape[1]
    kinds = np.full(columns, integer)
    return model_of(sense, matrix, lower, upper, kinds, np.zeros(columns), np.arange(columns))


def grid_path(side: int = 5) -> LinearModel:
    """Right and down through a grid, costs on 2 side (side - 1) arcs, as a linear program."""
    cells = np.arange(side * side).reshape(side, side)
    tails = np.concatenate([cells[:, :-1].ravel(), cells[:-1].ravel()])
    heads = np.concatenate([cells[:, 1:].ravel(), cells[1:].ravel()])
    matrix = np.zeros((side * side, len(tails)))
    matrix[tails, np.arange(len(tails))] = -1
    matrix[heads, np.arange(len(tails))] = 1
    balance = np.zeros(side * side)
    balance[[0, -1]] = -1, 1
    return pure(Sense.MIN, matrix, balance, balance, integer=False)


def assignment(size: int = 20) -> LinearModel:
    """An assignment as a linear program."""
    cells = np.arange(size * size)
    matrix = np.zeros((2 * size, size * size))
    matrix[cells // size, cells] = matrix[size + cells % size, cells] = 1
    return pure(Sense.MIN, matrix, np.ones(2 * size), np.ones(2 * size), integer=False)


def knapsack(items: int, capacities: int) -> LinearModel:
    """Real weights, a third of which fits."""
    weights = np.random.default_rng(0).uniform(1, 10, size=(capacities, items))
    sides = weights.sum(axis=1) / 3
    return pure(Sense.MAX, weights, np.full(capacities, -np.inf), sides, integer=True)


def set_cover(rows: int = 20, columns: int = 30) -> LinearModel:
    """Each row covered at least once."""
    rng = np.random.default_rng(1)
    matrix = (rng.random((rows, columns)) < 0.15).astype(float)
    matrix[np.arange(rows), rng.integers(columns, size=rows)] = 1
    return pure(Sense.MIN, matrix, np.ones(rows), np.full(rows, np.inf), integer=True)


def facility_location(sites: int = 5, customers: int = 12) -> LinearModel:
    """Capacitated; fixed charges of sites known, costs of transport predicted."""
    rng = np.random.default_rng(2)
    demands = rng.integers(1, 6, size=customers).astype(float)
    columns, links = sites + sites * customers, sites * customers
    matrix = np.zeros((customers + sites + links, columns))
    shares = sites + np.arange(links).reshape(sites, customers)
    for site in range(sites):
        matrix[np.arange(customers), shares[site]] = 1
        matrix[customers + site, shares[site]] = demands
        matrix[customers + site, site] = -demands.sum() // 2
        matrix[customers + shares[site], shares[site]] = 1
        matrix[customers + shares[site], site] = -1
    upper = np.zeros(len(matrix))
    upper[:customers] = 1
    lower = np.where(upper == 1, 1.0, -np.inf)
    integer = np.arange(columns) < sites
    fixed = np.where(integer, rng.uniform(4, 8, size=columns), 0.0)
    return model_of(Sense.MIN, matrix, lower, upper, integer, fixed, np.arange(sites, columns))


CASES: dict[str, Callable[[], LinearModel]] = {
    "grid-path-5x5": grid_path,
    "assignment-20x20": assignment,
    "knapsack-32x2": lambda: knapsack(32, 2),
    "knapsack-48x1": lambda: knapsack(48, 1),
    "set-cover-20x30": set_cover,
    "facility-location-5x12": facility_location,
}


def by_hand(model: LinearModel) -> highspy.Highs:
    """One HiGHS object, set up as for a single core and no gap."""
    highs = highspy.Highs()
    options: dict[str, bool | int | float | str] = {"output_flag": False, "threads": 1, "mip_rel_gap": 0.0}
    options["mip_heuristic_run_feasibility_jump"] = False
    if not model.integrality.all():
        options["presolve"] = "off"
    if not model.is_mixed_integer:
        options["simplex_strategy"] = 4
    for name, value in options.items():
        highs.setOptionValue(name, value)
    highs.passModel(as_highs_lp(model))
    return highs


def expert(model: LinearModel) -> Callable[[FloatArray], FloatArray]:
    """The loop that an expert would write for `argmax <theta, z>`."""
    relaxation, branch_and_bound = by_hand(model.relaxed()), by_hand(model)
    columns = np.arange(model.num_columns, dtype=np.int32)
    sign, integer, predicted = -model.sense.sign, model.integrality, model.predicted.columns

    def solve(theta: FloatArray) -> FloatArray:
        decisions = np.empty_like(theta)
        costs = sign * model.fixed_costs
        for row, each in enumerate(theta):
            costs[predicted] = -each
            relaxation.changeColsCost(len(costs), columns, costs)
            relaxation.run()
            values = np.array(relaxation.getSolution().col_value)
            if np.abs(values - np.round(values))[integer].max(initial=0) > 1e-6:
                branch_and_bound.clearSolver()
                branch_and_bound.changeColsCost(len(costs), columns, costs)
                branch_and_bound.run()
                values = np.array(branch_and_bound.getSolution().col_value)
            decisions[row] = values[predicted]
        return decisions

    return solve


def seconds(call: Callable[[FloatArray], FloatArray], theta: FloatArray) -> float:
    """Processor time of one call."""
    began = time.process_time()
    call(theta)
    return time.process_time() - began


def main(names: list[str]) -> None:
    """Print a Markdown table."""
    print("| model | `solver.map` | highspy by hand | ratio |")
    print("|---|---:|---:|---:|")
    for name in names or CASES:
        model = CASES[name]()
        rng = np.random.default_rng(7)
        instances, samples = (4, 2) if model.is_mixed_integer else (32, 10)
        base = rng.uniform(1, 10, size=(instances, 1, *model.predicted.shape))
        noisy = base + 0.5 * rng.gumbel(size=(instances, samples, *model.predicted.shape))
        theta = model.sense.sign * noisy.reshape(-1, *model.predicted.shape)
        solver, loop = HighsSolver(model), expert(model)
        solver.map(np.repeat(theta, 40, axis=0)[:40])  # compiles
        np.testing.assert_allclose(solver.map(theta), loop(theta), atol=1e-6)
        pairs = [(seconds(solver.map, theta), seconds(loop, theta)) for _ in range(REPEATS)]
        ours, theirs = np.median(pairs, axis=0) * 1e6 / len(theta)
        print(f"| {name} | {ours:,.0f} µs | {theirs:,.0f} µs | {ours / theirs:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
