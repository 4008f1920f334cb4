"""The parts of an evaluation against oracles: SciPy, plain Python, the solver without a memory."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from scipy import stats

from imle_opt.evaluation import inputs
from imle_opt.evaluation.cost_errors import TrueRanks, errors_of, row_errors
from imle_opt.evaluation.figures import interquartile_mean
from imle_opt.evaluation.inputs import read_true
from imle_opt.evaluation.remembered import RememberingSolver
from imle_opt.evaluation.row_index import RowIndex, distinct, row_keys
from imle_opt.evaluation.schedule import BlockSizes
from imle_opt.tables import csv_rows
from imle_opt_solvers import FunctionSolver, InvalidInputError, Sense, Solution, Solver, Status, Traits


def test_cost_errors_equal_scipy():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(9, 7))
    predicted = np.round(true + rng.normal(size=true.shape))  # with ties
    predicted[3], true[5] = 2.0, 1.0  # all equal: no correlation
    ranks = TrueRanks(true)
    rows = row_errors(predicted, true, ranks)
    for row in (0, 1, 2, 4, 6, 7, 8):
        expected = stats.spearmanr(predicted[row], true[row]).statistic
        assert rows["rank_correlations"][row] == pytest.approx(expected, abs=1e-12)
    assert np.flatnonzero(np.isnan(rows["rank_correlations"])).tolist() == [3, 5]
    scatter = float(((true - true.mean()) ** 2).sum())
    both = [np.stack([values, 2 * values]) for values in rows.values()]
    errors = errors_of(*both, scatter, 7)
    assert errors.mse[0] == pytest.approx(((predicted - true) ** 2).mean())
    assert errors.mae[0] == pytest.approx(np.abs(predicted - true).mean())
    assert errors.r2[0] == pytest.approx(1 - ((predicted - true) ** 2).sum() / scatter)
    assert errors.spearman[0] == pytest.approx(np.nanmean(rows["rank_correlations"]))
    assert errors.mse[1] == 2 * errors.mse[0]
    assert np.isnan(errors_of(*both, 0.0, 7).r2).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 30])
def test_the_interquartile_mean(count):
    values = np.sort(np.random.default_rng(count).exponential(size=count))
    # Every value four times: then whole values are cut off, and SciPy's trimmed mean is the same.
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(np.repeat(values, 4), 0.25))
    assert np.isnan(interquartile_mean(np.empty(0)))


class Counting(Solver):
    """The cheapest of three, or its ranking, as numbers that are not binary; rows with a 99 fail."""

    def __init__(self, binary):
        super().__init__((3,), Sense.MIN, Traits(binary=binary))
        self.seen = []

    def solve_rows(self, costs, instances, deterministic):
        self.seen.append(costs.copy())
        if (costs < 0).any():
            raise InvalidInputError(f"row {int(np.flatnonzero((costs < 0).any(axis=1))[0])} is negative")
        decisions = np.eye(3)[costs.argmin(axis=1)] * (1 if self.traits.binary else 2.5)
        bad = (costs == 99).any(axis=1)
        decisions[bad] = np.nan
        statuses = tuple(Status.LIMIT if failed else Status.OPTIMAL for failed in bad)
        objectives = (costs * decisions).sum(axis=1)
        return Solution(decisions, objectives, statuses, np.where(bad, np.nan, 0.125), 0.0)


@pytest.mark.parametrize("binary", [True, False])
def test_equal_rows_are_solved_once(binary):
    inner = Counting(binary)
    solver = RememberingSolver(inner)
    rng = np.random.default_rng(0)
    distinct = np.arange(600.0).reshape(200, 3) % 97
    for _ in range(20):
        costs = distinct[rng.integers(200, size=30)]
        solution, expected = solver.solve(costs), Counting(binary).solve(costs)
        np.testing.assert_array_equal(solution.decisions, expected.decisions)
        np.testing.assert_array_equal(solution.objectives, expected.objectives)
        np.testing.assert_array_equal(solution.gaps, expected.gaps)
        assert solution.statuses == expected.statuses
    seen = np.concatenate(inner.seen)
    assert len(np.unique(seen, axis=0)) == len(seen) == solver.solved
    # A copy, and the same memory around another solver, know what was solved.
    before = len(inner.seen)
    solver.with_on_failure("nan").solve(seen)
    other = Counting(binary)
    solver.around(other).solve(seen)
    assert (len(inner.seen), other.seen) == (before, [])


def test_failures_are_not_remembered_and_minus_zero_is_another_row():
    inner = Counting(True)
    solver = RememberingSolver(inner).with_on_failure("nan")
    costs = np.array([[1.0, 99.0, 2.0], [0.0, 1.0, 2.0], [-0.0, 1.0, 2.0], [1.0, 99.0, 2.0]])
    for _ in range(2):
        assert solver.solve(costs).failed_rows == (0, 3)
    assert [len(batch) for batch in inner.seen] == [3, 1]


def test_an_index_is_a_dictionary():
    rng = np.random.default_rng(0)
    # Few different lowest bits, so that keys meet in their slots; some are told apart by their check alone.
    keys = rng.integers(2**20, size=6000, dtype=np.uint64) << np.uint64(44)
    keys |= rng.integers(7, size=6000, dtype=np.uint64)
    checks = rng.integers(3, size=6000, dtype=np.uint64)
    index, known = RowIndex(), {}
    pairs = list(zip(keys.tolist(), checks.tolist(), strict=True))
    for part in np.array_split(np.arange(6000), [1, 2, 700, 1800, 1800, 4500]):
        assert index.find(keys[part], checks[part]).tolist() == [known.get(pairs[row], -1) for row in part]
        new = []
        for row in part:
            if pairs[row] not in known:
                known[pairs[row]] = len(known)
                new.append(row)
        index.add(keys[new], checks[new])
    assert index.find(keys, checks).tolist() == [known[pair] for pair in pairs]


def test_keys_tell_rows_apart_and_depend_on_nothing_else():
    rng = np.random.default_rng(0)
    rows = rng.integers(-1, 2, size=(3000, 2, 5)).astype(np.float64)
    rows[rows == 0] = rng.choice([0.0, -0.0], size=int((rows == 0).sum()))
    keys, checks = row_keys(rows)
    one_by_one = [row_keys(row[None]) for row in rows]
    np.testing.assert_array_equal(keys, np.concatenate([key for key, _ in one_by_one]))
    np.testing.assert_array_equal(checks, np.concatenate([check for _, check in one_by_one]))
    bits = [row.tobytes() for row in rows]
    assert len(set(keys.tolist())) == len(set(checks.tolist())) == len(set(bits)) < len(rows)
    first, inverse = distinct(keys, checks)
    assert [bits[row] for row in first[inverse]] == bits
    # Swapped entries and entries whose difference is the same are other rows.
    pair = row_keys(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [2.0, 2.0]]))
    assert [len(set(each.tolist())) for each in pair] == [4, 4]


def test_a_full_memory_is_forgotten():
    inner = Counting(True)
    solver = RememberingSolver(inner, capacity=10 * (1 + 16 + RowIndex.MOST_BYTES))
    rows = np.arange(60.0).reshape(20, 3)
    for part in (rows[:8], rows[8:16], rows[8:16], rows[:8]):
        solver.solve(part)
    assert [len(batch) for batch in inner.seen] == [8, 8, 8]
    solver.solve(rows)  # more than it holds at once
    np.testing.assert_array_equal(solver.solve(rows).decisions, np.eye(3)[rows.argmin(axis=1)])


def test_errors_count_the_rows_that_were_given():
    solver = RememberingSolver(Counting(True))
    with pytest.raises(InvalidInputError, match="row 3 is negative"):
        solver.solve(np.array([[1.0, 2, 3], [1, 2, 3], [1, 2, 3], [-1, 2, 3]]))


@pytest.mark.parametrize("room", ["enough", "none", "too little"])
def test_text_is_parsed_once_where_there_is_room(tmp_path, monkeypatch, room):
    path, solver = tmp_path / "true.csv", FunctionSolver(lambda costs: costs, 3, "min")
    values = np.random.default_rng(0).normal(size=(50, 3))
    np.savetxt(path, values, delimiter=",", fmt="%.17g")
    monkeypatch.setattr(csv_rows, "_PIECE", 1000)
    monkeypatch.setattr(inputs, "TemporaryDirectory", partial(TemporaryDirectory, dir=tmp_path))
    parse, parsed, opened, appended = csv_rows._parse_cells, [], Path.open, []

    def counted(layout, piece, lines):
        parsed.append(piece)
        return parse(layout, piece, lines)

    def full(self, mode="r", *args, **more):
        if mode == "ab":
            appended.append(self)
            if len(appended) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *args, **more)

    monkeypatch.setattr(csv_rows, "_parse_cells", counted)
    if room == "none":
        monkeypatch.setattr(inputs, "TemporaryDirectory", partial(TemporaryDirectory, dir=tmp_path / "no"))
    if room == "too little":
        monkeypatch.setattr(Path, "open", full)
    with read_true(path, solver) as true:
        assert true.rows == 50
        np.testing.assert_allclose(true.means, values.mean(axis=0))
        for _ in range(2):
            np.testing.assert_array_equal(true.feed().take(60), values)
        left = list(tmp_path.rglob("*.f8"))
    text = path.read_bytes()
    assert b"".join(parsed) == (text if room == "enough" else 3 * text)
    assert len(left) == (room == "enough")
    assert list(tmp_path.iterdir()) == [path]


def test_blocks_grow_while_rows_are_fast():
    sizes = BlockSizes(width=40)
    taken = []
    for _ in range(6):
        size = sizes.next(10_000)
        taken.append(size)
        sizes.took(size, 1e-5 * size)
    assert taken == [1, 8, 64, 512, 3276, 3276]
    sizes.took(100, 1000.0)
    assert sizes.next(10_000) == 1
    assert sizes.next(0) == 0


def test_a_functions_solver_is_remembered_too():
    calls = []

    def cheapest(costs):
        calls.append(costs.copy())
        return np.eye(3)[costs.argmin()]

    solver = RememberingSolver(FunctionSolver(cheapest, 3, "min"))
    solver.solve(np.tile([3.0, 1.0, 2.0], (50, 1)))
    assert len(calls) == 1
