"""Shortest paths on a grid where the tensors are: min-plus relaxation, all rows at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
import torch
from torch import Tensor

from imle_opt._bridge import flat_instances
from imle_opt._checks import check_choice, check_costs
from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.instances import Instances

__all__ = ["DeviceGridPath"]

Cell: TypeAlias = tuple[int, int]
DeviceNeighbours: TypeAlias = Literal[4, 8]
DeviceNegative: TypeAlias = Literal["error", "clip"]


@final
@dataclass(frozen=True)
class DeviceGridPath:
    """The cheapest path on a grid with costs on its cells, found on the device of the costs.

        D[source] = c[source];   D[v] <- min(D[v], c[v] + min of its neighbours' D)   until nothing changes

    Every step relaxes every cell of every row, so that a batch is a few dozen operations on whole tensors,
    on a CPU or a GPU, and nothing is copied to arrays. Costs and decisions have the grid's shape; the path
    pays every cell that it visits, both ends counted. The answers are those of `grid_path` with costs on
    vertices, which sums the same numbers in the same order, in float64; where several paths are cheapest it
    may be another of them.

    It is a family: give it to a layer or a loss in place of a solver. Metrics of regret take solvers: give
    them the `grid_path` of the same grid.

    Args:
        shape: rows and columns.
        neighbours: 8 for all adjacent cells, 4 without diagonals.
        source: the first cell, `(row, column)`.
        target: the last cell; None for the bottom right one.
        negative: what to do with negative costs: `"error"` refuses the batch; `"clip"` finds the path for
            `max(costs, 0)`, which is biased.

    Raises:
        ModelError: a grid without cells, or a cell outside of it.
        InvalidInputError: an option that does not exist; from `map`, negative costs that are refused.

    `instances` takes `source` and `target`, (*batch, 2).

    Cost: as many relaxations as the cheapest paths have cells, each O(rows * columns) per row of the batch,
    and two small synchronisations each on a GPU. On a CPU the compiled kernel of `grid_path` is some three
    times as fast: this is for costs that are on a GPU.

    Source: R. Bellman (1958), "On a routing problem", in the order in which all cells change at once.
    """

    shape: tuple[int, ...] = (12, 12)
    neighbours: DeviceNeighbours = 8
    source: Cell = (0, 0)
    target: Cell | None = None
    negative: DeviceNegative = "error"

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ModelError(f"`shape` must be (rows, columns), both at least 1, not {self.shape!r}.")
        if self.neighbours not in get_args(DeviceNeighbours):
            raise InvalidInputError(f"`neighbours` must be 4 or 8, not {self.neighbours!r}.")
        check_choice(self.negative, get_args(DeviceNegative), "negative")
        for name, cell in (("source", self.source), ("target", self._target)):
            if not all(0 <= index < size for index, size in zip(cell, self.shape, strict=True)):
                raise ModelError(f"`{name}` {cell!r} is not a cell of a grid of {self.shape}.")

    @property
    def event_dim(self) -> int:
        """2: the last dimensions of theta are the grid."""
        return 2

    @property
    def sign(self) -> float:
        """-1: `theta = -costs`, a path minimises."""
        return -1.0

    @property
    def _target(self) -> Cell:
        return (self.shape[0] - 1, self.shape[1] - 1) if self.target is None else self.target

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the path that maximises `<z, theta>`, the cheapest one under `costs = -theta`.

        Args:
            theta: (*batch, rows, columns), always maximised.
            instances: `source` and `target`, (*batch, 2), or None.
            deterministic: makes no difference, a row's answer depends on nothing but the row.

        Returns:
            1 on the cells of the path: the shape, dtype and device of theta, without a graph.

        Raises:
            InvalidInputError: theta of another shape or not finite, negative costs that are refused, costs
                too large to be added up, or cells outside of the grid.
        """
        check_costs(theta, self.event_dim, self.shape, "theta")
        batch = tuple(theta.shape[:-2])
        flat = flat_instances(instances, batch)
        costs = self._legal(-theta.detach().double()).reshape(-1, *self.shape)
        if not len(costs):
            return torch.zeros_like(theta, requires_grad=False)
        ends = [self._positions(flat, name, len(costs), costs.device) for name in ("source", "target")]
        self._refuse_other(flat)
        distances, settled = _relaxed(costs.movedim(0, -1).contiguous(), ends[0], self.neighbours)
        path = _walked(distances, settled, ends[0], ends[1], self.neighbours)
        return path.movedim(-1, 0).to(theta.dtype, copy=True).reshape(theta.shape)

    def _legal(self, costs: Tensor) -> Tensor:
        if not costs.numel():
            return costs
        low, high = (float(bound) for bound in torch.aminmax(costs))
        if high > torch.finfo(torch.float64).max / (2 * math.prod(self.shape)):
            raise InvalidInputError(
                f"The costs are too large to be added up (up to {high:.3g}): scale them down."
            )
        if low >= 0:
            return costs
        if self.negative == "clip":
            return costs.clamp(min=0)
        raise InvalidInputError(
            f"The costs must not be negative (lowest {low:.4g}): round a negative cycle, a path gets ever "
            f"cheaper. Predict non-negative costs (softplus), use noise that keeps their sign (Exponential, "
            f"Multiplicative), or accept the bias of negative='clip'."
        )

    def _positions(
        self, instances: dict[str, Any] | None, name: str, rows: int, device: torch.device
    ) -> Tensor:
        """Return (B,) positions in the padded grid."""
        own = self.source if name == "source" else self._target
        given = None if instances is None else instances.get(name)
        if isinstance(given, np.ndarray) and given.dtype == object:  # tuples
            given = np.array(list(given))
        cells = np.array([own] * rows) if given is None else np.asarray(given)
        inside = cells.shape == (rows, 2) and ((cells >= 0) & (cells < np.array(self.shape))).all(-1)
        if not np.all(inside):
            raise InvalidInputError(
                f"`instances[{name!r}]` must hold one cell (row, column) of the grid {self.shape} per row, "
                f"shape (*batch, 2)."
            )
        places = torch.as_tensor(cells, dtype=torch.long, device=device)
        return (places[:, 0] + 1) * (self.shape[1] + 2) + places[:, 1] + 1

    def _refuse_other(self, instances: dict[str, Any] | None) -> None:
        others = sorted(set(instances or ()) - {"source", "target"})
        if others:
            raise InvalidInputError(
                f"DeviceGridPath takes `instances` named 'source' and 'target', not "
                f"{', '.join(map(repr, others))}."
            )


def _relaxed(costs: Tensor, source: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return, on the grid with a rim of one cell, distances (inf on the rim) and when they were last lowered.

    A cell's last step comes after that of the neighbour from which it was reached, unless that neighbour is
    strictly closer: with both, a way back never runs in circles, whatever costs are zero or lost in rounding.

    Args:
        costs: (H, W, B), not negative. The batch comes last, so that shifted windows are long runs of memory.
        source: (B,), positions in the grid with its rim.
        neighbours: 4 or 8.

    Returns:
        Distances and steps, (H + 2, W + 2, B).
    """
    height, width, rows = costs.shape
    distances = costs.new_full((height + 2, width + 2, rows), torch.inf)
    settled = torch.zeros(distances.shape, dtype=torch.int32, device=costs.device)
    inner, steps = distances[1:-1, 1:-1], settled[1:-1, 1:-1]
    at_source = source // (width + 2) - 1, source % (width + 2) - 1, torch.arange(rows, device=source.device)
    inner[at_source] = costs[at_source]
    for step in range(1, height * width):
        relaxed = _window_minimum(distances, neighbours).add_(costs)
        lowered = relaxed < inner
        if not lowered.any():
            break
        steps.masked_fill_(lowered, step)
        torch.minimum(inner, relaxed, out=inner)
    return distances, settled


def _window_minimum(padded: Tensor, neighbours: int) -> Tensor:
    """Return the least of each cell's neighbours, with 8 also the cell: (H + 2, W + 2, B) -> (H, W, B)."""
    if neighbours == 4:
        across = torch.minimum(padded[1:-1, :-2], padded[1:-1, 2:])
        down = torch.minimum(padded[:-2, 1:-1], padded[2:, 1:-1])
        return torch.minimum(across, down, out=across)
    across = torch.minimum(padded[:, :-2], padded[:, 2:])
    across = torch.minimum(across, padded[:, 1:-1], out=across)
    down = torch.minimum(across[:-2], across[2:])
    return torch.minimum(down, across[1:-1], out=down)


def _walked(distances: Tensor, settled: Tensor, source: Tensor, target: Tensor, neighbours: int) -> Tensor:
    """Return 1 on the cells of the way back from target to source, (H, W, B)."""
    width = distances.shape[1]
    steps = [-width, -1, 1, width]
    if neighbours == 8:
        steps += [-width - 1, -width + 1, width - 1, width + 1]
    offsets = torch.tensor(steps, device=distances.device)[:, None]
    lengths, when = distances.flatten(0, 1), settled.flatten(0, 1)
    path = torch.zeros_like(lengths)
    here = target[None].clone()
    for _ in range(len(path)):
        path.scatter_(0, here, 1.0)
        if torch.equal(here[0], source):
            break
        around = here + offsets
        near = lengths.gather(0, around)
        late = when.gather(0, around).masked_fill_(near > near.amin(0), torch.iinfo(when.dtype).max)
        onward = around.gather(0, late.argmin(0, keepdim=True))
        here = torch.where(here == source, here, onward)
    return path.reshape(distances.shape)[1:-1, 1:-1]
