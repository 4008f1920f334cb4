"""Between tensors and arrays: the only place where one becomes the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor

from imle_opt_solvers.instances import Instances, flatten_instances
from imle_opt_solvers.instances import take_rows as take_instance_rows
from imle_opt_solvers.solution import FloatArray, Sense, Solution
from imle_opt_solvers.solver import Solver

__all__ = ["Spent", "flat_instances", "map_decisions", "map_with_fixed", "take_rows", "to_array", "to_tensor"]


@final
@dataclass
class Spent:
    """What solves of tensors have cost so far, and what came of them.

    Args:
        solver: seconds in the solver.
        transfer: seconds from tensors to arrays and back.
        rows: how many were solved; each sample counts.
        undecided: how many of them had no decision.
        synchronize: wait for the GPU before the clock starts, so that work queued before is not taken for
            transfer.
    """

    solver: float = 0.0
    transfer: float = 0.0
    rows: int = 0
    undecided: int = 0
    synchronize: bool = False


def map_decisions(
    solver: Solver,
    theta: Tensor,
    *,
    instances: Instances | None = None,
    deterministic: bool,
    spent: Spent | None = None,
) -> Tensor:
    """Return `MAP(theta)` as a tensor like theta, by one solve per row on the CPU.

    Args:
        solver: what maximises.
        theta: (*batch, *shape), finite, any floating point dtype, any device.
        instances: per-row data, each entry (*batch, ...): tensors of any device, arrays, sequences.
        deterministic: as in `Solver.solve`.
        spent: where to count rows and seconds; None: nowhere.

    Returns:
        Decisions (*batch, *shape), in the dtype and on the device of theta, without a graph.

    Raises:
        InvalidInputError: bad instances, or costs that the solver refuses.
        SolveError: some row has no proven optimum, and the solver's policy is to raise.
    """
    spent = Spent() if spent is None else spent
    _, solution = _solve(solver, theta, instances, deterministic, spent)
    return _brought_back(solution.decisions, theta, spent)


def map_with_fixed(
    solver: Solver,
    theta: Tensor,
    *,
    instances: Instances | None = None,
    deterministic: bool,
    spent: Spent | None = None,
) -> tuple[Tensor, Tensor]:
    """Return `MAP(theta)`, and what the model's fixed costs and constant add to its maximum in each row.

    Args:
        solver: what maximises `<z, theta> + F(z)`.
        theta: (*batch, *shape), finite, any floating point dtype, any device.
        instances: per-row data, as in `map_decisions`.
        deterministic: as in `Solver.solve`.
        spent: as in `map_decisions`.

    Returns:
        Decisions z, (*batch, *shape), and F(z), (*batch,): the objective less `<z, theta>`, NaN in rows
        without a decision; both in the dtype and on the device of theta, without a graph.

    Raises:
        SolveError: as `map_decisions`.
    """
    spent = Spent() if spent is None else spent
    costs, solution = _solve(solver, theta, instances, deterministic, spent)
    event = tuple(range(costs.ndim - len(solver.shape), costs.ndim))
    fixed = solver.sense.sign * (solution.objectives - np.sum(costs * solution.decisions, axis=event))
    decisions = _brought_back(solution.decisions, theta, spent)
    return decisions, _brought_back(np.asarray(fixed), theta, spent)


def to_array(tensor: Tensor) -> FloatArray:
    """Return a tensor as a float64 array in C order, without its graph; where it is one, without a copy."""
    return tensor.detach().to(device="cpu", dtype=torch.float64).contiguous().numpy()


def to_tensor(array: FloatArray, *, like: Tensor) -> Tensor:
    """Return an array as a tensor in the dtype and on the device of `like`; memory is not shared.

    A dtype too narrow for the entries rounds them: integers above 256 in bfloat16, above 2048 in float16.
    """
    # Torch takes no array that is read-only or runs backwards.
    shared = torch.from_numpy(array if array.flags.carray else array.copy())
    if like.device.type != "cuda":
        return shared.to(like.device, like.dtype, copy=True)
    staged = torch.empty(array.shape, dtype=like.dtype, pin_memory=True)
    return staged.copy_(shared).to(like.device, non_blocking=True)


def flat_instances(instances: Instances | None, batch: tuple[int, ...]) -> dict[str, Any] | None:
    """Return `instances` as arrays of which the first dimension is the flattened batch.

    Args:
        instances: entries (*batch, ...): tensors of any device, arrays, sequences, or mappings of them.
        batch: the batch shape of the costs that they go with.

    Raises:
        InvalidInputError: an entry whose leading dimensions are not those of the batch.
    """
    return None if instances is None else flatten_instances(_arrays(instances), batch)


def take_rows(instances: Mapping[str, Any], rows: Tensor) -> dict[str, Any]:
    """Return the entries of some rows of flat instances, in the order of `rows`, which may repeat."""
    return take_instance_rows(instances, rows.cpu().numpy())


def _solve(
    solver: Solver, theta: Tensor, instances: Instances | None, deterministic: bool, spent: Spent
) -> tuple[FloatArray, Solution]:
    """Return the costs that theta stands for, and their solution."""
    if spent.synchronize and theta.is_cuda:
        torch.cuda.synchronize(theta.device)
    began = time.perf_counter()
    costs = to_array(theta)
    if solver.sense is not Sense.MAX:
        is_copy = theta.dtype != torch.float64 or theta.device.type != "cpu" or not theta.is_contiguous()
        costs = np.negative(costs, out=costs if is_copy else None)
    arrays = None if instances is None else _arrays(instances)
    sent = time.perf_counter()
    solution = solver.solve(costs, instances=arrays, deterministic=deterministic)
    spent.solver += time.perf_counter() - sent
    spent.transfer += sent - began
    spent.rows += len(solution.statuses)
    if solution.failed_rows:
        spent.undecided += int(np.isnan(solution.objectives).sum())
    return costs, solution


def _brought_back(array: FloatArray, theta: Tensor, spent: Spent) -> Tensor:
    began = time.perf_counter()
    tensor = to_tensor(array, like=theta)
    spent.transfer += time.perf_counter() - began
    return tensor


def _arrays(instances: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _array(value) for key, value in instances.items()}


def _array(value: object) -> object:
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        return (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    if isinstance(value, Mapping):
        return _arrays(cast("Mapping[str, Any]", value))
    # Not tuples: those are node labels.
    return [_array(item) for item in cast("list[object]", value)] if isinstance(value, list) else value
