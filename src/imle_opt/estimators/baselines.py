"""Baselines that follow the values of f: what REINFORCE subtracts to lower its variance."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from imle_opt_solvers.errors import InvalidInputError

__all__ = ["MovingAverage"]


@final
class MovingAverage(nn.Module):
    """An exponential moving average of past values of f, corrected for its start at zero.

        beta = m / (1 - decay^t)                         what is read, 0 at t = 0
        m <- decay m + (1 - decay) mean f,   t <- t + 1  afterwards, in `train()` only

    The order matters: an average that has seen the value it is subtracted from shrinks the gradient, by the
    factor `decay` for one sample.

    Args:
        decay: between 0 and 1, for example 0.9 to 0.99.
        batch_shape: () for one average over all rows; (*batch,) for one per row, where the rows of every call
            are the same.

    Raises:
        InvalidInputError: `decay` out of its range; from the call, values of another batch shape.

    Attributes:
        average: m, a buffer.
        count: t, a buffer. Values that are not finite are not counted.
    """

    average: Tensor
    count: Tensor

    def __init__(self, decay: float = 0.95, batch_shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise InvalidInputError(f"`decay` must be between 0 and 1, not {decay!r}.")
        self.decay = decay
        self.register_buffer("average", torch.zeros(batch_shape))
        self.register_buffer("count", torch.zeros(batch_shape))

    def forward(self, values: Tensor) -> Tensor:
        """Return the baseline for values that it has not seen, and then take them in.

        Args:
            values: (S, *batch), without a graph.

        Returns:
            Broadcasts against `values`, in their dtype.
        """
        if self.average.ndim and self.average.shape != values.shape[1:]:
            raise InvalidInputError(
                f"`batch_shape` is {tuple(self.average.shape)}, the values of f are for rows of shape "
                f"{tuple(values.shape[1:])}: a moving average per row needs the same rows in every call."
            )
        baseline = torch.where(self.count > 0, self.average / (1 - self.decay**self.count), 0)
        if self.training:
            self._take(values.mean(0) if self.average.ndim else values.mean())
        return baseline.to(values.dtype)

    @torch.no_grad()
    def _take(self, mean: Tensor) -> None:
        finite = mean.isfinite()
        updated = self.decay * self.average + (1 - self.decay) * mean.to(self.average.dtype)
        self.average.copy_(torch.where(finite, updated, self.average))
        self.count.add_(finite)

    def extra_repr(self) -> str:
        """Show the decay."""
        return f"decay={self.decay}"
