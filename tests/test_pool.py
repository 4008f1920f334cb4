"""Pools: the same answers on any workers, and what happens when workers crash, hang, or lose their parent."""

from __future__ import annotations

import copy
import functools
import gc
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import linear_models as models
import pool_functions as functions
from imle_opt_solvers import (
    CachedSolver,
    FunctionSolver,
    HighsSolver,
    ImleOptError,
    InvalidInputError,
    Limits,
    ShortestPath,
    Solution,
    SolveError,
    SolverPool,
    Status,
)
from imle_opt_solvers._chunks import Chunk, ChunkTime, Solved, cut
from imle_opt_solvers._pool_costs import PoolCosts
from imle_opt_solvers._pool_counts import PoolCounts
from imle_opt_solvers._portable_pickle import dump_exception
from imle_opt_solvers._process_pool import ProcessWorkers
from imle_opt_solvers._row_history import RowHistory
from imle_opt_solvers._shared import anonymous_file
from imle_opt_solvers._worker_messages import (
    Done,
    Raised,
    Ready,
    Task,
    read_answer,
    read_task,
    write_answer,
    write_task,
)
from imle_opt_solvers.instances import take_rows
from pool_functions import answers, costs, solver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left behind is read from /proc")

BACKENDS = ("thread", "process")
TESTS = Path(__file__).parent
PATIENCE = 60.0
"""Seconds that anything may take on a machine with other work to do."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMLE_OPT_TEST_FOLDER", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """No worker process, no open descriptor, no shared-memory segment outlives a test's pools."""
    before = segments(), descriptors()
    yield
    gc.collect()
    assert eventually(lambda: segments() <= before[0])
    assert eventually(lambda: not children_of(os.getpid())), children_of(os.getpid())
    assert eventually(lambda: descriptors() <= before[1]), (before[1], descriptors())


