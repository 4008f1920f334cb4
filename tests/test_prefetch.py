from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from imle_opt import (
    BlackBox,
    ExplicitMLE,
    InvalidInputError,
    KSubset,
    Multiplicative,
    NoNoise,
    Normal,
    PrefetchedTargets,
    SolveError,
    SolverPool,
    StepProfile,
    SumOfGamma,
    fit,
)
from imle_opt.losses import SolvedTarget
from imle_opt_solvers.grid import grid_path
from imle_opt_solvers.solution import Sense, Solution, Status
from imle_opt_solvers.solver import Solver, Traits
from opaque import best, generator, normal, opaque

THREAD = "imle-opt-submit"


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64) + 1


def paths(**options):
    return grid_path((3, 3), negative="clip", **options)


def data(rows=12):
    return TensorDataset(normal(rows, 4), uniform(rows, 3, 3))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 9), nn.Unflatten(1, (3, 3)), nn.Softplus()).double()


class Gated(Solver):
    """Picks the largest entry; a batch whose first cost is a key of `gates` waits for that gate."""

    def __init__(self, gates=None, fails=()):
        super().__init__((3,), Sense.MAX, Traits(releases_gil=True))
        self.gates, self.fails = gates or {}, fails
        self.seen, self.threads = [], []

    def solve_rows(self, costs, instances, deterministic):
        first = costs.flat[0]
        self.seen.append(first)
        self.threads.append(threading.current_thread().name)
        if first in self.gates:
            assert self.gates[first].wait(30), "nobody opened the gate"
        status = Status.INFEASIBLE if first in self.fails else Status.OPTIMAL
        decisions = np.eye(3)[costs.argmax(1)]
        return Solution(
            decisions, (costs * decisions).sum(1), (status,) * len(costs), np.zeros(len(costs)), 0.0
        )


def numbered(count):
    return [
        (torch.tensor([[float(i), 0.0, 0.5]] * 2), torch.tensor([[float(i), 0.0, 0.5]] * 2))
        for i in range(count)
    ]


def background_threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = set(background_threads())
    yield
    for thread in set(background_threads()) - before:
        thread.join(30)
        assert not thread.is_alive()


# The same numbers


@pytest.mark.parametrize(
    "noise",
    [NoNoise(), Normal(0.5), Multiplicative(0.5), SumOfGamma(kappa=3.0)],
    ids=lambda noise: type(noise).__name__,
)
def test_values_and_gradients_are_those_of_the_costs(noise):
    model, loader = network(), DataLoader(data(), batch_size=5)

    def results(prefetch):
        loss = ExplicitMLE(paths(), noise, num_samples=3, generator=generator())
        batches = PrefetchedTargets(loader, loss) if prefetch else loader
        model.zero_grad()
        values = []
        for features, costs, *target in batches:
            label = {"target": target[0]} if prefetch else {"costs": costs}
            values.append(loss(model(features), **label))
            values[-1].sum().backward()
        return torch.cat(values), model[0].weight.grad.clone()

    for found, expected in zip(results(True), results(False), strict=True):
        assert torch.equal(found, expected)


def test_instances_go_with_their_batch():
    ends = torch.randint(0, 3, (12, 2), generator=generator(1))
    loader = DataLoader(TensorDataset(normal(12, 4), uniform(12, 3, 3), ends), batch_size=5)
    loss = ExplicitMLE(paths())
    batches = PrefetchedTargets(loader, loss, instances=lambda batch: {"source": batch[2]})
    for _, costs, source, target in batches:
        expected = paths().solve(costs.numpy(), instances={"source": source.numpy()}).decisions
        np.testing.assert_array_equal(target.decision.numpy(), expected)


@pytest.mark.parametrize("backend", ["thread", "process"])
def test_pools_solve_targets_and_predictions_at_once(backend):
    loader = DataLoader(data(), batch_size=3)
    model = network()
    with SolverPool(paths(), 2, backend=backend) as pool:
        loss = ExplicitMLE(pool, Normal(0.5), num_samples=2, generator=generator())
        found = [loss(model(x), target=target) for x, _, target in PrefetchedTargets(loader, loss)]
        assert pool.stats().solves == 2 * 2 * 12
    loss = ExplicitMLE(paths(), Normal(0.5), num_samples=2, generator=generator())
    assert torch.equal(torch.cat(found), torch.cat([loss(model(x), costs=costs) for x, costs in loader]))


def test_mappings_get_a_key():
    loader = [{"features": normal(2, 4), "costs": uniform(2, 3, 3)}]
    (batch,) = PrefetchedTargets(loader, ExplicitMLE(paths()), costs="costs")
    assert list(batch) == ["features", "costs", "target"]
    assert isinstance(batch["target"], SolvedTarget)


def test_fit_trains_the_same_twice_and_as_without():
    def weights(prefetch):
        source = generator(5)
        loss = ExplicitMLE(paths(), Normal(0.5), num_samples=2, generator=generator(1))
        loader = DataLoader(data(), batch_size=4, shuffle=True, generator=source)
        batches = PrefetchedTargets(loader, loss, generator=generator(1)) if prefetch else loader
        label = (lambda batch: {"target": batch[2]}) if prefetch else (lambda batch: {"costs": batch[1]})
        model = network()
        fit(model, batches, lambda costs, batch: loss(costs, **label(batch)), epochs=2, seed=None)
        return model[0].weight.detach()

    assert torch.equal(weights(True), weights(True))
    assert torch.equal(weights(True), weights(False))


