"""Spanning trees of the complete graph, with exact samples and marginals by elimination of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from imle_opt._checks import at_least_float32, check_at_least_one, check_costs, check_positive
from imle_opt.families._checks import check_event_shape, check_no_instances, check_support_size
from imle_opt.families._covariance import covariance_of
from imle_opt.noise import Gumbel
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.instances import Instances

__all__ = ["SpanningTree"]


@final
@dataclass(frozen=True)
class SpanningTree:
    """Spanning trees of the complete graph on n nodes, as 0/1 vectors over its `n (n - 1) / 2` edges.

    Edges are ordered as `itertools.combinations(range(n), 2)`: (0, 1), (0, 2), ..., (n - 2, n - 1). The law
    is `p(z; theta) ∝ exp(<z, theta>)`. Its normaliser is a minor of the weighted Laplacian (Kirchhoff's
    matrix-tree theorem), computed by eliminating nodes, in logarithms: with `w = exp(theta)`,

        d_v = sum_i w_vi,    w_ij <- w_ij + w_vi w_vj / d_v,    Z = product of d_v,    v = n - 1, ..., 1.

    Nothing is subtracted, so that it is exact in float32 at any logits. Read backwards, the same steps give
    marginals and samples: an edge of a tree without v is either an original one or stands for a path through
    v, and v is joined to each part of what remains by one of its edges, with probability proportional to w.

    This family knows the law of trees and runs on the device of theta. For the trees of another graph, or
    where only optima are needed, give the solver of the same name (`imle_opt.solvers.SpanningTree(graph)`)
    to a method, or `Polytope(solver)`.

    Args:
        n: number of nodes, at least 2.

    Raises:
        InvalidInputError: `n` below 2, or (from the methods) an unfit theta.

    Cost: n steps, n^3 operations per row for the normaliser and the marginals, n^4 log n per sample.

    Source: Kirchhoff, 1847; elimination in the manner of Colbourn, Myrvold and Neufeld, Journal of Algorithms
    20 (1996), "Two algorithms for unranking arborescences".
    """

    n: int

    def __post_init__(self) -> None:
        check_at_least_one(self.n, "n")
        if self.n < 2:
            raise InvalidInputError(f"`n` must be at least 2 nodes, not {self.n!r}.")

    @property
    def num_edges(self) -> int:
        """`n (n - 1) / 2`, the last dimension of theta."""
        return self.n * (self.n - 1) // 2

    @property
    def event_dim(self) -> int:
        """1: the last dimension of theta is the edges."""
        return 1

    @property
    def sign(self) -> float:
        """+1: there is no sense, costs are logits and the heaviest tree is the best."""
        return 1.0

    def map(self, theta: Tensor, *, instances: Instances | None = None, deterministic: bool = True) -> Tensor:
        """Return the heaviest spanning tree, by Prim's algorithm on the whole batch.

        Args:
            theta: (*batch, num_edges).
            instances: must be None.
            deterministic: makes no difference, the answer depends on nothing but theta.

        Returns:
            The shape and dtype of theta, without a graph.
        """
        check_no_instances(instances, self)
        self._check(theta)
        index = self._edge_index(theta.device)
        weights = theta.detach()[..., index]
        reach, via = weights[..., 0, :], torch.zeros_like(weights[..., 0, :], dtype=torch.long)
        joined = torch.zeros_like(via, dtype=torch.bool)
        joined[..., 0] = True
        decisions = torch.zeros_like(theta, requires_grad=False)
        for _ in range(self.n - 1):
            node = reach.masked_fill(joined, -torch.inf).argmax(-1, keepdim=True)
            decisions.scatter_(-1, index[via.gather(-1, node), node], 1.0)
            joined = joined.scatter(-1, node, True)
            row = weights.gather(-2, node[..., None].expand(*node.shape, self.n)).squeeze(-2)
            via = torch.where(row > reach, node, via)
            reach = torch.maximum(row, reach)
        return decisions

    def sample(self, theta: Tensor, num_samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Draw exact samples, adding the nodes in the reverse order of their elimination.

        Args:
            theta: (*batch, num_edges).
            num_samples: S.
            generator: source of randomness, on the device of theta; None is torch's default.

        Returns:
            (S, *batch, num_edges), in the dtype of theta, without a graph.
        """
        self._check(theta)
        check_at_least_one(num_samples, "num_samples")
        with torch.no_grad():
            logits = at_least_float32(theta)
            steps = _eliminated(logits[..., self._edge_index(theta.device)])
            shape = (num_samples, *theta.shape)
            tree = torch.ones((*shape[:-1], 1, 1), dtype=torch.bool, device=theta.device)
            for v, weights in enumerate(reversed(steps), start=1):
                uniform = logits.new_empty((*shape[:-1], v, v)).uniform_(generator=generator)
                uniform = uniform.triu() + uniform.triu(1).mT
                gumbel = Gumbel().draw(
                    (*shape[:-1], v), generator=generator, dtype=logits.dtype, device=theta.device
                )
                tree = _with_node(tree, weights, uniform, gumbel)
            tails, heads = torch.triu_indices(self.n, self.n, 1, device=theta.device)
            return tree[..., tails, heads].to(theta.dtype)

    def score(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `d log p(z; theta) / d theta = z - E z`.

        Args:
            theta: (*batch, num_edges).
            z: (*samples, *batch, num_edges), decisions.

        Returns:
            The shape of z, without a graph.
        """
        with torch.no_grad():
            return z - self.marginals(theta)

    def log_prob(self, theta: Tensor, z: Tensor) -> Tensor:
        """Return `log p(z; theta) = <z, theta> - log_partition(theta)`.

        Args:
            theta: (*batch, num_edges).
            z: (*samples, *batch, num_edges), trees; that they are is not checked.

        Returns:
            (*samples, *batch), differentiable in theta.
        """
        # In half precision the difference of the two would be lost.
        wide = at_least_float32(theta)
        return ((z * wide).sum(-1) - self.log_partition(wide)).to(theta.dtype)

    def marginals(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `P(edge in the tree)` under `p(z) ∝ exp(<z, theta> / temperature)`.

        It is `temperature` times the gradient of `log_partition`.

        Args:
            theta: (*batch, num_edges).
            temperature: positive; 0 is the limit `map`.

        Returns:
            (*batch, num_edges), summing to n - 1, differentiable in theta.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        scaled = at_least_float32(theta) / temperature
        steps = _eliminated(scaled[..., self._edge_index(theta.device)])
        means = torch.zeros_like(scaled[..., :1, None])
        for weights in reversed(steps):
            means = _marginals_with_node(means, weights)
        tails, heads = torch.triu_indices(self.n, self.n, 1, device=theta.device)
        return means[..., tails, heads].to(theta.dtype)

    def log_partition(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `log of the sum over trees z of exp(<z, theta> / temperature)`.

        Args:
            theta: (*batch, num_edges).
            temperature: positive.

        Returns:
            (*batch,), differentiable in theta any number of times.
        """
        self._check(theta)
        check_positive(temperature, "temperature")
        scaled = at_least_float32(theta) / temperature
        steps = _eliminated(scaled[..., self._edge_index(theta.device)])
        totals = [weights[..., -1, :-1].logsumexp(-1) for weights in steps]
        return torch.stack(totals).sum(0).to(theta.dtype)

    def covariance(self, theta: Tensor, temperature: float = 1.0) -> Tensor:
        """Return `Cov z`, (*batch, num_edges, num_edges): as `KSubset.covariance`."""
        self._check(theta)
        return covariance_of(self.marginals, theta, self.event_dim, temperature)

    def support(
        self,
        event_shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return all `n^(n - 2)` trees, in the order of their Prüfer codes.

        Args:
            event_shape: (num_edges,).
            dtype: of the result; None is torch's default.
            device: of the result; None is torch's default.

        Returns:
            (M, num_edges).

        Raises:
            InvalidInputError: another shape, or too many trees to list.
        """
        check_event_shape(event_shape, 1, self)
        self._check_size(event_shape[0])
        length = self.n - 2
        check_support_size(self.n**length, self.num_edges, self)
        powers = self.n ** torch.arange(length - 1, -1, -1, device=device)
        codes = (torch.arange(self.n**length, device=device)[:, None] // powers) % self.n
        return self._decoded(codes).to(dtype or torch.get_default_dtype())

    def _decoded(self, codes: Tensor) -> Tensor:
        """Return the trees of Prüfer codes (M, n - 2)."""
        index = self._edge_index(codes.device)
        degrees = 1 + torch.nn.functional.one_hot(codes, self.n).sum(1)
        edges: list[Tensor] = []
        for step in range(codes.shape[1]):
            neighbour = codes[:, step : step + 1]
            leaf = (degrees == 1).long().argmax(1, keepdim=True)
            edges.append(index[leaf, neighbour])
            degrees = degrees.scatter_add(
                1, torch.cat([leaf, neighbour], 1), -torch.ones_like(degrees[:, :2])
            )
        first = (degrees == 1).long().argmax(1, keepdim=True)
        last = (degrees.scatter(1, first, 0) == 1).long().argmax(1, keepdim=True)
        edges.append(index[first, last])
        trees = torch.zeros(len(codes), self.num_edges, dtype=torch.long, device=codes.device)
        return trees.scatter_(1, torch.cat(edges, 1), 1)

    def _edge_index(self, device: torch.device) -> Tensor:
        """Return the matrix (n, n) of edge numbers; what stands on its diagonal is never used."""
        tails, heads = torch.triu_indices(self.n, self.n, 1, device=device)
        index = torch.zeros(self.n, self.n, dtype=torch.long, device=device)
        index[tails, heads] = index[heads, tails] = torch.arange(self.num_edges, device=device)
        return index

    def _check(self, theta: Tensor) -> None:
        check_costs(theta, self.event_dim, None, "theta")
        self._check_size(theta.shape[-1])

    def _check_size(self, num_edges: int) -> None:
        if num_edges != self.num_edges:
            raise InvalidInputError(
                f"{self!r} has {self.num_edges} edges, not {num_edges}: the last dimension of `theta` is the "
                "edges (0, 1), (0, 2), ... of the complete graph."
            )


def _eliminated(weights: Tensor) -> list[Tensor]:
    """Return the log weights on n, n - 1, ..., 2 nodes, (*batch, v + 1, v + 1) each: the last node goes next.

    What stands on the diagonals is finite, and nothing.
    """
    steps = [weights]
    for _ in range(weights.shape[-1] - 2):
        inner = steps[-1][..., :-1, :-1]
        # logaddexp(a, b) = a - logsigmoid(a - b), whose second derivative stays finite.
        steps.append(inner - logsigmoid(inner - _through(steps[-1])))
    return steps


def _through(weights: Tensor) -> Tensor:
    """Return `log(w_vi w_vj / d_v)` for the last node v: (*batch, v, v)."""
    row = weights[..., -1, :-1]
    return row[..., :, None] + row[..., None, :] - row.logsumexp(-1)[..., None, None]


def _with_node(tree: Tensor, weights: Tensor, uniform: Tensor, gumbel: Tensor) -> Tensor:
    """Add node v to random trees without it.

    Args:
        tree: adjacency (S, *batch, v, v) of trees under the weights without v; true on the diagonal.
        weights: log weights with v, (*batch, v + 1, v + 1).
        uniform: (S, *batch, v, v), symmetric.
        gumbel: (S, *batch, v).

    Returns:
        (S, *batch, v + 1, v + 1).
    """
    original = torch.sigmoid(weights[..., :-1, :-1] - _through(weights))
    kept = tree & (uniform < original)
    kept = kept | torch.eye(kept.shape[-1], dtype=torch.bool, device=kept.device)
    together = _connected(kept)
    # One edge to each part: the largest of log weight plus Gumbel noise in it.
    scores = weights[..., -1, :-1] + gumbel
    best = torch.where(together, scores[..., None, :], -torch.inf).argmax(-1)
    joined = best == torch.arange(best.shape[-1], device=best.device)
    above = torch.cat([kept, joined[..., None]], -1)
    below = torch.cat([joined, torch.ones_like(joined[..., :1])], -1)
    return torch.cat([above, below[..., None, :]], -2)


def _connected(adjacency: Tensor) -> Tensor:
    """Return which nodes are joined by a path, for adjacency (*, v, v) that is true on the diagonal."""
    reach, length = adjacency, 1
    while length < adjacency.shape[-1] - 1:
        steps = reach.to(torch.float32)
        reach = steps @ steps > 0.5
        length *= 2
    return reach


def _marginals_with_node(means: Tensor, weights: Tensor) -> Tensor:
    """Return `P(edge in the tree)` with node v, from those without: (*batch, v + 1, v + 1).

    In expectation over the trees without v: `P(v, i) = q_i (1 - pairs) + sum_j P(i, j goes through v)`, with
    q the shares of v's edges and `pairs` the expected number of edges that go through v.
    """
    through = _through(weights)
    via = means * torch.sigmoid(through - weights[..., :-1, :-1])
    pairs = via.sum((-2, -1), keepdim=True)[..., 0] / 2
    row = weights[..., -1, :-1].softmax(-1) * (1 - pairs) + via.sum(-1)
    above = torch.cat([means - via, row[..., None]], -1)
    below = torch.cat([row, torch.zeros_like(row[..., :1])], -1)
    return torch.cat([above, below[..., None, :]], -2)
