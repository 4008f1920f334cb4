from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from imle_opt import IMLE, BlackBox, ExplicitMLE, Exponential, Ranking, RegretLoss
from imle_opt.families import DeviceGridPath, DeviceRanking, KSubset, MAPOracle
from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.grid import grid_path
from opaque import normal

SHAPES = [(1, 1), (1, 6), (5, 3), (7, 7)]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def uniform(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def joins(path, source, target, neighbours):
    """Whether the cells of a decision connect source and target."""
    reached, frontier = {source}, [source]
    while frontier:
        row, column = frontier.pop()
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            cell = (row + down, column + right)
            inside = 0 <= cell[0] < path.shape[0] and 0 <= cell[1] < path.shape[1]
            near = neighbours == 8 or abs(down) + abs(right) == 1
            if near and inside and path[cell] and cell not in reached:
                reached.add(cell)
                frontier.append(cell)
    return bool(path[source]) and target in reached


# Paths


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_paths_are_those_of_the_kernel(shape, neighbours, dtype):
    costs = uniform(6, 5, *shape, dtype=dtype)
    found = DeviceGridPath(shape, neighbours).map(-costs)
    assert found.dtype == dtype
    expected = grid_path(shape, neighbours=neighbours).map(-costs.double().numpy())
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("scale", [1.0, 0.0, 1e-17], ids=["whole", "zero", "lost-in-rounding"])
def test_ties_and_zeros_give_a_cheapest_path(neighbours, scale):
    costs = uniform(60, 6, 7).mul(3).floor() * scale + (uniform(60, 6, 7, seed=1) < 0.15)
    found = DeviceGridPath((6, 7), neighbours).map(-costs).numpy()
    solver = grid_path((6, 7), neighbours=neighbours)
    objectives = solver.solve(costs.numpy()).objectives
    np.testing.assert_allclose((found * costs.numpy()).sum((1, 2)), objectives, rtol=1e-12, atol=1e-15)
    assert all(joins(path, (0, 0), (5, 6), neighbours) for path in found)


def test_a_maze_takes_as_many_steps_as_its_way_is_long():
    walls = torch.full((9, 9), 1e3, dtype=torch.float64)
    walls[::2] = 1.0
    walls[[1, 5], -1] = walls[[3, 7], 0] = 1.0
    found = DeviceGridPath((9, 9), 4).map(-walls)
    torch.testing.assert_close(found, (walls == 1).double())


@pytest.mark.parametrize("as_tensor", [True, False])
def test_rows_have_ends_of_their_own(as_tensor):
    costs = uniform(4, 5, 6)
    source = torch.tensor([[0, 0], [4, 5], [2, 3], [1, 1]])
    target = torch.tensor([[4, 5], [0, 0], [2, 3], [0, 5]])
    instances = {"source": source, "target": target}
    if not as_tensor:
        instances = {name: [tuple(cell) for cell in cells.tolist()] for name, cells in instances.items()}
    found = DeviceGridPath((5, 6)).map(-costs, instances=instances)
    expected = grid_path((5, 6)).map(
        -costs.numpy(), instances={"source": source.numpy(), "target": target.numpy()}
    )
    np.testing.assert_array_equal(found.numpy(), expected)


def test_the_ends_are_options():
    costs = uniform(3, 5, 6)
    found = DeviceGridPath((5, 6), source=(4, 0), target=(0, 3)).map(-costs)
    expected = grid_path((5, 6), source=(4, 0), target=(0, 3)).map(-costs.numpy())
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("batch", [(), (0,), (2, 0), (2, 3)])
def test_any_batch_shape(batch):
    costs = uniform(*batch, 3, 4)
    assert DeviceGridPath((3, 4)).map(-costs).shape == costs.shape


def test_negative_costs_are_refused_or_clipped():
    costs = uniform(20, 5, 5) - 0.2
    with pytest.raises(InvalidInputError, match=r"must not be negative \(lowest -0\.\d+\)"):
        DeviceGridPath((5, 5)).map(-costs)
    clipped = DeviceGridPath((5, 5), negative="clip").map(-costs)
    objectives = grid_path((5, 5)).solve(costs.clamp(min=0).numpy()).objectives
    np.testing.assert_allclose((clipped * costs.clamp(min=0)).sum((1, 2)).numpy(), objectives)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shape": (0, 3)}, ModelError, "`shape` must be"),
        ({"shape": (3,)}, ModelError, "`shape` must be"),
        ({"neighbours": 2}, InvalidInputError, "`neighbours` must be 4 or 8, not 2"),
        ({"negative": "bellman-ford"}, InvalidInputError, "`negative` must be one of 'error', 'clip'"),
        ({"source": (0, 12)}, ModelError, r"`source` \(0, 12\) is not a cell"),
        ({"target": (-1, 0)}, ModelError, r"`target` \(-1, 0\) is not a cell"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        DeviceGridPath(**options)


@pytest.mark.parametrize(
    ("theta", "instances", "message"),
    [
        (torch.zeros(2, 3, 4), None, r"must have shape \(\*batch, 3, 3\), not \(2, 3, 4\)"),
        (torch.full((2, 3, 3), torch.nan), None, "must be finite"),
        (torch.full((2, 3, 3), -1e308, dtype=torch.float64), None, "too large to be added up"),
        (torch.zeros(2, 3, 3), {"source": np.array([[0, 0], [3, 0]])}, r"`instances\['source'\]`"),
        (torch.zeros(2, 3, 3), {"target": np.array([1, 2])}, r"`instances\['target'\]`"),
        (torch.zeros(2, 3, 3), {"graph": np.zeros(2)}, "takes `instances` named 'source' and 'target'"),
    ],
)
def test_bad_input_is_refused(theta, instances, message):
    with pytest.raises(InvalidInputError, match=message):
        DeviceGridPath((3, 3)).map(theta, instances=instances)


def test_layers_and_losses_take_it_for_a_solver():
    family, solver = DeviceGridPath((5, 5)), grid_path((5, 5))
    assert isinstance(family, MAPOracle)
    costs, true = uniform(4, 5, 5) + 1, uniform(4, 5, 5, seed=1) + 1

    def gradients(model):
        results = []
        for method in (
            lambda c: RegretLoss(model)(IMLE(model, noise=Exponential(0.5), num_samples=3)(c), true),
            lambda c: BlackBox(model, 0.5)(c).square().sum((-2, -1)),
            lambda c: ExplicitMLE(model, Exponential(0.5), num_samples=3)(c, costs=true),
        ):
            torch.manual_seed(0)
            point = costs.clone().requires_grad_()
            value = method(point)
            value.sum().backward()
            results += [value.detach(), point.grad]
        return results

    for found, expected in zip(gradients(family), gradients(solver), strict=True):
        torch.testing.assert_close(found, expected)


# Rankings


@pytest.mark.parametrize("event", [(1,), (4,), (2, 3)])
def test_a_ranking_is_the_best_permutation(event):
    family, scores = DeviceRanking(event_dim=len(event)), normal(5, *event)
    ranks = torch.tensor(list(itertools.permutations(range(1, event[-1] + 1))), dtype=torch.float64)
    best = ranks[(scores @ ranks.T).argmin(-1)]
    assert torch.equal(family.map(family.sign * scores), best)


def test_the_largest_score_has_rank_one_and_the_lower_index_comes_first():
    scores = torch.tensor([[1.0, 9.0, 1.0, 3.0]])
    assert DeviceRanking().map(-scores).tolist() == [[3.0, 1.0, 4.0, 2.0]]


def test_ranks_are_those_of_the_solver():
    scores = torch.randint(0, 4, (50, 6), generator=torch.Generator().manual_seed(0)).double()
    expected = Ranking(6).solve(scores.numpy()).decisions
    np.testing.assert_array_equal(DeviceRanking().map(-scores).numpy(), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DeviceRanking(0), "`event_dim` must be at least 1"),
        (lambda: DeviceRanking().map(torch.zeros(2, 0)), "at least one entry"),
        (lambda: DeviceRanking().map(torch.zeros(2, 3), instances={"a": 1}), "takes no `instances`"),
    ],
)
def test_what_a_ranking_refuses(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_scores_learn_ranks():
    shuffled = normal(6, 5, seed=1).argsort(-1) + 1.0
    scores, wanted = normal(6, 5).requires_grad_(), shuffled.double()
    loss, optimizer = ExplicitMLE(DeviceRanking()), torch.optim.SGD([scores], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss(scores, solutions=wanted).sum().backward()
        optimizer.step()
    assert torch.equal(BlackBox(DeviceRanking(), 1.0).eval()(scores), wanted)


# The k largest


@pytest.mark.parametrize("k", [0, 1, 2, 4])
def test_among_equals_the_lower_index_is_chosen(k):
    theta = torch.randint(0, 3, (50, 4), generator=torch.Generator().manual_seed(0)).double()
    order = np.argsort(-theta.numpy(), axis=1, kind="stable")
    expected = np.zeros(theta.shape)
    np.put_along_axis(expected, order[:, :k], 1.0, axis=1)
    np.testing.assert_array_equal(KSubset(k).map(theta).numpy(), expected)


# On a GPU


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("neighbours", [4, 8])
def test_paths_on_cuda(neighbours):
    family, costs = DeviceGridPath((6, 7), neighbours), uniform(20, 6, 7)
    found = family.map(-costs.cuda())
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), family.map(-costs))


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("family", [DeviceRanking(), KSubset(3)], ids=repr)
def test_ranks_and_subsets_on_cuda(family):
    theta = torch.randint(0, 5, (50, 8)).double()
    found = family.map(theta.cuda())
    assert found.device.type == "cuda"
    assert torch.equal(found.cpu(), family.map(theta))
