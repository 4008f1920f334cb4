"""Choices after two entries of the noise are swapped: what ARS and ARSM evaluate f at."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from imle_opt.estimators.estimator import Values, evaluate

__all__ = ["swapped_choices", "values_of_choices"]


def swapped_choices(theta: Tensor, noise: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return `argmin_c (log pi_c - theta_c)` after entries i and j of pi are swapped, for each pair.

    Of the unchanged entries only the smallest outside of i and j can win, and it is among the three smallest
    of all: O(1) per pair.

    Args:
        theta: (*batch, K, C).
        noise: log pi up to a constant, (S, *batch, K, C).
        i: (P,), the pairs; i = j swaps nothing.
        j: (P,).

    Returns:
        Classes, (S, *batch, K, P).
    """
    races = noise - theta
    smallest = races.topk(min(3, races.shape[-1]), dim=-1, largest=False)
    missing = 3 - smallest.values.shape[-1]
    values = pad(smallest.values, (0, missing), value=math.inf)
    classes = pad(smallest.indices, (0, missing), value=-1)
    outside = (classes[..., None] != i) & (classes[..., None] != j)
    # The first of the three that is outside; one of them is.
    place = outside.to(torch.uint8).argmax(-2)
    rest, rest_class = values.gather(-1, place), classes.gather(-1, place)
    at_i, at_j = noise[..., j] - theta[..., i], noise[..., i] - theta[..., j]
    moved = torch.where(at_i <= at_j, i, j)
    return torch.where(rest < torch.minimum(at_i, at_j), rest_class, moved)


def values_of_choices(
    f: Values, choices: Tensor, drawn: int, event: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return f at the joint choice that was drawn, and at all of them, at each different one once.

    f is called at the samples, with a graph for what f learns from them, and where some swap changes a choice
    once more without one, at what else the gradient by theta compares them with. In this order: under
    autocast the first call's copies of the parameters are kept, and without a graph they would learn nothing.

    Args:
        f: the function; (N, *batch, *event) to (N, *batch).
        choices: classes, (S, *batch, K, P): P joint choices per sample and row.
        drawn: which of the P is the sample itself, after no swap.
        event: the shape of one decision, of K C entries with the C classes last.
        dtype: of the decisions.

    Returns:
        At the samples, (S, *batch), with the graph of f; and at all choices, (P, S, *batch), without one.
    """
    rows, (number, pairs) = choices.shape[:-2], choices.shape[-2:]
    size = math.prod(rows)
    distinct, places = _distinct(choices.mT.reshape(size, pairs, number), drawn, event[-1])
    most = distinct.shape[1]
    decisions = one_hot(distinct.movedim(1, 0), event[-1]).to(dtype)
    decisions = decisions.reshape(most * rows[0], *rows[1:], *event)
    values = evaluate(f, decisions[: rows[0]], len(event))
    seen = [values.detach()]
    if most > 1:
        with torch.no_grad():
            seen.append(evaluate(f, decisions[rows[0] :], len(event)))
    by_row = torch.cat(seen).reshape(most, size).mT
    return values, by_row.gather(1, places).mT.reshape(pairs, *rows)


def _distinct(choices: Tensor, drawn: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return the different ones among each row's joint choices, and where each of the row's ended up.

    Args:
        choices: (R, P, K).
        drawn: which of the P comes first.
        classes: C.

    Returns:
        (R, U, K) with U the largest number of different ones in a row, others repeat one of their own row;
        and places (R, P) in 0..U-1.
    """
    num_rows, pairs, number = choices.shape
    row = torch.arange(num_rows, device=choices.device)
    moved = (choices != choices[:, drawn : drawn + 1]).any(-1)
    if (classes**number + 1) * num_rows < 2**62:
        powers = classes ** torch.arange(number, device=choices.device)
        codes = torch.where(moved, (choices * powers).sum(-1) + 1, 0) + row[:, None] * (classes**number + 1)
        _, inverse = torch.unique(codes, return_inverse=True)
    else:
        keyed = torch.cat(
            [row[:, None, None].expand(num_rows, pairs, 1), moved[..., None].to(choices), choices], -1
        )
        _, flat = torch.unique(keyed.flatten(0, 1), dim=0, return_inverse=True)
        inverse = flat.reshape(num_rows, pairs)
    # Codes are sorted by row first: a row's are consecutive.
    place = inverse - inverse.amin(1, keepdim=True)
    most = int(place.max()) + 1 if place.numel() else 1
    where = torch.arange(pairs, device=choices.device).expand(num_rows, pairs)
    chosen = torch.zeros(num_rows, most, dtype=torch.long, device=choices.device).scatter(1, place, where)
    return choices.gather(1, chosen[..., None].expand(-1, -1, number)), place
