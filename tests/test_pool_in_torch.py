"""Pools in the processes that torch makes: a DataLoader's forked workers, the ranks of torch.distributed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="DataLoader forks on Linux")

TESTS = Path(__file__).parent
PATIENCE = 120.0
_BEGIN = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import torch
import pool_functions as functions
from pool_functions import answers, costs, solver
from imle_opt_solvers import SolverPool
"""


def start(folder, name, body, *arguments, **environment):
    path = folder / name
    path.write_text(_BEGIN + textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def printed(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out.split()


def test_a_worker_of_a_data_loader_is_told_to_make_its_own_pool_and_may(tmp_path):
    body = """
        class Solved(torch.utils.data.Dataset):
            def __init__(self, pool):
                self.pool = pool
            def __len__(self):
                return 4
            def __getitem__(self, index):
                return torch.as_tensor(self.pool.solve(costs(6, seed=index)).decisions)

        def loaded(dataset, prepare=None):
            return list(torch.utils.data.DataLoader(
                dataset, None, num_workers=2, worker_init_fn=prepare, multiprocessing_context="fork"
            ))

        def make_own(worker):
            dataset = torch.utils.data.get_worker_info().dataset
            dataset.pool = SolverPool(solver(functions.cheapest), 2, **options)

        for backend in ("thread", "process"):
            options = {"backend": backend, "chunk": 2}
            with SolverPool(solver(functions.cheapest), 2, **options) as pool:
                pool.solve(costs(6))
                try:
                    loaded(Solved(pool))
                except ValueError as error:
                    print("worker_init_fn" in str(error))
                rows = loaded(Solved(None), make_own)
                for seed, found in enumerate(rows):
                    assert (found.numpy() == answers(costs(6, seed=seed))).all()
                print(len(rows) == 4)
                print((pool.solve(costs(6)).decisions == answers(costs(6))).all())
    """
    assert printed(start(tmp_path, "loads.py", body)) == ["True"] * 6


def test_each_rank_has_its_own_pool(tmp_path):
    body = """
        import os
        import torch.distributed as dist
        rank = int(sys.argv[1])
        dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
        total = torch.zeros(6, 5, dtype=torch.float64)
        with SolverPool(solver(functions.cheapest), 2, backend="process", chunk=2) as pool:
            for step in range(3):
                mine = torch.as_tensor(pool.solve(costs(6, seed=2 * step + rank)).decisions)
                dist.all_reduce(mine)
                total += mine
        print((total.numpy() == sum(answers(costs(6, seed=seed)) for seed in range(6))).all())
        dist.destroy_process_group()
    """
    meeting = str(tmp_path / "meeting")
    ranks = [
        start(tmp_path, f"rank{rank}.py", body, str(rank), meeting, GLOO_SOCKET_IFNAME="lo")
        for rank in (0, 1)
    ]
    assert [printed(rank) for rank in ranks] == [["True"], ["True"]]
