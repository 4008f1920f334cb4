"""Products in full precision: against the plain one, forward and backward, under autocast and without."""

from __future__ import annotations

import pytest
import torch

from imle_opt._full_precision import product
from opaque import normal

_EPSILON = torch.finfo(torch.float64).eps


@pytest.mark.parametrize("batch", [(), (3,), (3, 2), (0,)])
def test_it_can_be_differentiated_twice(batch):
    left, right = normal(*batch, 4).requires_grad_(), normal(4, 5, seed=1)
    assert torch.equal(product(left, right), left @ right)
    assert torch.autograd.gradcheck(lambda rows: product(rows, right), left)
    assert torch.autograd.gradgradcheck(lambda rows: product(rows, right).square(), left)


def test_function_transforms_see_through_it():
    left, right = normal(3, 4), normal(4, 5, seed=1)
    slope = torch.func.grad(lambda rows: product(rows, right).square().sum())
    assert torch.allclose(slope(left), 2 * left @ right @ right.T, rtol=0, atol=20 * _EPSILON)
    assert torch.allclose(torch.func.vmap(slope)(left), slope(left), rtol=0, atol=20 * _EPSILON)


def test_neither_pass_nor_a_second_derivative_loses_digits_under_autocast():
    right = normal(4, 5, seed=1).float()

    def passes():
        left = normal(3, 4).float().requires_grad_()
        value = product(left, right)
        (first,) = torch.autograd.grad(value.square().sum(), left, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), left)
        return value, first, second

    exact = passes()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = passes()
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
