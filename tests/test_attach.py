from __future__ import annotations

import pytest
import torch

from imle_opt._attach import attach
from imle_opt_solvers.errors import InvalidInputError
from opaque import normal


def test_the_value_is_the_same_and_the_gradient_is_the_rules():
    theta = normal(3, 2).requires_grad_()
    value = normal(4, seed=1)
    attached = attach(value, theta, lambda grad: grad.sum() * torch.ones(3, 2, dtype=torch.float64))
    assert torch.equal(attached, value)
    attached.backward(torch.tensor([1.0, 2.0, 3.0, -1.0], dtype=torch.float64))
    assert torch.equal(theta.grad, torch.full((3, 2), 5.0, dtype=torch.float64))


def test_a_true_rule_passes_gradcheck():
    matrix = normal(4, 3, seed=2)

    def function(theta):
        hidden = theta.detach()
        return attach(matrix @ hidden.sin(), theta, lambda grad: (matrix.T @ grad) * hidden.cos())

    assert torch.autograd.gradcheck(function, normal(3).requires_grad_())


def test_the_gradient_flows_into_the_values_own_graph_too():
    theta, weight = normal(2).requires_grad_(), normal(2, seed=1).requires_grad_()
    attach(weight**2, theta, lambda grad: 7 * grad).sum().backward()
    assert torch.allclose(weight.grad, 2 * weight)
    assert torch.equal(theta.grad, torch.full((2,), 7.0, dtype=torch.float64))


def test_the_rule_runs_only_where_theta_needs_a_gradient_and_without_a_graph():
    calls = []

    def rule(grad):
        calls.append(torch.is_grad_enabled())
        return grad

    weight = normal(2).requires_grad_()
    attach(weight, normal(2), rule).sum().backward()
    assert not attach(normal(2), normal(2), rule).requires_grad
    assert calls == []
    attach(normal(2), weight, rule).sum().backward()
    assert calls == [False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_of_value_and_theta_are_kept(dtype):
    theta = torch.ones(3, dtype=dtype, requires_grad=True)
    value = torch.ones(3, dtype=torch.float32)
    attached = attach(value, theta, lambda grad: grad.to(dtype))
    assert attached.dtype == torch.float32
    attached.sum().backward()
    assert theta.grad.dtype == dtype


def test_writing_into_the_result_leaves_the_value_alone():
    value, theta = torch.zeros(3), torch.zeros(3, requires_grad=True)
    attached = attach(value, theta, lambda grad: grad * (1 + value))
    attached += 1.0
    attached.sum().backward()
    assert torch.equal(value, torch.zeros(3))
    assert torch.equal(theta.grad, torch.ones(3))


def test_a_rule_of_the_wrong_shape_is_refused():
    theta = torch.zeros(3, 2, requires_grad=True)
    attached = attach(torch.zeros(2), theta, lambda grad: grad)
    with pytest.raises(InvalidInputError, match=r"`theta`, \(3, 2\); it returned \(2,\)"):
        attached.sum().backward()


def test_it_can_be_differentiated_once():
    theta = normal(2).requires_grad_()
    attached = attach(theta.detach(), theta, lambda grad: grad)
    (first,) = torch.autograd.grad((attached**2).sum(), theta, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
