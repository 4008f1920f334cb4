"""A batch of points, each a convex combination of a few decisions: what an active-set method maintains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

__all__ = ["ConvexCombination"]

_SAME = 1e-9
"""Vertices closer than this in every entry are one."""


@final
@dataclass(frozen=True)
class ConvexCombination:
    """Points `mu = sum over i of w_i a_i` of R rows; slots that are not in use have weight 0.

    Args:
        vertices: a, (R, K, m) float64.
        fixed: F(a), what fixed costs of the model add to each vertex, (R, K).
        weights: w, (R, K), a distribution over the slots in use.
        used: (R, K) boolean. A vertex may be in use at weight 0, when it has just come in.
    """

    vertices: Tensor
    fixed: Tensor
    weights: Tensor
    used: Tensor

    @staticmethod
    def of_one(vertices: Tensor, fixed: Tensor) -> ConvexCombination:
        """Return the combinations of one vertex (R, m) each."""
        ones = fixed.new_ones(len(vertices), 1)
        return ConvexCombination(vertices[:, None], fixed[:, None], ones, ones.bool())

    @property
    def points(self) -> Tensor:
        """The points mu, (R, m)."""
        return (self.weights[:, None] @ self.vertices).squeeze(1)

    @property
    def fixed_part(self) -> Tensor:
        """The mean of F under the weights, (R,)."""
        return (self.weights * self.fixed).sum(-1)

    def values(self, slope: Tensor) -> Tensor:
        """Return `<slope, a> + F(a)` of every slot, (R, K), for slopes (R, m)."""
        return (self.vertices @ slope[..., None]).squeeze(-1) + self.fixed

    def take(self, rows: Tensor) -> ConvexCombination:
        """Return some rows, by indices or by a mask."""
        return ConvexCombination(self.vertices[rows], self.fixed[rows], self.weights[rows], self.used[rows])

    def put(self, rows: Tensor, part: ConvexCombination) -> ConvexCombination:
        """Return the combinations with other weights in some rows; the vertices are the same."""
        weights, used = self.weights.clone(), self.used.clone()
        weights[rows], used[rows] = part.weights, part.used
        return self.with_weights(weights, used)

    def find(self, rows: Tensor, vertices: Tensor) -> Tensor:
        """Return which slots of the given rows (r,) hold their vertex (r, m): a boolean (r, K)."""
        return self.used[rows] & ((self.vertices[rows] - vertices[:, None]).abs() <= _SAME).all(-1)

    def with_vertices(self, rows: Tensor, vertices: Tensor, fixed: Tensor) -> ConvexCombination:
        """Return the combinations with one more vertex in the given rows, at weight 0.

        Args:
            rows: indices (r,).
            vertices: (r, m), not yet in use there.
            fixed: (r,).
        """
        wide = self if not self.used[rows].all(-1).any() else self._widened()
        slots = (~wide.used[rows]).int().argmax(-1)
        new_vertices, new_fixed = wide.vertices.clone(), wide.fixed.clone()
        weights, used = wide.weights.clone(), wide.used.clone()
        new_vertices[rows, slots], new_fixed[rows, slots] = vertices, fixed
        weights[rows, slots], used[rows, slots] = 0.0, True
        return ConvexCombination(new_vertices, new_fixed, weights, used)

    def with_weights(self, weights: Tensor, used: Tensor) -> ConvexCombination:
        """Return the combinations of the same vertices with other weights."""
        return ConvexCombination(self.vertices, self.fixed, weights, used)

    def along_face(self, vectors: Tensor, curvature: Tensor) -> Tensor:
        """Return how the maximiser of `<theta, mu> - Omega(mu)` moves with theta, applied to vectors.

            d mu = D^T (D H D^T)^+ D d theta,   D the differences of the vertices in use, H the curvature

        The map is symmetric: it is the rule of the backward pass, too. With H the identity it is the
        orthogonal projection on the directions of the face.

        Args:
            vectors: (R, m).
            curvature: the diagonal of H at the points, positive, (R, m).

        Returns:
            (R, m).
        """
        _, differences, _ = self.differences(self.used & (self.weights > 0))
        gram = (differences * curvature[:, None]) @ differences.mT
        inverse: Tensor = torch.linalg.pinv(gram, hermitian=True)
        return (differences.mT @ inverse @ (differences @ vectors[..., None])).squeeze(-1)

    def differences(self, support: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the vertices of a support less its first one: what is common to all of them cancels exactly.

        Args:
            support: (R, K) boolean, some slot in each row.

        Returns:
            The index of the first vertex, (R, 1); the differences, (R, K, m), 0 outside the support; and
            which slots are in the support and not the first, (R, K).
        """
        first = support.int().argmax(-1, keepdim=True)
        others = support.scatter(1, first, False)
        base = self.vertices.gather(1, first[..., None].expand(-1, 1, self.vertices.shape[-1]))
        return first, (self.vertices - base) * others[..., None], others

    def _widened(self) -> ConvexCombination:
        return ConvexCombination(
            torch.cat([self.vertices, torch.zeros_like(self.vertices[:, :1])], 1),
            torch.cat([self.fixed, torch.zeros_like(self.fixed[:, :1])], 1),
            torch.cat([self.weights, torch.zeros_like(self.weights[:, :1])], 1),
            torch.cat([self.used, torch.zeros_like(self.used[:, :1])], 1),
        )
