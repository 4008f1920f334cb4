"""Pools on a Ray cluster of two nodes in this machine: the same answers, also when a node is lost."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time

import numpy as np
import pytest

import linear_models as models
import pool_functions as functions
from imle_opt_solvers import (
    FunctionSolver,
    HighsSolver,
    InvalidInputError,
    MissingDependencyError,
    SolveError,
    SolverPool,
    Status,
)
from pool_functions import answers, costs, solver

ray = pytest.importorskip("ray", reason="Ray is an extra")
_ray_pool = pytest.importorskip("imle_opt_solvers._ray_pool")

PATIENCE = 60.0
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it Ray warns of a change to come
}
_LOSE_NODES_SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
_NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes with one processor each; this process is connected to the first."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("folder")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _SETTINGS.items():
            patch.setenv(name, value)
        patch.setenv("IMLE_OPT_TEST_FOLDER", str(folder))
        patch.delenv("RAY_ADDRESS", raising=False)
        head = {**_NODE, "include_dashboard": False, "_system_config": _LOSE_NODES_SOON}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.second = cluster.add_node(**_NODE)
        cluster.folder = folder
        modules = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error", runtime_env=modules)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def folder(cluster):
    for file in cluster.folder.iterdir():
        file.unlink()
    return cluster.folder


def on_cluster(function, **options):
    return SolverPool(solver(function), backend="ray", **{"chunk": 4, **options})


def processes_of(pool):
    """The processes that solved a batch, where the solver tells."""
    return {int(pid) for pid in pool.solve(costs(40)).decisions[:, 4]}


def eventually(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_answers_are_those_of_one_solver_bit_by_bit(cluster):
    inner = HighsSolver(models.knapsack(), on_failure="nan")
    batch = np.random.default_rng(0).normal(size=(3, 7, 6))
    batch[1, 2:5] = 1.0  # ties
    capacities = np.random.default_rng(2).integers(-1, 12, size=(3, 7, 2)).astype(float)
    with SolverPool(inner, backend="ray", chunk=3, address=cluster.address) as pool:
        assert pool.workers == 2
        for instances in (None, {"rhs": capacities}):
            alone, together = (each.solve(batch, instances=instances) for each in (inner, pool))
            np.testing.assert_array_equal(together.decisions, alone.decisions)
            np.testing.assert_array_equal(together.objectives, alone.objectives)
            np.testing.assert_array_equal(together.gaps, alone.gaps)
            assert together.statuses == alone.statuses
    assert Status.INFEASIBLE in together.statuses


def use_a_pool_and_drop_it():
    """Return the processes of its actors."""
    pool, actors = on_cluster(functions.tells_modules), set()
    assert eventually(lambda: actors.update(processes_of(pool)) or len(actors) == 2)
    rows = pool.submit(costs(40)).result(PATIENCE).decisions
    assert (rows[:, :3] == 0).all()  # no torch, no user's script
    assert set(rows[:, 4]) <= actors
    return actors


def test_the_solver_is_stored_once_and_actors_are_small_stay_and_end(cluster, monkeypatch):
    stored, store = [], _ray_pool.store
    monkeypatch.setattr(_ray_pool, "store", lambda value: stored.append(value) or store(value))
    actors = use_a_pool_and_drop_it()
    assert len(stored) == 1
    gc.collect()
    assert eventually(lambda: not any(map(alive, actors)))


def test_lost_actors_cost_no_more_than_their_own_rows(folder):
    batch = costs(30, bad=[13])
    for function, lost in ((functions.killed_once, "killed"), (functions.out_of_memory_once, "short")):
        with on_cluster(function) as pool:
            np.testing.assert_array_equal(pool.solve(batch).decisions, answers(batch))
            assert pool.stats().restarts == 1
        assert len((folder / lost).read_text().splitlines()) == 2


def test_rows_that_never_come_back_are_named(folder):
    batch = costs(12, bad=[6])
    with (
        on_cluster(functions.hangs_always, timeout=0.5, retries=1) as pool,
        pytest.raises(SolveError, match=r"row 6: error.*ran past `timeout` 2 time") as raised,
    ):
        pool.solve(batch)
    assert raised.value.rows == (6,)
    np.testing.assert_array_equal(
        np.delete(raised.value.solution.decisions, 6, 0), np.delete(answers(batch), 6, 0)
    )
    assert len((folder / "hung").read_text().splitlines()) == 2


def test_an_exception_arrives_as_it_is_and_the_actor_stays(cluster):
    with on_cluster(functions.raises, chunk=2) as pool:
        with pytest.raises(InvalidInputError, match="this row is bad: 5") as raised:
            pool.solve(costs(40, bad=[5, 11, 30]))
        notes = "".join(raised.value.__notes__)
        assert "rows 4 to 5" in notes
        assert "in raises" in notes
        np.testing.assert_array_equal(pool.solve(costs(9)).decisions, answers(costs(9)))
        assert pool.stats().restarts == 0


def test_functions_travel_by_value_and_what_cannot_travel_is_refused(cluster):
    offset = 1.0
    with SolverPool(
        FunctionSolver(lambda row: functions.cheapest(row) * offset, 5, "min"), backend="ray"
    ) as pool:
        np.testing.assert_array_equal(pool.solve(costs(6)).decisions, answers(costs(6)))
    locked = solver(functions.cheapest)
    locked.lock = threading.Lock()
    with pytest.raises(
        InvalidInputError, match=r"(?s)cannot be sent to an actor.*function without arguments"
    ):
        SolverPool(locked, backend="ray")

    def fails_here():
        if "ray" in sys.modules and ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            raise RuntimeError("not in an actor")
        return solver(functions.cheapest)

    with SolverPool(fails_here, backend="ray") as pool, pytest.raises(RuntimeError, match="not in an actor"):
        pool.solve(costs(3))


def test_a_node_killed_in_mid_batch_loses_no_row_and_another_one_is_used(cluster):
    batch = costs(150)
    with on_cluster(functions.tells_process_slowly, chunk=5) as pool:
        assert eventually(lambda: len(processes_of(pool)) == 2)
        future = pool.submit(batch)
        assert eventually(future.running)
        time.sleep(0.3)
        cluster.remove_node(cluster.second, allow_graceful=False)
        rows = future.result(PATIENCE).decisions
        np.testing.assert_array_equal(rows[:, 0], batch.argmin(axis=1))
        assert pool.stats().restarts >= 1
        assert len(processes_of(pool)) == 1
        cluster.second = cluster.add_node(**_NODE)
        assert eventually(lambda: len(processes_of(pool)) == 2)


def test_another_cluster_than_the_connected_one_is_refused(cluster):
    with pytest.raises(InvalidInputError, match=r"`address` is 'nowhere:1'.*connected.*ray\.shutdown"):
        on_cluster(functions.cheapest, address="nowhere:1")


def test_no_cluster_and_no_ray_are_said_with_what_to_do(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InvalidInputError, match=r"'127.0.0.1:1'.*refused.*ray start --head"):
        on_cluster(functions.cheapest, address="127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'imle-opt\[ray\]'"):
        on_cluster(functions.cheapest)
