"""Losses and layers on a cache, threads, processes and a pool of decisions: all are the solver."""

from __future__ import annotations

import pytest
import torch

from cases_losses import CASES, SIZE, equal, run, solver, tensors_of
from imle_opt.families import SolutionPool
from imle_opt.layers import (
    IMLE,
    BlackBox,
    Identity,
    Perturbed,
    RegularizedFrankWolfe,
    SparseMAP,
    StraightThrough,
)
from imle_opt.noise import Gumbel
from imle_opt.regularized import BinaryEntropy
from imle_opt.targets import PID
from imle_opt_solvers.cache import CachedSolver
from imle_opt_solvers.pool import SolverPool
from opaque import generator, normal


def of_cases(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


ROWS = 4
LAYERS = {
    "IMLE": lambda solver: IMLE(solver, noise=Gumbel(), target=PID(1.0), num_samples=2),
    "BlackBox": lambda solver: BlackBox(solver, 1.0),
    "Identity": Identity,
    "StraightThrough": lambda solver: StraightThrough(solver, noise=Gumbel()),
    "Perturbed": lambda solver: Perturbed(solver, num_samples=2),
    "SparseMAP": SparseMAP,
    "RegularizedFrankWolfe": lambda solver: RegularizedFrankWolfe(solver, BinaryEntropy()),
}
WRAPPERS = {
    "cache": lambda workers: CachedSolver(solver()),
    "threads": lambda workers: workers["thread"],
    "processes": lambda workers: workers["process"],
    "cache-of-threads": lambda workers: CachedSolver(workers["thread"]),
    "cache-of-processes": lambda workers: CachedSolver(workers["process"]),
}


def capacities(first, second):
    return {"rhs": {"r0": torch.as_tensor(first).double(), "r1": torch.as_tensor(second).double()}}


INSTANCES = capacities([3, 6, 8, 9], [7, 4, 3, 6])
AS_THE_MODEL = capacities([9] * ROWS, [7] * ROWS)
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


@pytest.fixture(scope="module")
def workers():
    """Return pools of each kind, which start once."""
    with (
        SolverPool(solver(), workers=2, backend="thread", chunk=2) as threads,
        SolverPool(solver(), workers=2, backend="process", chunk=2) as processes,
    ):
        yield {"thread": threads, "process": processes}


@pytest.fixture(params=WRAPPERS)
def wrapped(request, workers):
    return WRAPPERS[request.param](workers)


def sampled(layer, costs, **options):
    """Return samples, and the gradient by the costs of a quadratic loss of them."""
    costs = costs.detach().clone().requires_grad_()
    samples = layer(costs, generator=generator(1), **options)
    weights = torch.arange(1.0, costs.shape[-1] + 1).to(costs)
    (weights * samples.square()).mean(0).sum().backward()
    return samples.detach(), costs.grad


@of_cases([case for case in CASES if not case.on_pool])  # those on pools come below
def test_losses_are_the_same(case, wrapped):
    point, label = tensors_of(case, ROWS)
    expected = run(case, case.make(solver()), point, label)
    loss = case.make(wrapped)
    assert equal(run(case, loss, point, label), expected)
    assert equal(run(case, loss, point, label), expected)  # again, from what is remembered


@every_layer
def test_layers_are_the_same(layer, wrapped):
    costs = normal(ROWS, SIZE)
    expected = sampled(layer(solver()), costs)
    found = layer(wrapped)
    assert equal(sampled(found, costs), expected)
    assert equal(sampled(found, costs), expected)
    assert torch.equal(found.eval()(costs), layer(solver()).eval()(costs))


@of_cases([case for case in CASES if case.instances])
def test_losses_take_instances(case, wrapped):
    point, label = tensors_of(case, ROWS, instances=INSTANCES)
    plain, found = case.make(solver()), case.make(wrapped)
    expected = run(case, plain, point, label, instances=INSTANCES)
    roomy = run(case, plain, point, label)
    assert not equal(roomy, expected)
    assert equal(run(case, found, point, label, instances=AS_THE_MODEL), roomy)
    assert equal(run(case, found, point, label, instances=INSTANCES), expected)


@every_layer
def test_layers_take_instances(layer, wrapped):
    costs = normal(ROWS, SIZE)
    plain, found = layer(solver()), layer(wrapped)
    expected, roomy = sampled(plain, costs, instances=INSTANCES), sampled(plain, costs)
    assert not equal(roomy, expected)
    assert equal(sampled(found, costs, instances=AS_THE_MODEL), roomy)
    assert equal(sampled(found, costs, instances=INSTANCES), expected)


@of_cases([case for case in CASES if case.on_pool])
def test_pools_of_decisions_grow_alike(case, wrapped):
    point, label = tensors_of(case, ROWS)
    plain, found = (case.make(made, solutions=None, solve_ratio=1.0) for made in (solver(), wrapped))
    assert equal(run(case, found, point, label), run(case, plain, point, label))
    assert found.pool.size > 1
    assert torch.equal(found.pool.members(point), plain.pool.members(point))


def test_the_workers_solve_the_rows(workers):
    for pool in workers.values():
        before = pool.stats().solves
        BlackBox(pool, 1.0)(normal(ROWS, SIZE))
        assert pool.stats().solves == before + ROWS
        assert pool.stats().inline_solves == 0


# A pool of decisions that is solved at every call is the solver, too; CaVE and losses on pools take none


@of_cases([case for case in CASES if not case.on_pool and case.name != "CaVE"])
def test_losses_are_the_same_on_solutions(case):
    point, label = tensors_of(case, ROWS)
    loss = case.make(SolutionPool(solver(), solve_ratio=1.0))
    assert equal(run(case, loss, point, label), run(case, case.make(solver()), point, label))


@every_layer
def test_layers_are_the_same_on_solutions(layer):
    costs = normal(ROWS, SIZE)
    expected = sampled(layer(solver()), costs)
    found = layer(SolutionPool(solver(), solve_ratio=1.0))
    assert equal(sampled(found, costs), expected)
    assert torch.equal(found.eval()(costs), layer(solver()).eval()(costs))
