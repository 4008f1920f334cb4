"""Many cost rows over one mixed-integer polytope: a branch and bound whose tree is kept from row to row.

The nodes of a branch and bound are polytopes that do not depend on the costs. So the tree that was grown for
one row serves the next: in each of its nodes the basis of the last visit is still feasible, a walk (see
`simplex`) starts from it, and it bounds the node from below without a pivot,

    <c, x> - sum of |d_j| (upper_j - lower_j) over the columns j whose reduced cost d_j is of the wrong sign.

Each row is searched best bound first from the root, and visits as many nodes as it needs. A node whose
branching variable is whole under the new costs gets new halves, which start from its basis by a dual simplex.

Sources: A. H. Land and A. G. Doig (1960), "An automatic method of solving discrete programming problems"; T.
K. Ralphs and M. Guzelsoy (2006), "Duality and warm starting in integer programming", for trees kept.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.kernels._basis import (
    BASIC,
    FIXED,
    WHOLE,
    Basis,
    Polytope,
    compute_duals,
    reduced_cost,
    refactor,
    write_point,
    wrongness,
)
from imle_opt_solvers.kernels._compile import compiled
from imle_opt_solvers.kernels.dual_simplex import FAILED, restore
from imle_opt_solvers.kernels.simplex import OPTIMAL, STRICT, UNIQUE, walk_row

__all__ = ["Tree", "search"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
FlagArray: TypeAlias = NDArray[np.int8]
BoolArray: TypeAlias = NDArray[np.bool_]

_FULL = -2


class Tree(NamedTuple):
    """Up to N nodes, the root first; changed in place.

    Args:
        lower: (N, n + rows) bounds of each node, as in `Polytope`.
        upper: (N, n + rows).
        basics: (N, rows) the basis that each node was left in, as in `Basis`.
        state: (N, n + rows).
        inverse: (N, rows, rows).
        values: (N, n + rows).
        pivots: (N, 1).
        used: (N,) which nodes exist.
        column: (N,) what a node was branched on; -1 where it was not.
        halves: (N, 2) its two halves; -1 for one that is empty.
        bounds: (N,) what the objective is at least in each node, for the row at hand.
        proven: (N,) what is proven of the node's relaxation; 0 where it is only bounded.
    """

    lower: FloatArray
    upper: FloatArray
    basics: IntArray
    state: FlagArray
    inverse: FloatArray
    values: FloatArray
    pivots: IntArray
    used: BoolArray
    column: IntArray
    halves: IntArray
    bounds: FloatArray
    proven: IntArray


@compiled
def _region(polytope: Polytope, tree: Tree, node: int) -> Polytope:
    return Polytope(polytope.starts, polytope.rows, polytope.values, tree.lower[node], tree.upper[node])


@compiled
def _basis(tree: Tree, node: int) -> Basis:
    return Basis(
        tree.basics[node], tree.state[node], tree.inverse[node], tree.values[node], tree.pivots[node]
    )


@compiled
def _copy(tree: Tree, node: int, other: int) -> None:
    """Give node `other` the bounds and the basis of `node`."""
    tree.lower[other] = tree.lower[node]
    tree.upper[other] = tree.upper[node]
    tree.basics[other] = tree.basics[node]
    tree.state[other] = tree.state[node]
    tree.inverse[other] = tree.inverse[node]
    tree.values[other] = tree.values[node]
    tree.pivots[other] = tree.pivots[node]


@compiled
def _objective(costs: FloatArray, values: FloatArray) -> float:
    total = 0.0
    for column in range(costs.size):
        total += costs[column] * values[column]
    return total


@compiled
def _bound(polytope: Polytope, basis: Basis, costs: FloatArray, duals: FloatArray) -> float:
    """Return what the objective is at least in a node, by the reduced costs of the basis it was left in."""
    compute_duals(basis, costs, duals)
    bound = _objective(costs, basis.values)
    for column in range(basis.state.size):
        state = basis.state[column]
        if state in (BASIC, FIXED):
            continue
        wrong = wrongness(state, reduced_cost(polytope, costs, duals, column))
        if wrong > 0.0:
            bound -= wrong * (polytope.upper[column] - polytope.lower[column])
    return bound


@compiled
def _distance(tree: Tree, node: int, column: int) -> float:
    """Return how far a column is from a whole number."""
    value = tree.values[node, column]
    return float(abs(value - np.round(value)))


@compiled
def _fractional(tree: Tree, node: int, integer: BoolArray) -> int:
    """Return the integer column to branch on: the one of last time, or the farthest from a whole number.

    It is -1 where all are whole.
    """
    last = tree.column[node]
    if last >= 0 and _distance(tree, node, last) > WHOLE:
        return int(last)
    chosen, farthest = -1, WHOLE
    for column in range(integer.size):
        if integer[column] and _distance(tree, node, column) > farthest:
            chosen, farthest = column, _distance(tree, node, column)
    return chosen


@compiled
def _free(tree: Tree, node: int) -> None:
    """Drop all nodes below one."""
    stack = np.empty(tree.used.size, dtype=np.int64)
    stack[0] = node
    height = 1
    while height > 0:
        height -= 1
        top = stack[height]
        if tree.column[top] < 0:
            continue
        for side in range(2):
            half = tree.halves[top, side]
            if half >= 0:
                tree.used[half] = False
                stack[height] = half
                height += 1
        tree.column[top] = -1


@compiled
def _new_node(tree: Tree) -> int:
    """Return a node that is not used yet; -1 where there is none."""
    for node in range(tree.used.size):
        if not tree.used[node]:
            tree.used[node] = True
            tree.column[node] = -1
            return node
    return -1


@compiled
def _branch(
    polytope: Polytope, tree: Tree, node: int, column: int, costs: FloatArray, most_steps: int
) -> tuple[int, int]:
    """Give a node two halves, at their optima.

    Returns:
        1, or `FAILED` or `_FULL`, and the steps taken.
    """
    _free(tree, node)
    floor, spent = np.floor(tree.values[node, column]), 0
    duals, step = np.empty(tree.basics.shape[1]), np.empty(tree.basics.shape[1])
    tree.column[node] = column
    tree.halves[node] = -1
    for side in range(2):
        half = _new_node(tree)
        if half < 0:
            return _FULL, spent
        _copy(tree, node, half)
        if side == 0:
            tree.upper[half, column] = floor
        else:
            tree.lower[half, column] = floor + 1.0
        found, steps = restore(
            _region(polytope, tree, half), _basis(tree, half), costs, duals, step, most_steps
        )
        spent += steps
        if found == 0:
            tree.used[half] = False
            continue
        tree.halves[node, side] = half
        if found < 0:
            return FAILED, spent
    return 1, spent


@compiled
def _best(tree: Tree, waiting: IntArray, count: int) -> int:
    """Return the place of the waiting node of the least bound."""
    best = 0
    for place in range(1, count):
        if tree.bounds[waiting[place]] < tree.bounds[waiting[best]]:
            best = place
    return best


@compiled
def _rival(tree: Tree, waiting: IntArray, count: int, best: int, margin: float, proven: bool) -> int:
    """Return a waiting node that may hold as good a point as the best one, solved or not; -1 if none may."""
    for place in range(count):
        node = waiting[place]
        near = tree.bounds[node] <= tree.bounds[best] + margin
        if near and node != best and (tree.proven[node] > 0) == proven:
            return int(node)
    return -1


@compiled
def _search_row(
    polytope: Polytope, tree: Tree, integer: BoolArray, costs: FloatArray, most_steps: int, point: FloatArray
) -> tuple[int, int]:
    """Write the optimum of one row (n,); return what is proven, `FAILED` or `_FULL`, and the steps taken."""
    work, waiting = np.empty(tree.basics.shape[1]), np.zeros(tree.used.size, dtype=np.int64)
    scale = 0.0
    for column in range(costs.size):
        scale = max(scale, abs(costs[column]))
    margin = STRICT * scale
    tree.bounds[0], tree.proven[0] = -np.inf, 0
    count, spent = 1, 0
    while count > 0 and spent < most_steps:
        place = _best(tree, waiting, count)
        node = waiting[place]
        column = -1
        if tree.proven[node] > 0:
            column = _fractional(tree, node, integer)
            if column < 0:
                best = node
                node = _rival(tree, waiting, count, best, margin, False)
                if node < 0:
                    exact = write_point(_region(polytope, tree, best), _basis(tree, best), point, work)
                    if exact < 0:
                        return FAILED, spent
                    tied = _rival(tree, waiting, count, best, margin, True) >= 0
                    proven = OPTIMAL if tied else int(tree.proven[best]) & (OPTIMAL | UNIQUE)
                    return proven | exact, spent
        if column < 0:
            basis = _basis(tree, node)
            verdict, steps = walk_row(_region(polytope, tree, node), basis, costs, most_steps, point)
            spent += steps
            if verdict <= 0:
                return FAILED, spent
            tree.bounds[node], tree.proven[node] = _objective(costs, basis.values), verdict
            continue
        if tree.column[node] != column:
            verdict, steps = _branch(polytope, tree, node, column, costs, most_steps)
            spent += steps
            if verdict < 0:
                return verdict, spent
        count -= 1
        waiting[place] = waiting[count]
        for side in range(2):
            half = tree.halves[node, side]
            if half >= 0:
                bound = _bound(_region(polytope, tree, half), _basis(tree, half), costs, work)
                tree.bounds[half], tree.proven[half] = max(tree.bounds[node], bound), 0
                waiting[count] = half
                count += 1
                spent += 1
    return FAILED, spent


@compiled
def _plant(polytope: Polytope, tree: Tree, start: Basis) -> bool:
    """Begin anew, with a root alone; False where its basis is singular."""
    tree.used[:] = False
    tree.column[0] = -1
    tree.lower[0] = polytope.lower
    tree.upper[0] = polytope.upper
    tree.basics[0] = start.basics
    tree.state[0] = start.state
    tree.used[0] = refactor(polytope, _basis(tree, 0))
    return bool(tree.used[0])


@compiled
def search(
    costs: FloatArray,
    polytope: Polytope,
    tree: Tree,
    start: Basis,
    integer: BoolArray,
    most_steps: int,
    budget: int,
    progress: IntArray,
    points: FloatArray,
    verdicts: IntArray,
) -> None:
    """Minimise rows of `costs`, each by the tree of the row before, until the budget is spent.

    Args:
        costs: (B, n).
        polytope: the feasible region of the relaxation.
        tree: changed in place; without a root it is planted anew.
        start: a feasible basis of the relaxation; read only.
        integer: (n,) which columns must be whole.
        most_steps: about how many pivots and bounds one row may take, before it is given up.
        budget: about how many to take in this call; call again while `progress[0] < B`.
        progress: (2,) the row that is next, and how many rows before it were given up one after the other.
        points: (B, n), written for the rows done.
        verdicts: (B,) written for the rows done: a sum of `OPTIMAL`, `UNIQUE` and `EXACT`; or 0, and then
            the point means nothing.
    """
    spent = 0
    while progress[0] < costs.shape[0] and spent < budget:
        row, verdict, again = progress[0], FAILED, True
        while again and (tree.used[0] or _plant(polytope, tree, start)):
            fresh = tree.column[0] < 0
            verdict, steps = _search_row(polytope, tree, integer, costs[row], most_steps, points[row])
            spent += steps
            again = verdict == _FULL and not fresh  # full of nodes for rows before
            if verdict < 0:
                tree.used[0] = False
        verdicts[row] = max(verdict, 0)
        progress[0] = row + 1
        progress[1] = progress[1] + 1 if verdict <= 0 else 0
