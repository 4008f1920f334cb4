"""Maps of terrain: what may lie beside what, shortest paths against enumeration, pictures that tell."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from imle_opt.data import CELL_PIXELS, TERRAIN_COSTS, terrain_maps
from imle_opt_solvers.errors import InvalidInputError

NEIGHBOURS = {
    "grass": {"grass", "dirt", "forest"},
    "dirt": {"dirt", "grass", "water", "rock"},
    "forest": {"forest", "grass"},
    "water": {"water", "dirt"},
    "rock": {"rock", "dirt"},
}


@pytest.fixture(scope="module")
def maps():
    return terrain_maps(300, seed=5)


def terrains(costs):
    """Return the number of the terrain of each cell, and their names."""
    names = list(TERRAIN_COSTS)
    number = {cost: place for place, cost in enumerate(TERRAIN_COSTS.values())}
    return np.vectorize(number.__getitem__)(costs), names


def touching(cells):
    """Return all pairs of neighbouring cells, in both orders."""
    near = [
        (cells[:, 1:], cells[:, :-1]),
        (cells[:, :, 1:], cells[:, :, :-1]),
        (cells[:, 1:, 1:], cells[:, :-1, :-1]),
        (cells[:, 1:, :-1], cells[:, :-1, 1:]),
    ]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in near])
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)


def simple_paths(size, cell=(0, 0), seen=frozenset()):
    """Yield the cells of every path from `cell` to the bottom right one that visits no cell twice."""
    seen = seen | {cell}
    if cell == (size - 1, size - 1):
        yield seen
        return
    row, column = cell
    for i in range(max(row - 1, 0), min(row + 2, size)):
        for j in range(max(column - 1, 0), min(column + 2, size)):
            if (i, j) not in seen:
                yield from simple_paths(size, (i, j), seen)


def least_cost(costs):
    """Return what the cheapest path costs, by Dijkstra's algorithm on a heap."""
    size = len(costs)
    queue, done = [(costs[0, 0], 0, 0)], set()
    while queue:
        paid, row, column = heapq.heappop(queue)
        if (row, column) == (size - 1, size - 1):
            return paid
        if (row, column) in done:
            continue
        done.add((row, column))
        for i in range(max(row - 1, 0), min(row + 2, size)):
            for j in range(max(column - 1, 0), min(column + 2, size)):
                if (i, j) not in done:
                    heapq.heappush(queue, (paid + costs[i, j], i, j))
    raise AssertionError("the last cell is never reached")


def leads_through(path):
    """Return whether the cells of a path reach from corner to corner, from neighbour to neighbour."""
    cells = {(int(i), int(j)) for i, j in np.argwhere(path == 1)}
    reached, ahead = set(), [(0, 0)] if (0, 0) in cells else []
    while ahead:
        row, column = ahead.pop()
        reached.add((row, column))
        ahead += [(i, j) for i, j in cells - reached if max(abs(i - row), abs(j - column)) == 1]
    return (len(path) - 1, len(path) - 1) in reached and reached == cells


def test_terrains_lie_beside_what_they_may_and_all_of_that_occurs(maps):
    cells, names = terrains(maps.costs)
    found = {name: set() for name in names}
    for one, other in touching(cells):
        found[names[one]].add(names[other])
    assert found == NEIGHBOURS
    shares = np.bincount(cells.ravel(), minlength=5) / cells.size
    assert shares.min() > 0.04
    assert shares.max() < 0.45


@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_rules_hold_on_maps_of_any_size(size):
    cells, names = terrains(terrain_maps(200 if size < 30 else 20, size, seed=1).costs)
    if size > 1:
        for one, other in touching(cells):
            assert names[other] in NEIGHBOURS[names[one]]


def test_shapes_types_and_length():
    maps = terrain_maps(3, 4, seed=0)
    assert len(maps) == 3
    assert maps.images.shape == (3, 3, 4 * CELL_PIXELS, 4 * CELL_PIXELS)
    assert maps.images.dtype == np.uint8
    assert maps.costs.shape == maps.paths.shape == (3, 4, 4)
    assert maps.costs.dtype == maps.paths.dtype == np.float64


@pytest.mark.parametrize("size", [2, 3])
def test_paths_are_the_cheapest_of_all(size):
    maps = terrain_maps(40, size, seed=2)
    everything = np.array(
        [
            [[(row, column) in cells for column in range(size)] for row in range(size)]
            for cells in simple_paths(size)
        ],
        dtype=float,
    )
    best = np.einsum("pij,mij->mp", everything, maps.costs).min(1)
    assert (maps.costs * maps.paths).sum((1, 2)) == pytest.approx(best)
    assert all((everything == path).all((1, 2)).any() for path in maps.paths)


def test_paths_of_large_maps_are_paths_of_least_cost(maps):
    for costs, path in zip(maps.costs[:40], maps.paths[:40], strict=True):
        assert leads_through(path)
        assert (costs * path).sum() == pytest.approx(least_cost(costs))


def statistics(maps):
    """Return mean and deviation of each channel in each cell, and one pixel of it; and its terrain."""
    count, size = maps.costs.shape[:2]
    pixels = maps.images.reshape(count, 3, size, CELL_PIXELS, size, CELL_PIXELS).transpose(0, 2, 4, 3, 5, 1)
    pixels = pixels.reshape(-1, CELL_PIXELS**2, 3).astype(float)
    middle = pixels[:, CELL_PIXELS**2 // 2]
    features = np.concatenate([pixels.mean(1), pixels.std(1)], 1)
    return features, middle, terrains(maps.costs)[0].ravel()


def accuracy(features, labels, test_features, test_labels):
    """Return how often linear discriminants are right: means of the classes under one covariance."""
    centres = np.stack([features[labels == label].mean(0) for label in range(5)])
    spread = np.linalg.inv(np.cov((features - centres[labels]).T))
    away = test_features[:, None] - centres
    return (np.einsum("nki,ij,nkj->nk", away, spread, away).argmin(1) == test_labels).mean()


def test_pictures_tell_the_terrain_but_not_by_one_colour(maps):
    seen, pixel, labels = statistics(maps)
    others, other_pixel, other_labels = statistics(terrain_maps(100, seed=6))
    told = accuracy(seen, labels, others, other_labels)
    assert told > 0.9
    assert accuracy(pixel, labels, other_pixel, other_labels) < told - 0.1
    # Pictures that lie elsewhere tell nothing: the terrains of other maps.
    shuffled = np.roll(other_labels, 12 * 12 * 7)
    assert accuracy(seen, labels, others, shuffled) < 0.5


def test_cells_of_a_terrain_differ(maps):
    _, pixel, labels = statistics(maps)
    for label in range(5):
        assert pixel[labels == label].std(0).min() > 8


def test_more_maps_begin_with_the_same_ones_and_the_seed_decides():
    few, many = terrain_maps(3, seed=9), terrain_maps(140, seed=9)
    for name in ("images", "costs", "paths"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:3])
    other = terrain_maps(3, seed=10)
    assert not np.array_equal(few.costs, other.costs)
    assert not np.array_equal(few.images, other.images)


@pytest.mark.parametrize(("rows", "size"), [(0, 12), (3, 0), (-1, 12)])
def test_bad_options_are_refused(rows, size):
    with pytest.raises(InvalidInputError, match="`rows` and `size` must be at least 1"):
        terrain_maps(rows, size, seed=0)
