"""The cache: what counts as the same row, what is kept, and for how long."""

from __future__ import annotations

import pickle
import threading

import networkx as nx
import numpy as np
import pytest

import linear_models as models
from imle_opt_solvers import CachedSolver, HighsSolver, InvalidInputError, ShortestPath, SolveError, Status
from imle_opt_solvers._row_keys import row_keys
from imle_opt_solvers.instances import flatten_instances
from imle_opt_solvers.solution import Sense, Solution
from imle_opt_solvers.solver import Solver, Traits

OVERHEAD = 512
ENDS = {0.0: Status.OPTIMAL, 1.0: Status.INFEASIBLE, 2.0: Status.FEASIBLE}


class Numbered(Solver):
    """Answers (call number, first cost), and ends as the second cost says; it writes down what it solved."""

    def __init__(self, on_failure="nan"):
        super().__init__((2,), Sense.MIN, Traits(takes_instances=("allowed", "graph")), on_failure=on_failure)
        self.solved = []

    def solve_rows(self, costs, instances, deterministic):
        self.solved.extend(costs[:, 0].tolist())
        decisions = np.stack([np.full(len(costs), len(self.solved)), costs[:, 0]], axis=1)
        statuses = tuple(ENDS[end] for end in costs[:, 1])
        decisions[[not status.has_decision for status in statuses]] = np.nan
        return Solution(decisions, decisions.sum(1), statuses, np.full(len(costs), 0.25), 0.0)


def rows(*firsts, end=0.0):
    return np.array([[first, end] for first in firsts])


def counts(cached):
    stats = cached.stats()
    return stats.hits, stats.duplicates, stats.misses, stats.answers


def test_a_row_is_solved_once():
    inner = Numbered()
    cached = CachedSolver(inner)
    first = cached.solve(rows(1, 2, 3))
    again = cached.solve(rows(3, 4, 1))
    assert inner.solved == [1, 2, 3, 4]
    np.testing.assert_array_equal(again.decisions[[0, 2]], first.decisions[[2, 0]])
    np.testing.assert_array_equal(again.objectives[[0, 2]], first.objectives[[2, 0]])
    assert again.gaps.tolist() == [0.25] * 3
    assert counts(cached) == (2, 0, 4, 4)
    assert cached.stats().hit_rate == pytest.approx(2 / 6)


def test_equal_rows_of_one_batch_are_solved_once():
    inner = Numbered()
    cached = CachedSolver(inner)
    solution = cached.solve(rows(5, 6, 5, 5).reshape(2, 2, 2))
    assert inner.solved == [5, 6]
    assert solution.decisions[..., 1].tolist() == [[5, 6], [5, 5]]
    assert counts(cached) == (0, 2, 2, 2)


def test_answers_are_those_of_the_solver():
    inner = HighsSolver(models.knapsack())
    batch = np.random.default_rng(0).normal(size=(20, 6))[np.random.default_rng(1).integers(20, size=50)]
    capacities = {"rhs": np.random.default_rng(2).integers(3, 5, size=(50, 2)).astype(float)}
    cached = CachedSolver(inner)
    for instances in (None, capacities):
        for _ in range(2):
            alone, found = inner.solve(batch, instances=instances), cached.solve(batch, instances=instances)
            np.testing.assert_array_equal(found.decisions, alone.decisions)
            np.testing.assert_array_equal(found.objectives, alone.objectives)
            assert found.statuses == alone.statuses
    assert cached.stats().misses < 20 + 50
    assert cached.stats().hits >= 100


def test_the_answer_used_longest_ago_goes_first():
    inner = Numbered()
    cached = CachedSolver(inner, capacity=3 * (OVERHEAD + 16))
    assert cached.stats().capacity == 3
    cached.solve(rows(1, 2, 3))
    cached.solve(rows(1))
    cached.solve(rows(4))  # 2 goes
    cached.solve(rows(1, 3, 4))
    assert inner.solved == [1, 2, 3, 4]
    cached.solve(rows(2))
    assert inner.solved == [1, 2, 3, 4, 2]
    assert cached.stats().answers == 3


def test_a_batch_larger_than_the_memory_is_answered():
    cached = CachedSolver(Numbered(), capacity=OVERHEAD + 16)
    assert cached.solve(rows(*range(10))).decisions[:, 1].tolist() == list(range(10))
    assert cached.stats().answers == 1
    with pytest.raises(InvalidInputError, match="capacity"):
        CachedSolver(Numbered(), capacity=OVERHEAD)


def test_failures_are_not_kept():
    inner = Numbered()
    cached = CachedSolver(inner)
    for end, status in ((1.0, Status.INFEASIBLE), (2.0, Status.FEASIBLE)):
        inner.solved.clear()
        for _ in range(2):
            assert cached.solve(rows(1, 1, end=end)).statuses == (status, status)
        assert inner.solved == [1, 1]
    assert cached.stats().answers == 0