def test_fit_seeds_the_generator_of_the_loader():
    loader = DataLoader(data(), batch_size=4, shuffle=True, generator=generator(9))
    batches = PrefetchedTargets(loader, ExplicitMLE(paths(), Normal(0.5)))
    assert batches.generator is loader.generator

    def weights():
        model = network()
        fit(model, batches, lambda costs, batch: batches.loss(costs, target=batch[2]), epochs=1, seed=3)
        return model[0].weight.detach()

    assert torch.equal(weights(), weights())
    assert len(batches) == 3


# In the background, and no further than asked


def test_targets_are_solved_while_the_step_runs():
    gates = {1.0: threading.Event(), 2.0: threading.Event()}
    solver = Gated(gates)
    batches = PrefetchedTargets(numbered(3), ExplicitMLE(solver), ahead=1)
    order = []
    for features, _, target in batches:
        assert torch.equal(target.decision, best(features, np.eye(3)))
        order.append(features[0, 0].item())
        # The solve of the next batch cannot end before this step has got here.
        gates.get(order[-1] + 1, threading.Event()).set()
    assert order == solver.seen == [0.0, 1.0, 2.0]
    assert set(solver.threads) == {THREAD}


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_batches_are_read_than_asked(ahead):
    read = []
    loader = (read.append(i) or batch for i, batch in enumerate(numbered(8)))
    for done, _ in enumerate(PrefetchedTargets(loader, ExplicitMLE(Gated()), ahead=ahead), start=1):
        assert len(read) == min(8, done + ahead)


def test_a_failed_solve_is_raised_where_its_batch_would_come():
    batches = iter(PrefetchedTargets(numbered(4), ExplicitMLE(Gated(fails=(2.0,)))))
    assert [next(batches)[0][0, 0].item() for _ in range(2)] == [0.0, 1.0]
    with pytest.raises(SolveError, match="2 of 2 rows") as caught:
        next(batches)
    assert any("Counted in rows of the batch" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_a_loop_that_ends_early_drops_what_has_not_begun(error):
    gate = threading.Event()
    solver = Gated({1.0: gate})

    def train():
        for _ in PrefetchedTargets(numbered(9), ExplicitMLE(solver), ahead=4):
            if error is not None:
                raise error
            break

    if error is None:
        train()
    else:
        with pytest.raises(error):
            train()
    gate.set()
    for thread in background_threads():
        thread.join(30)
    assert solver.seen in ([0.0], [0.0, 1.0])


def test_rows_are_counted_with_the_steps():
    solver = paths(on_failure="nan")
    loss = ExplicitMLE(solver, Normal(0.2), num_samples=2)
    profile = StepProfile(loss)
    for features, _, target in profile.steps(PrefetchedTargets(DataLoader(data(), batch_size=5), loss)):
        loss(network()(features), target=target)
    total = profile.total()
    assert total["solved_rows"] == 2 * 2 * 12
    assert total["network_seconds"] > 0


def test_rows_without_a_decision_are_counted():
    loss = ExplicitMLE(Gated(fails=(1.0,)).with_on_failure("nan"))
    values = [loss(costs, target=target) for costs, _, target in PrefetchedTargets(numbered(3), loss)]
    assert [value.isnan().all().item() for value in values] == [False, True, False]
    assert loss.undecided == 2 + 2  # the target's rows, and the prediction's


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PrefetchedTargets([], BlackBox(opaque(), 1.0)), "`loss` must be a ExplicitMLE"),
        (
            lambda: PrefetchedTargets([], ExplicitMLE(opaque())),
            "FunctionSolver, which may not be safe.*SolverPool",
        ),
        (lambda: PrefetchedTargets([], ExplicitMLE(KSubset(2))), "must have a solver to wait for"),
        (lambda: PrefetchedTargets([], ExplicitMLE(paths()), ahead=0), "`ahead` must be at least 1"),
        (
            lambda: list(PrefetchedTargets([(1,)], ExplicitMLE(paths()))),
            "`costs=1` is not in a batch of type tuple",
        ),
        (lambda: list(PrefetchedTargets([(1, 2)], ExplicitMLE(paths()), costs="c")), "`costs='c'` is not in"),
        (lambda: list(PrefetchedTargets([(1, 2)], ExplicitMLE(paths()))), "must be a torch.Tensor, not int"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_a_target_of_another_batch_is_refused():
    loss = ExplicitMLE(paths())
    target = loss.prepare(uniform(5, 3, 3))()
    with pytest.raises(
        InvalidInputError, match=r"`target` belongs to costs of shape \(5, 3, 3\), not of \(4, 3, 3\)"
    ):
        loss(uniform(4, 3, 3), target=target)
    with pytest.raises(InvalidInputError, match="`costs` and `target` were given"):
        loss(uniform(5, 3, 3), costs=uniform(5, 3, 3), target=target)