def segments():
    return set(Path("/dev/shm").iterdir())


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def processes():
    """Process number -> (parent, state, command line)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            found[int(entry.name)] = int(stat[1]), stat[0], command
    return found


def children_of(parent):
    return [
        pid
        for pid, (above, _, command) in processes().items()
        if above == parent and "imle_opt_solvers._worker" in command
    ]


def alive(pid):
    return pid in processes() and processes()[pid][1] != "Z"


def eventually(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def in_process(function, workers=2, **options):
    return SolverPool(solver(function), workers, backend="process", **{"chunk": 4, **options})


# The same answers


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("workers", "chunk"), [(1, "auto"), (2, 1), (3, 7), (2, 1000)])
def test_answers_are_those_of_one_solver_bit_by_bit(backend, workers, chunk):
    inner = HighsSolver(models.knapsack())
    batch = np.random.default_rng(0).normal(size=(3, 7, 6))
    batch[1, 2:5] = 1.0  # ties
    alone = inner.solve(batch)
    with SolverPool(inner, workers, backend=backend, chunk=chunk) as pool:
        for _ in range(2):
            together = pool.solve(batch)
            np.testing.assert_array_equal(together.decisions, alone.decisions)
            np.testing.assert_array_equal(together.objectives, alone.objectives)
            np.testing.assert_array_equal(together.gaps, alone.gaps)
            assert together.statuses == alone.statuses
        np.testing.assert_array_equal(pool.map(batch), alone.decisions)


@pytest.mark.parametrize("backend", BACKENDS)
def test_instances_go_with_their_rows(backend):
    inner = HighsSolver(models.knapsack(), on_failure="nan")
    batch = np.random.default_rng(1).uniform(1, 2, size=(9, 6))
    capacities = np.random.default_rng(2).integers(-1, 12, size=(9, 2)).astype(float)
    upper = {"x1": np.arange(9) % 2.0}
    instances = {"rhs": capacities, "column_upper": upper}
    alone = inner.solve(batch, instances=instances)
    assert {Status.OPTIMAL, Status.INFEASIBLE} <= set(alone.statuses)
    with SolverPool(inner, 2, backend=backend, chunk=2) as pool:
        together = pool.solve(batch, instances=instances)
    assert together.statuses == alone.statuses
    np.testing.assert_array_equal(together.decisions, alone.decisions)


def test_graphs_as_instances_reach_the_processes():
    graphs = [nx.DiGraph([(0, 1), (1, 3), (0, 2), (2, 3)]), nx.DiGraph([(0, 3), (1, 3), (0, 2), (2, 3)])]
    inner = ShortestPath(graphs[0], 0, 3)
    batch, rows = np.random.default_rng(3).uniform(1, 2, size=(4, 4)), [graphs[row % 2] for row in range(4)]
    with SolverPool(inner, 2, backend="process", chunk=1) as pool:
        found = pool.solve(batch, instances={"graph": rows}).decisions
    np.testing.assert_array_equal(found, inner.solve(batch, instances={"graph": rows}).decisions)


def test_a_batch_may_grow_and_shrink():
    with in_process(functions.cheapest) as pool:
        for rows in (1, 3000, 2, 0, 20):
            solution, alone = pool.solve(costs(rows)), solver(functions.cheapest).solve(costs(rows))
            np.testing.assert_array_equal(solution.decisions, answers(costs(rows)))
            np.testing.assert_array_equal(solution.objectives, alone.objectives)
            np.testing.assert_array_equal(solution.gaps, alone.gaps)  # NaN: nothing is known


def test_a_failed_row_does_not_harm_its_neighbours():
    inner = HighsSolver(models.knapsack())
    instances = {"rhs": np.array([[9.0, 7.0]] * 3 + [[-1.0, 7.0]] + [[9.0, 7.0]] * 2)}
    batch = np.random.default_rng(4).normal(size=(6, 6))
    with SolverPool(inner, 2, backend="process", chunk=2) as pool:
        with pytest.raises(SolveError) as raised:
            pool.solve(batch, instances=instances)
        assert raised.value.rows == (3,)
        lenient = pool.with_on_failure("nan").solve(batch, instances=instances)
    assert np.isnan(lenient.decisions[3]).all()
    np.testing.assert_array_equal(
        np.delete(lenient.decisions, 3, 0), inner.solve(batch[[0, 1, 2, 4, 5]]).decisions
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_status_arrives_and_all_three_policies_hold(backend):
    batch = np.random.default_rng(7).permutation(np.repeat(np.arange(6.0), 3))[:, None] - np.arange(5)
    expected = tuple(tuple(Status)[int(row[0])] for row in batch)
    failed = tuple(row for row, status in enumerate(expected) if status is not Status.OPTIMAL)
    decided = np.array([status in (Status.OPTIMAL, Status.FEASIBLE) for status in expected])
    optimal = np.array([status is Status.OPTIMAL for status in expected])
    with SolverPool(functions.EveryStatus(), 2, backend=backend, chunk=4) as pool:
        with pytest.raises(SolveError) as raised:
            pool.solve(batch)
        assert raised.value.rows == failed
        for policy, kept in (("incumbent", decided), ("nan", optimal)):
            solution = pool.with_on_failure(policy).solve(batch)
            assert solution.statuses == expected
            np.testing.assert_array_equal(solution.decisions[kept], answers(batch[kept]))
            assert np.isnan(solution.decisions[~kept]).all()
            np.testing.assert_array_equal(solution.gaps, np.where(decided, 0.25, np.nan))
        assert pool.stats().statuses == dict.fromkeys(Status, 9)


def test_incumbents_come_through():
    weights = np.random.default_rng(3).integers(20, 90, size=(5, 60))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(60))
    inner = HighsSolver(model, limits=Limits(seconds=0.3), on_failure="incumbent")
    with SolverPool(inner, 1, backend="process", chunk=1) as pool:
        solution = pool.solve(np.random.default_rng(5).uniform(20, 90, 60))
    if solution.statuses == (Status.FEASIBLE,):
        assert np.isin(solution.decisions, (0.0, 1.0)).all()
    else:
        assert solution.statuses == (Status.LIMIT,)


def test_advice_is_that_of_the_solver():
    inner = ShortestPath(nx.DiGraph([(0, 1), (1, 2), (3, 2)]), 0, 2)
    with SolverPool(inner, 2, backend="thread") as pool, pytest.raises(SolveError, match="no path leads"):
        pool.solve(np.ones((3, 3)), instances={"target": [2, 3, 2]})


# Which back end, which options


def test_threads_where_the_lock_is_released_and_processes_elsewhere():
    assert SolverPool(HighsSolver(models.knapsack())).backend == "thread"
    assert SolverPool(HighsSolver(models.knapsack()), timeout=5).backend == "process"
    assert SolverPool(solver(functions.cheapest)).backend == "process"
    assert SolverPool(solver(functions.cheapest)).workers >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers"),
        ({"backend": "dask"}, "'process', 'thread', 'ray'"),
        ({"chunk": 0}, "chunk"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 1, "backend": "thread"}, "cannot be killed"),
        ({"address": "auto", "backend": "thread"}, "`address` is for backend='ray'"),
        ({"retries": -1}, "retries"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        SolverPool(solver(functions.cheapest), **options)


def test_a_solver_that_cannot_be_pickled_is_refused_when_the_pool_is_made():
    with pytest.raises(InvalidInputError, match=r"cannot be pickled.*function without arguments"):
        SolverPool(FunctionSolver(lambda row: row, 5, "min"), backend="process")
    with SolverPool(functions.make_solver, 2, backend="process", chunk=2) as pool:
        np.testing.assert_array_equal(pool.solve(costs(5)).decisions, answers(costs(5)))


def test_a_function_that_fails_in_the_worker_alone_says_so():
    with SolverPool(functools.partial(make_here_only, os.getpid()), 1, backend="process") as pool:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not in this process"):
                pool.solve(costs(3))


def make_here_only(process):
    if os.getpid() != process:
        raise RuntimeError("not in this process")
    return solver(functions.cheapest)


def test_workers_that_die_idle_are_no_failed_starts(monkeypatch):
    monkeypatch.setattr("imle_opt_solvers._process_pool._FAILED_STARTS", 2)
    monkeypatch.setattr("imle_opt_solvers._worker_process.WorkerProcess.was_killed", lambda *given: False)
    with SolverPool(solver(functions.cheapest), 3, backend="process", chunk=1) as pool:
        for _ in range(2):
            np.testing.assert_array_equal(pool.solve(costs(6)).decisions, answers(costs(6)))
            for pid in pool._engine._workers.pids:
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.5)  # they have ended


@pytest.mark.parametrize("call", ["register", "unregister"])
def test_an_interrupt_while_a_worker_is_taken_in_or_let_go_leaves_a_pool_that_works(call):
    with SolverPool(solver(functions.cheapest), 1, backend="process", chunk=1) as pool:
        pool.solve(costs(4))
        workers = pool._engine._workers
        os.kill(workers.pids[0], signal.SIGKILL)
        poll = workers._poll

        class Interrupted:
            def __getattr__(self, name):
                if name != call:
                    return getattr(poll, name)
                workers._poll = poll
                raise KeyboardInterrupt

        workers._poll = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            pool.solve(costs(4))
        for _ in range(2):
            np.testing.assert_array_equal(pool.solve(costs(4)).decisions, answers(costs(4)))
        assert len(workers.pids) == 1


def test_workers_that_cannot_start_are_given_up_and_killed_ones_are_not(monkeypatch, folder):
    monkeypatch.setattr("imle_opt_solvers._process_pool._FAILED_STARTS", 2)
    exits = functools.partial(functions.ends_elsewhere, os.getpid(), 0)
    with (
        SolverPool(exits, 1, backend="process") as pool,
        pytest.raises(ImleOptError, match=r"end before they are ready \(2 in a row\)"),
    ):
        pool.solve(costs(3))
    killed = functools.partial(functions.ends_elsewhere, os.getpid(), signal.SIGKILL)
    with SolverPool(killed, 1, backend="process") as pool:
        np.testing.assert_array_equal(pool.solve(costs(3)).decisions, answers(costs(3)))
        assert pool.stats().restarts == 3
    assert len((folder / "ended").read_text().splitlines()) == 2 + 4


def test_chunks_hold_every_row_once():
    for rows, workers, size, seconds in [(1, 4, "auto", None), (17, 2, "auto", 1e-6), (100, 3, 7, None)]:
        chunks = cut(rows, workers, size, seconds)
        assert [row for chunk in chunks for row in range(chunk.start, chunk.stop)] == list(range(rows))
    assert len(cut(1000, 2, "auto", 1e-7)) == 2  # fast rows: as few chunks as there are workers
    assert len(cut(64, 2, "auto", None)) == 8  # nothing is known: a few for each worker
    assert len(cut(64, 2, "auto", 1e-4)) == 8
    assert len(cut(64, 2, "auto", 0.5)) == 64  # hard rows: one by one
    assert len(cut(64, 2, "auto", 0.5, send_seconds=0.1)) == 8
    assert len(cut(1000, 2, "auto", 1e-4)) == 20  # 50 rows take as long as it takes to send 50 chunks


def test_messages_of_any_size_arrive_and_a_broken_one_reads_as_the_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for size in (0, 1, 4096 - 33, 4096, 2**21):  # 33 bytes of header; more than a socket holds
            task, answer = Task(9, 2, 5, True, bytes(size)), Raised(b"x" * size)
            writer = threading.Thread(target=write_task, args=(ours.fileno(), task))
            writer.start()
            assert read_task(theirs.fileno()) == task
            writer.join(PATIENCE)
            writer = threading.Thread(target=write_answer, args=(theirs.fileno(), answer))
            writer.start()
            assert read_answer(ours.fileno()) == answer
            writer.join(PATIENCE)
        for answer in (Ready(), Done(0.1, 3)):
            write_answer(theirs.fileno(), answer)
            assert read_answer(ours.fileno()) == answer
        write_task(ours.fileno(), Task(9, 2, 5, False, bytes(100)))
        begun = theirs.recv(50)
        for sent in (begun, begun[:20], b""):
            ours, broken = socket.socketpair()
            broken.sendall(sent)
            broken.close()
            with ours, pytest.raises(EOFError):
                read_task(ours.fileno())


def test_instances_are_cut_as_rows_are():
    taken = take_rows({"a": np.arange(6).reshape(3, 2), "b": {"c": np.arange(3)}}, slice(1, 3))
    assert taken["a"].tolist() == [[2, 3], [4, 5]]
    assert taken["b"]["c"].tolist() == [1, 2]


# Life of a pool


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_pool_says_so(backend):
    pool = SolverPool(solver(functions.cheapest), 2, backend=backend)
    pool.close()
    pool.close()
    for call in (pool.solve, pool.submit):
        with pytest.raises(InvalidInputError, match="closed"):
            call(costs(2))


def test_workers_stay_and_copies_share_them():
    with in_process(functions.tells_modules) as pool:
        first = set(pool.solve(costs(40)).decisions[:, 4])
        lenient = pool.with_on_failure("nan")
        assert set(lenient.solve(costs(40)).decisions[:, 4]) <= first | set(children_of(os.getpid()))
        assert len(children_of(os.getpid())) == 2
        assert lenient.stats() == pool.stats()
        other = copy.deepcopy(pool)
        assert other.stats().solves == 0
        assert pickle.loads(pickle.dumps(pool)).workers == 2


def test_a_pool_of_a_solver_that_cannot_be_pickled_can_be():
    with pickle.loads(pickle.dumps(SolverPool(functions.make_solver, 1, backend="process"))) as pool:
        np.testing.assert_array_equal(pool.solve(costs(5)).decisions, answers(costs(5)))


def test_the_solver_is_pickled_once_and_batches_not_at_all(monkeypatch):
    functions.Counted.pickled = 0
    with in_process(functions.Counted()) as pool:
        monkeypatch.setattr("pickle.dumps", None)
        monkeypatch.setattr("imle_opt_solvers._process_pool.dumps", None)
        for seed in range(3):
            np.testing.assert_array_equal(
                pool.solve(costs(9, seed=seed)).decisions, answers(costs(9, seed=seed))
            )
            os.kill(children_of(os.getpid())[0], signal.SIGKILL)
    assert functions.Counted.pickled == 1


def test_a_worker_has_one_thread_besides_the_one_that_waits_for_the_parents_end(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with in_process(functions.counts_threads) as pool:
        assert set(pool.solve(costs(9)).decisions[:, 4]) == {2}


def test_a_worker_starts_fast():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with SolverPool(HighsSolver(models.knapsack()), 2, backend="process", chunk=2) as pool:
        pool.solve(np.ones((8, 6)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, on which other work of the machine has little bearing.
    taken = sum(after[:2]) - sum(before[:2])
    assert taken / 2 < 1.5


def test_a_worker_is_small():
    with SolverPool(HighsSolver(models.knapsack()), 2, backend="process", chunk=2) as pool:
        pool.solve(np.ones((8, 6)))
        for pid in children_of(os.getpid()):
            assert resident_bytes(pid) < 120 * 2**20


def test_a_pool_that_nobody_holds_ends_its_workers():
    pool = in_process(functions.cheapest)
    pool.solve(costs(8))
    pool.submit(costs(8)).result(PATIENCE)
    assert len(children_of(os.getpid())) == 2
    del pool  # the fixture looks for what is left


@pytest.mark.parametrize("backend", BACKENDS)
def test_pools_stack(backend):
    with SolverPool(in_process(functions.cheapest, workers=1), 2, backend=backend, chunk=3) as pool:
        np.testing.assert_array_equal(pool.solve(costs(10)).decisions, answers(costs(10)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_threads_may_use_one_pool(backend):
    with SolverPool(solver(functions.slow), 2, backend=backend, chunk=2) as pool:
        found = {}

        def solve(seed):
            found[seed] = pool.solve(costs(6, seed=seed)).decisions

        threads = [threading.Thread(target=solve, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    for seed in range(4):
        np.testing.assert_array_equal(found[seed], answers(costs(6, seed=seed)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_futures(backend):
    with SolverPool(solver(functions.raises), 2, backend=backend, chunk=2) as pool:
        futures = [pool.submit(costs(6, seed=seed)) for seed in range(4)]
        bad = pool.submit(costs(6, bad=[3]))
        for seed, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(PATIENCE).decisions, answers(costs(6, seed=seed)))
        with pytest.raises(InvalidInputError, match="this row is bad: 3"):
            bad.result(PATIENCE)


def test_closing_ends_the_batch_of_threads():
    with SolverPool(solver(functions.slow), 1, backend="thread", chunk=1) as pool:
        running = pool.submit(costs(50))
        assert eventually(running.running)
        time.sleep(0.1)
    with pytest.raises(InvalidInputError, match="closed"):
        running.result(PATIENCE)


def test_closing_ends_futures():
    pool = in_process(functions.hangs_always)
    running, waiting = pool.submit(costs(3, bad=[1])), pool.submit(costs(3))
    assert eventually(running.running)
    assert eventually(lambda: len(children_of(os.getpid())) == 2)
    pool.close()
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE)
    with pytest.raises(InvalidInputError, match="closed while"):
        running.result(PATIENCE)


def test_a_forked_process_is_refused_and_harms_nothing():
    with SolverPool(solver(functions.cheapest), 2, backend="process", chunk=2) as pool:
        pool.solve(costs(4))
        child = os.fork()
        if child == 0:
            try:
                pool.solve(costs(4))
            except InvalidInputError as error:
                pool.close()
                os._exit(0 if "fork" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        np.testing.assert_array_equal(pool.solve(costs(4)).decisions, answers(costs(4)))
        assert pool.stats().restarts == 0


# Counts, and where a batch is solved


def test_counts():
    with in_process(functions.slow) as pool:
        pool.solve(costs(10))
        stats = pool.stats()
    assert stats.solves == 10
    assert stats.statuses == {Status.OPTIMAL: 10}
    assert stats.inline_solves == stats.restarts == 0
    assert stats.solver_seconds >= 10 * 0.02
    assert stats.seconds >= 10 * 0.02 / 2
    assert stats.transfer_seconds > 0
    assert stats.waiting_seconds >= 0
    assert stats.solver_seconds + stats.waiting_seconds <= 2 * stats.seconds
    assert stats.solver_seconds + stats.transfer_seconds + stats.waiting_seconds >= 2 * stats.seconds
    assert 0.02 <= stats.percentiles[50] <= stats.percentiles[90] <= stats.percentiles[99]
    assert stats.hits == 0
    assert stats.row_seconds == pytest.approx(stats.solver_seconds / 10)


def test_percentiles_count_rows():
    counts = PoolCounts()
    assert counts.percentiles() == {}
    times = [
        ChunkTime(Chunk(0, 80), 0.8, 1.0),
        ChunkTime(Chunk(80, 98), 0.9, 1.0),
        ChunkTime(Chunk(98, 100), 4, 5),
    ]
    nothing = Solution(np.empty((0, 1)), np.empty(0), (), np.empty(0), 0.0)
    counts.add(Solved(nothing, tuple(times), 0.5), 4.0, 2)
    assert counts.percentiles() == pytest.approx({50: 0.01, 90: 0.05, 99: 2.0})  # 80 rows, 18 rows, 2 rows
    assert counts.solver_seconds == pytest.approx(5.7)
    assert counts.transfer_seconds == pytest.approx(0.5 + 0.2 + 0.1 + 1.0)
    assert counts.waiting_seconds == pytest.approx(2 * 4.0 - 7.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hits_of_a_cache_inside_the_pool_are_counted(backend):
    batch = np.repeat(costs(1), 8, axis=0)
    with SolverPool(CachedSolver(solver(functions.cheapest)), 1, backend=backend, chunk=4) as pool:
        pool.solve(batch)
        assert pool.stats().hits == 7
        pool.solve(batch)
        assert pool.stats().hits == 15
        assert pool.stats().solves == 16


def test_rows_that_took_longest_come_first_and_answers_stay():
    begun = []

    def remembers(row):
        begun.append(row[0])
        time.sleep(0.1 if row[0] == 17 else 0.005)
        return functions.cheapest(row)

    batch = costs(20)
    batch[:, 0] = np.arange(20)
    with SolverPool(solver(remembers), 2, backend="thread", chunk=1) as pool:
        pool.solve(costs(20))  # nothing is known yet
        np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
        assert 17 not in begun[-20:][:8]
        shuffled = np.random.default_rng(0).permutation(batch)
        np.testing.assert_array_equal(pool.solve(shuffled).decisions, answers(shuffled))
        assert 17 in begun[-20:][:8]  # a busy machine may keep its thread waiting a little


def test_a_history_orders_by_what_is_known():
    history, batch, chunks = RowHistory(), costs(6), tuple(Chunk(row, row + 2) for row in (0, 2, 4))
    keys = history.keys(batch)
    assert len(set(keys)) == 6
    assert history.longest_first(chunks, keys) == chunks
    history.learn(keys, [ChunkTime(Chunk(0, 1), 1.0, 1.0), ChunkTime(Chunk(4, 6), 3.0, 3.0)])
    # 1 s and the average of 4/3 s; twice the average; 3/2 s each
    assert [chunk.start for chunk in history.longest_first(chunks, keys)] == [4, 2, 0]
    history.learn(keys, [ChunkTime(Chunk(0, 1), 2.0, 2.0)])
    assert [chunk.start for chunk in history.longest_first(chunks, keys)] == [0, 2, 4]
    elsewhere = history.keys(batch[::-1].copy())
    assert [chunk.start for chunk in history.longest_first(chunks, elsewhere)] == [4, 2, 0]


def test_fast_batches_are_solved_where_they_are():
    batches = [costs(1, seed=seed) for seed in range(12)]  # one row gains nothing from two workers
    with SolverPool(solver(functions.cheapest), 2, backend="process") as pool:
        for batch in batches:
            np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
        assert 0 < pool.stats().inline_solves < 12
        assert pool.stats().inline_below > 1
    with SolverPool(solver(functions.cheapest), 2, backend="process", timeout=PATIENCE) as pool:
        for batch in batches:
            pool.solve(batch)
        assert pool.stats().inline_solves == pool.stats().inline_below == 0


def test_inline_is_decided_by_what_was_measured():
    measured = PoolCosts()
    assert not measured.favour_inline(10, 2)
    assert measured.inline_below(2) is None
    for _ in range(3):
        measured.sent(rows=10, parallel=2, solver_seconds=0.010, wall_seconds=0.006)  # 1 ms a row and a call
    assert measured.row_seconds == pytest.approx(0.001)
    assert measured.overhead_seconds == pytest.approx(0.001)
    assert measured.favour_inline(1, 2)
    assert not measured.favour_inline(3, 2)
    for _ in range(200):
        if measured.favour_inline(1, 2):
            measured.solved_inline(1, 0.001)
    assert measured.row_seconds == pytest.approx(0.001)


@pytest.mark.parametrize("overhead", [0.4, 1.5, 7.4])
def test_what_is_told_about_inline_batches_is_what_is_done(overhead):
    measured = PoolCosts()
    for _ in range(3):
        measured.sent(rows=10, parallel=2, solver_seconds=0.010, wall_seconds=0.005 + 0.001 * overhead)
    assert measured.inline_below(1) == np.inf
    for workers in (2, 3, 8, 9, 20):
        least = measured.inline_below(workers)
        done = [measured.favour_inline(rows, workers) for rows in range(1, 30)]
        assert done == [rows < least for rows in range(1, 30)]


def test_now_and_then_an_inline_batch_is_sent_to_measure_again():
    measured = PoolCosts()
    for _ in range(3):
        measured.sent(1, 1, 1e-6, 1.0)
    sent = 0
    for _ in range(640):
        if measured.favour_inline(1, 2):
            measured.solved_inline(1, 1e-6)
        else:
            sent += 1
    assert sent == 10


# Faults


def test_a_killed_worker_is_replaced_and_its_rows_solved_again(folder):
    with in_process(functions.killed_once) as pool:
        np.testing.assert_array_equal(pool.solve(costs(30, bad=[13])).decisions, answers(costs(30, bad=[13])))
        assert pool.stats().restarts == 1
        assert pool.stats().solves == 30
    assert len((folder / "killed").read_text().splitlines()) == 2


def test_a_row_that_kills_every_worker_is_named_and_the_others_are_solved():
    batch = costs(20, bad=[6])
    with in_process(functions.killed_always, retries=2) as pool:
        with pytest.raises(SolveError, match=r"row 6: error.*ran past `timeout` 3 time") as raised:
            pool.solve(batch)
        assert raised.value.rows == (6,)
        np.testing.assert_array_equal(
            np.delete(raised.value.solution.decisions, 6, 0), np.delete(answers(batch), 6, 0)
        )
        assert np.isnan(raised.value.solution.decisions[6]).all()
        assert pool.stats().restarts == 3
        np.testing.assert_array_equal(pool.solve(costs(20)).decisions, answers(costs(20)))


def test_a_worker_that_is_out_of_memory_is_replaced(folder):
    batch = costs(12, bad=[5])
    with in_process(functions.out_of_memory_once) as pool:
        np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
        assert pool.stats().restarts == 1
    with (
        in_process(functions.out_of_memory_always, retries=1) as pool,
        pytest.raises(SolveError, match=r"row 5: error.*out of memory"),
    ):
        pool.solve(batch)


@pytest.mark.parametrize("function", [functions.fills_its_memory_once, functions.aborts_once])
def test_a_worker_that_may_not_have_more_memory_is_replaced(function):
    batch = costs(12, bad=[5])
    with in_process(function) as pool:
        np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
        assert pool.stats().restarts == 1


def test_a_child_of_a_killed_worker_does_not_hide_its_end_and_ends_with_it(folder):
    with in_process(functions.dies_before_its_child_once) as pool:
        batch = costs(12, bad=[5])
        np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
        assert pool.stats().restarts == 1
    assert all_gone([int((folder / "child").read_text())])


def test_without_retries_a_lost_chunk_is_lost_whole():
    with in_process(functions.killed_always, retries=0) as pool:
        solution = pool.with_on_failure("nan").solve(costs(12, bad=[5]))
    assert [row for row, status in enumerate(solution.statuses) if status is Status.ERROR] == [4, 5, 6, 7]


def test_a_worker_killed_from_outside_loses_nothing():
    batch = costs(60)
    with in_process(functions.slow, chunk=5, retries=20) as pool:
        pool.solve(costs(2))
        future = pool.submit(batch)
        assert eventually(future.running)
        for _ in range(3):
            for pid in children_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        np.testing.assert_array_equal(future.result(PATIENCE).decisions, answers(batch))
        assert pool.stats().restarts >= 1


def test_idle_workers_killed_between_batches_cost_no_retry():
    with in_process(functions.cheapest, retries=0) as pool:
        for _ in range(3):
            pool.solve(costs(8))
            idle = children_of(os.getpid())
            for pid in idle:
                os.kill(pid, signal.SIGKILL)
            assert eventually(lambda pids=idle: not any(alive(pid) for pid in pids))
            np.testing.assert_array_equal(pool.solve(costs(8)).decisions, answers(costs(8)))
        assert pool.stats().restarts == 6


def test_a_hung_worker_is_killed_and_its_rows_solved_again():
    with in_process(functions.hangs_once, chunk=2, timeout=1) as pool:
        np.testing.assert_array_equal(pool.solve(costs(8, bad=[3])).decisions, answers(costs(8, bad=[3])))
        assert pool.stats().restarts >= 1


def test_a_row_that_always_hangs_ends_as_an_error(folder):
    with in_process(functions.hangs_always, chunk=1, timeout=1, retries=1) as pool:
        solution = pool.with_on_failure("nan").solve(costs(6, bad=[2]))
    assert solution.statuses[2] is Status.ERROR
    np.testing.assert_array_equal(
        np.delete(solution.decisions, 2, 0), answers(np.delete(costs(6, bad=[2]), 2, 0))
    )
    assert len((folder / "hung").read_text().splitlines()) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exception_arrives_as_it_is(backend):
    with SolverPool(solver(functions.raises), 2, backend=backend, chunk=2) as pool:
        for _ in range(3):  # the first bad row in the order of the rows, whoever finished first
            with pytest.raises(InvalidInputError) as raised:
                pool.solve(costs(40, bad=[5, 11, 30]))
            assert str(raised.value) == "this row is bad: 5"
            assert any("rows 4 to 5" in note for note in raised.value.__notes__)
        if backend == "process":
            assert any("in raises" in note for note in raised.value.__notes__)
        np.testing.assert_array_equal(pool.solve(costs(9)).decisions, answers(costs(9)))
        assert pool.stats().restarts == 0


def test_a_worker_of_a_batch_that_was_given_up_does_not_write_into_the_next_one(monkeypatch):
    def ctrl_c(*_):
        raise KeyboardInterrupt

    given_up = costs(8)
    given_up[:4, 1] = 300.0  # half a second each
    with in_process(functions.sleeps_at_random) as pool:
        pool.solve(costs(8))
        with monkeypatch.context() as patch:
            patch.setattr(ProcessWorkers, "_listen", ctrl_c)
            patch.setattr(ProcessWorkers, "_drop_busy", ctrl_c)  # a second one, while the first is seen to
            with pytest.raises(KeyboardInterrupt):
                pool.solve(given_up)
        time.sleep(0.5)  # until the workers have read their rows
        batch = costs(8, seed=1)
        np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
        assert pool.stats().solves == 16


def test_an_exception_that_cannot_travel_arrives_as_text():
    with (
        in_process(functions.raises_stubbornly) as pool,
        pytest.raises(ImleOptError, match=r"(?s)raised StubbornError.*cannot travel"),
    ):
        pool.solve(costs(3))
    assert isinstance(pickle.loads(dump_exception(KeyError("x"))), KeyError)


def test_instances_that_cannot_be_pickled_are_refused():
    class Odd(nx.DiGraph):
        def __reduce__(self):
            raise TypeError("odd")

    inner = ShortestPath(nx.DiGraph([(0, 1), (1, 2)]), 0, 2)
    with SolverPool(inner, 2, backend="process", chunk=1) as pool:
        with pytest.raises(InvalidInputError, match=r"`instances` cannot be sent.*odd"):
            pool.solve(np.ones((2, 2)), instances={"graph": [Odd([(0, 1), (1, 2)])] * 2})
        assert pool.solve(np.ones((2, 2))).decisions.sum() == 4


def test_chaos():
    """Workers are killed at random while batches with rows of random length are solved."""
    quiet, solved = threading.Event(), threading.Event()

    def kill_now_and_then():
        draw = np.random.default_rng(6)
        while not quiet.wait(draw.exponential(0.3)):
            if solved.is_set():  # workers start more slowly than this kills them where the machine is busy
                solved.clear()
                for pid in children_of(os.getpid())[:1]:
                    os.kill(pid, signal.SIGKILL)

    with in_process(functions.sleeps_at_random, chunk="auto", retries=20) as pool:
        pool.solve(costs(8))
        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        try:
            for seed in range(40):
                np.testing.assert_array_equal(
                    pool.solve(costs(64, seed=seed)).decisions, answers(costs(64, seed=seed))
                )
                solved.set()
        finally:
            quiet.set()
            killer.join(PATIENCE)
        assert pool.stats().solves == 8 + 40 * 64
        assert pool.stats().restarts > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_small_batches_leave_memory_and_descriptors_as_they_are(backend):
    batch = costs(4)
    with SolverPool(solver(functions.cheapest), 2, backend=backend, chunk=2) as pool:
        for _ in range(300):
            pool.solve(batch)
        before = resident_bytes(), descriptors()
        for _ in range(1500):
            pool.solve(batch)
        assert resident_bytes() - before[0] < 5 * 2**20
        assert descriptors() == before[1]


def resident_bytes(process="self"):
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Scripts: torch, Ctrl-C, a killed parent


def script(tmp_path, body):
    """Start a script that makes `pool`, and runs `body`."""
    path = tmp_path / "user_script.py"
    path.write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "import pool_functions as functions\n"
        "from pool_functions import costs, solver\n"
        "from imle_opt_solvers import FunctionSolver, SolverPool\n" + textwrap.dedent(body)
    )
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def finished(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


def test_torch_is_not_loaded_in_a_worker_of_a_script_that_imports_it(tmp_path):
    # No `if __name__ == "__main__"`: the script is not run again either.
    body = """
        import torch
        pool = SolverPool(solver(functions.tells_modules), 2, backend="process", chunk=1)
        rows = pool.solve(costs(6)).decisions
        assert (rows[:, 1] == 0).all() and (rows[:, 2] == 0).all(), rows
        assert (rows[:, 3] == 1).all() and os.getpid() not in rows[:, 4], rows
        print("torch" in sys.modules)
    """
    assert finished(script(tmp_path, body)).split() == ["True"]


def test_a_function_of_the_script_is_refused_with_what_to_do(tmp_path):
    body = """
        def mine(row):
            return row
        try:
            SolverPool(FunctionSolver(mine, 5, "min"), 2, backend="process")
        except ValueError as error:
            print(error)
    """
    said = finished(script(tmp_path, body))
    assert "`mine`" in said
    assert "move `mine` to a module that can be imported" in said


def test_code_without_a_file_as_in_a_notebook_may_use_processes():
    code = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from pool_functions import cheapest, costs, answers
from imle_opt_solvers import FunctionSolver, SolverPool
def mine(row):
    return cheapest(row)
try:
    SolverPool(FunctionSolver(mine, 5, "min"), 2, backend="process")
except ValueError as error:
    print("move `mine` to a module" in str(error))
with SolverPool(FunctionSolver(cheapest, 5, "min"), 2, backend="process", chunk=2) as pool:
    print((pool.solve(costs(9)).decisions == answers(costs(9))).all())
print(hasattr(sys.modules["__main__"], "__file__"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.split() == ["True", "True", "False"]


def hanging(ending, backend="process"):
    return f"""
        pool = SolverPool(solver(functions.hangs_always), 2, backend={backend!r}, chunk=1)
        pool.solve(costs(4))
        future = pool.submit(costs(4, bad=[0, 1, 2, 3]))
        {ending}
    """


def ready(process, folder):
    """Wait until both workers of a script hang; return their numbers."""
    hung = folder / "hung"
    assert eventually(lambda: hung.exists() and len(set(hung.read_text().split())) == 2)
    return [int(pid) for pid in set(hung.read_text().split())]


def all_gone(pids):
    return eventually(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "terminate"])
def test_killing_the_parent_leaves_no_worker(tmp_path, folder, how):
    process = script(tmp_path, hanging("time.sleep(3600)"))
    workers = ready(process, folder)
    process.send_signal(how)
    process.communicate(timeout=PATIENCE)
    assert all_gone(workers)


def test_a_worker_that_starts_after_its_parent_ended_ends():
    theirs, ours = multiprocessing.Pipe()
    lifeline, held = os.pipe()
    os.close(held)
    rows, pickled = anonymous_file(), anonymous_file()
    os.write(pickled, pickle.dumps(solver(functions.cheapest)))
    descriptors = (theirs.fileno(), lifeline, rows, pickled)
    process = subprocess.Popen(
        [sys.executable, "-m", "imle_opt_solvers._worker", *map(str, descriptors), "5"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        pass_fds=descriptors,
        process_group=0,
    )
    assert process.wait(PATIENCE) == -signal.SIGKILL
    theirs.close()
    ours.close()
    for descriptor in (lifeline, rows, pickled):
        os.close(descriptor)


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])
def test_ctrl_c_leaves_no_worker(tmp_path, folder, send):
    process = script(tmp_path, hanging("pool.solve(costs(4, bad=[0, 1]))"))
    workers = ready(process, folder)
    send(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in err
    assert all_gone(workers)


def test_ctrl_c_in_a_batch_leaves_the_pool_usable(tmp_path, folder):
    body = """
        pool = SolverPool(solver(functions.hangs_always), 2, backend="process", chunk=1)
        try:
            pool.solve(costs(4, bad=[0, 1]))
        except KeyboardInterrupt:
            print((pool.solve(costs(8)).decisions == functions.answers(costs(8))).all())
    """
    process = script(tmp_path, body)
    workers = ready(process, folder)
    process.send_signal(signal.SIGINT)
    assert finished(process).split() == ["True"]
    assert all_gone(workers)


def test_ctrl_c_while_workers_start_leaves_the_pool_usable(tmp_path, folder):
    body = """
        import functools
        pool = SolverPool(functools.partial(functions.make_slowly, os.getpid()), 2, backend="process")
        try:
            pool.solve(costs(8))
        except KeyboardInterrupt:
            print((pool.solve(costs(8)).decisions == functions.answers(costs(8))).all())
    """
    process = script(tmp_path, body)
    assert eventually((folder / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert finished(process).split() == ["True"]
    assert all_gone([int(pid) for pid in (folder / "begun").read_text().split()])


def test_an_exception_in_the_block_of_a_pool_leaves_no_worker(tmp_path, folder):
    body = """
        with SolverPool(solver(functions.hangs_always), 2, backend="process", chunk=1) as pool:
            future = pool.submit(costs(4, bad=[0, 1, 2, 3]))
            while not os.path.exists(os.environ["IMLE_OPT_TEST_FOLDER"] + "/hung"):
                time.sleep(0.02)
            raise ValueError("of the user")
    """
    process = script(tmp_path, body)
    _, err = process.communicate(timeout=PATIENCE)
    assert "ValueError: of the user" in err
    assert all_gone([int(pid) for pid in (folder / "hung").read_text().split()])


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise ValueError('of the user')"])
def test_an_exit_without_close_leaves_no_worker(tmp_path, folder, ending):
    process = script(tmp_path, hanging(f"time.sleep(0.5); {ending}"))
    workers = ready(process, folder)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == (1 if "ValueError" in ending else 0), err
    assert all_gone(workers)