def test_the_failure_policy_is_the_callers_own():
    cached = CachedSolver(Numbered("raise"))
    batch = np.concatenate([rows(1), rows(2, end=2.0)])
    with pytest.raises(SolveError) as raised:
        cached.solve(batch)
    assert raised.value.rows == (1,)
    incumbent, nothing = cached.with_on_failure("incumbent"), cached.with_on_failure("nan")
    assert incumbent.solve(batch).decisions[1, 1] == 2
    assert np.isnan(nothing.solve(batch).decisions[1]).all()
    assert nothing.solve(batch).decisions[0, 1] == 1
    assert cached.stats() == nothing.stats()
    assert cached.stats().hits == 3


def test_deterministic_calls_get_deterministic_answers_only():
    inner = Numbered()
    cached = CachedSolver(inner)
    cached.solve(rows(1), deterministic=False)
    cached.solve(rows(1), deterministic=False)
    assert inner.solved == [1]
    cached.solve(rows(1))
    assert inner.solved == [1, 1]
    for deterministic in (True, False):
        assert cached.solve(rows(1), deterministic=deterministic).decisions[0, 0] == 2
    assert inner.solved == [1, 1]


def test_a_caller_may_change_what_it_gets():
    cached = CachedSolver(Numbered())
    cached.solve(rows(1)).decisions[:] = -1
    cached.solve(rows(1)).decisions[:] = -1
    assert cached.solve(rows(1)).decisions[0].tolist() == [1, 1]


def test_instances_are_part_of_the_row():
    batch = rows(1, 1, 1)
    for instances, different in [
        (None, 1),
        ({"allowed": np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])}, 2),
        ({"allowed": {"a": np.array([1, 2, 2]), "b": np.array([1, 1, 2])}}, 3),
        ({"allowed": ["left", "right", "left"]}, 2),
        ({"graph": [nx.path_graph(3), nx.path_graph(4), nx.path_graph(4)]}, 2),
    ]:
        inner = Numbered()
        CachedSolver(inner).solve(batch, instances=instances)
        assert len(inner.solved) == different, instances


def test_keys_tell_names_types_and_places_apart():
    costs = np.zeros((1, 2))
    contents = [
        None,
        {"a": [1.0]},
        {"b": [1.0]},
        {"a": np.array([1], dtype=np.int64)},
        {"a": {"b": [1.0]}},
        {"a": {"b": [1.0], "c": [2.0]}},
        {"a": {"b": [2.0], "c": [1.0]}},
        {"a": np.array([[1.0, 2.0]])},
        {"a": ["x"]},
        {"a": [("x",)]},
    ]
    keys = [
        row_keys(costs, None if content is None else flatten_instances(content, (1,)))[0]
        for content in contents
    ]
    assert len(set(keys)) == len(contents)
    one, other = ({"a": [1.0], "b": [2.0]}, {"b": [2.0], "a": [1.0]})
    assert row_keys(costs, flatten_instances(one, (1,))) == row_keys(costs, flatten_instances(other, (1,)))


def test_a_graph_that_was_changed_is_another_one():
    graph = nx.DiGraph([(0, 1), (1, 2), (0, 2)])
    cached = CachedSolver(ShortestPath(nx.DiGraph(graph), 0, 2))
    costs = np.array([[9.0, 1.0, 2.0]])  # by the solver's order of edges
    for _ in range(3):  # at its first use a NetworkX graph stores views of itself
        cached.solve(costs, instances={"graph": [graph]})
    before = cached.stats()
    assert before.hits >= 1
    graph.remove_edge(0, 1)
    graph.add_edge(1, 0)
    cached.solve(costs, instances={"graph": [graph]})
    assert cached.stats().misses == before.misses + 1


def test_an_object_that_cannot_be_pickled_is_refused():
    with pytest.raises(InvalidInputError, match=r"generator that cannot be pickled"):
        CachedSolver(Numbered()).solve(
            rows(1), instances={"allowed": np.array([(i for i in ())], dtype=object)}
        )


def test_pickles_leave_the_memory_behind():
    cached = CachedSolver(HighsSolver(models.knapsack()), capacity=100_000)
    batch = np.random.default_rng(3).normal(size=(4, 6))
    size = len(pickle.dumps(cached))
    cached.solve(batch)
    assert len(pickle.dumps(cached)) == size
    copy = pickle.loads(pickle.dumps(cached))
    assert counts(copy) == (0, 0, 0, 0)
    assert copy.stats().capacity == cached.stats().capacity
    np.testing.assert_array_equal(copy.solve(batch).decisions, cached.solve(batch).decisions)


def test_clear():
    cached = CachedSolver(Numbered())
    cached.solve(rows(1, 2, 1))
    cached.clear()
    assert counts(cached) == (0, 0, 0, 0)
    assert np.isnan(cached.stats().hit_rate)
    cached.solve(rows(1))
    assert counts(cached) == (0, 0, 1, 1)


def test_several_threads_may_use_one_cache():
    inner = HighsSolver(models.knapsack())
    cached = CachedSolver(inner, capacity=10 * (OVERHEAD + 48))
    batch = np.random.default_rng(4).normal(size=(30, 6))
    expected, found = inner.solve(batch).decisions, {}

    def solve(seed):
        order = np.random.default_rng(seed).permutation(30)
        found[seed] = [(cached.solve(batch[order]).decisions == expected[order]).all() for _ in range(5)]

    threads = [threading.Thread(target=solve, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(all(found[seed]) for seed in range(4))
    assert sum(counts(cached)[:3]) == 4 * 5 * 30
