"""Random linear models that have a structure, and random changes that may take it away."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from linear_models import INF, linear_model


def _with_options(rng, sense, matrix, lower, upper, column_upper, integer):
    """Shuffle the columns, predict some of them, give the others fixed costs."""
    columns = matrix.shape[1]
    order = rng.permutation(columns)
    fixed = np.where(rng.random(columns) < 0.2, np.round(rng.normal(size=columns), 2), 0.0)
    predicted = np.flatnonzero((fixed == 0) | (np.arange(columns) == 0))
    fixed[predicted] = 0.0
    return linear_model(
        sense,
        matrix[:, order],
        lower,
        upper,
        0,
        np.broadcast_to(column_upper, columns)[order],
        integer,
        predicted=rng.permutation(predicted),
        fixed_costs=fixed,
        offset=float(rng.integers(-2, 3)),
    )


def network(rng):
    """A network of one unit of flow: rows negated now and then, one of them left out now and then.

    Some of its nodes, and cycles among them, may be out of reach.
    """
    nodes = int(rng.integers(2, 7))
    chain = rng.permutation(nodes)[: rng.integers(2, nodes + 1)]
    arcs = list(itertools.pairwise(chain))
    arcs += [tuple(rng.choice(nodes, 2, replace=False)) for _ in range(rng.integers(0, 9))]
    matrix = np.zeros((nodes, len(arcs)))
    for column, (tail, head) in enumerate(arcs):
        matrix[tail, column], matrix[head, column] = 1, -1
    sides = np.zeros(nodes)
    sides[chain[0]], sides[chain[-1]] = 1, -1
    signs = rng.choice([-1.0, 1.0], nodes)
    matrix, sides = matrix * signs[:, None], sides * signs
    if nodes > 2 and rng.random() < 0.3:
        kept = np.delete(np.arange(nodes), rng.integers(nodes))
        matrix, sides = matrix[kept], sides[kept]
    upper = rng.choice([1.0, 1.0, 2.5, INF], len(arcs))
    return _with_options(rng, "min", matrix, sides, sides, upper, rng.random() < 0.5)


def visits(rng):
    """A network with a column for the visit of some of its nodes: what flows in, and 1 at the source."""
    nodes = int(rng.integers(2, 6))
    pairs = list(itertools.permutations(range(nodes), 2))
    chain = [(node, node + 1) for node in range(nodes - 1)]
    arcs = chain + [pair for pair in pairs if pair not in chain and rng.random() < 0.4]
    seen = np.flatnonzero(rng.random(nodes) < 0.7)
    matrix = np.zeros((nodes + len(seen), len(arcs) + len(seen)))
    for column, (tail, head) in enumerate(arcs):
        matrix[tail, column], matrix[head, column] = 1, -1
        matrix[nodes:, column] = seen == head
    matrix[range(nodes, nodes + len(seen)), range(len(arcs), len(arcs) + len(seen))] = -1
    sides = np.zeros(nodes + len(seen))
    sides[0], sides[nodes - 1] = 1, -1
    sides[nodes:] = np.where(seen == 0, -1.0, 0.0)
    scales = np.where(np.arange(len(sides)) < nodes, 1.0, rng.choice([1.0, -1.0, 2.0], len(sides)))
    matrix, sides = matrix * scales[:, None], sides * scales
    upper = np.concatenate([rng.choice([1.0, INF], len(arcs)), rng.choice([1.0, 1.0, 0.0, INF], len(seen))])
    return _with_options(rng, "min", matrix, sides, sides, upper, rng.random() < 0.5)


def pairing(rng):
    """An assignment of n sites to m customers, n <= m."""
    n = int(rng.integers(1, 4))
    m = n + int(rng.integers(0, 3))
    matrix = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    lower = np.concatenate([np.ones(n), np.ones(m) if n == m else rng.choice([0.0, -INF], m)])
    order = rng.permutation(n + m)
    sense, upper = rng.choice(["min", "max"]), rng.choice([1.0, INF])
    return _with_options(rng, sense, matrix[order], lower[order], 1, upper, rng.random() < 0.5)


def packing(rng):
    """A knapsack with one to three constraints, covering or packing, coefficients of one sign per column."""
    rows, columns = int(rng.integers(1, 4)), int(rng.integers(1, 8))
    weights = rng.integers(0, 6, size=(rows, columns)).astype(float)
    if rng.random() < 0.3:
        weights += 0.37
    weights[0, 0] += 1.0
    signs = rng.choice([-1.0, 1.0], columns) if rng.random() < 0.5 else np.ones(columns)
    sides = np.floor((weights * (signs > 0)).sum(axis=1) * rng.uniform(0, 1, rows))
    from_above = rng.random(rows) < 0.6
    matrix = np.where(from_above, 1.0, -1.0)[:, None] * weights * signs
    lower, upper = np.where(from_above, -INF, -sides), np.where(from_above, sides, INF)
    return _with_options(rng, rng.choice(["min", "max"]), matrix, lower, upper, 1, True)


def cardinality(rng):
    """Choose k of n."""
    columns = int(rng.integers(1, 8))
    coefficient = float(rng.choice([1, -1, 3]))
    side = coefficient * rng.integers(0, columns + 1)
    matrix = np.full((1, columns), coefficient)
    return _with_options(rng, rng.choice(["min", "max"]), matrix, side, side, 1, rng.random() < 0.5)


BUILDERS = {
    "network": network,
    "visits": visits,
    "pairing": pairing,
    "packing": packing,
    "cardinality": cardinality,
}


def _entry(rng, model):
    values = model.row_values.copy()
    values[rng.integers(values.size)] += rng.choice([-2.0, -1.0, -0.5, 0.5, 1.0])
    return replace(model, row_values=values)


def _side(rng, model):
    lower, upper, row = model.row_lower.copy(), model.row_upper.copy(), rng.integers(model.num_rows)
    shift = rng.choice([-1.0, -0.5, 0.5, 1.0])
    lower[row], upper[row] = lower[row] + shift, upper[row] + shift
    return replace(model, row_lower=lower, row_upper=upper)


def _relation(rng, model):
    lower, upper, row = model.row_lower.copy(), model.row_upper.copy(), rng.integers(model.num_rows)
    if rng.random() < 0.5:
        lower[row] = lower[row] - 1 if np.isfinite(lower[row]) else min(upper[row], 0.0)
    else:
        upper[row] = upper[row] + 1 if np.isfinite(upper[row]) else lower[row] + 1
    return replace(model, row_lower=lower, row_upper=upper)


def _bound(rng, model):
    lower, upper = model.column_lower.copy(), model.column_upper.copy()
    column = rng.integers(model.num_columns)
    lower[column], upper[column] = [(0, 0), (1, 1), (0, 0.5), (0, 2), (-1, 1), (0.5, 1), (0, 3)][
        rng.integers(7)
    ]
    return replace(model, column_lower=lower, column_upper=upper)


def _integrality(rng, model):
    integrality = model.integrality.copy()
    column = rng.integers(model.num_columns)
    integrality[column] = ~integrality[column]
    return replace(model, integrality=integrality)


def _row(rng, model):
    columns = np.flatnonzero(rng.random(model.num_columns) < 0.6)
    values = rng.choice([1.0, 1.0, -1.0, 2.0], columns.size)
    return replace(
        model,
        row_starts=np.append(model.row_starts, model.row_starts[-1] + columns.size),
        row_columns=np.concatenate([model.row_columns, columns]),
        row_values=np.concatenate([model.row_values, values]),
        row_lower=np.append(model.row_lower, rng.choice([-INF, -INF, 0.0])),
        row_upper=np.append(model.row_upper, float(rng.integers(0, 3))),
        row_names=(*model.row_names, "extra"),
    )


CHANGES = (_entry, _side, _relation, _bound, _integrality, _row)
