"""CaVE: cones against optimality, projections against their optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import linear_models as models
from imle_opt.losses import CaVE
from imle_opt_solvers.cache import CachedSolver
from imle_opt_solvers.engines.highs import HighsSolver
from imle_opt_solvers.errors import InvalidInputError, UnsupportedModelError
from imle_opt_solvers.optimality_cone import OptimalityCones
from imle_opt_solvers.pool import SolverPool
from imle_opt_solvers.structured_solver import linear_solver
from opaque import SENSES, gradient, normal, opaque, sign_of

senses = pytest.mark.parametrize("sense", SENSES)


def triangle(sense="max"):
    """x + 2y <= 4, x >= 0, y >= 0, x <= 3: vertices (0, 0), (3, 0), (3, 0.5), (0, 2)."""
    return models.linear_model(sense, [[1, 2]], -np.inf, 4, 0, [3, np.inf], False, predicted=range(2))


def box_and_rows(sense):
    """A bounded region with an inequality of each side and an equality, in four variables."""
    matrix = [[1, 2, 1, 0], [3, -1, 0, 1], [1, 1, 1, 1]]
    return models.linear_model(
        sense,
        matrix,
        [-2, -np.inf, 4],
        [6, 5, 4],
        [-1, 0, 0, -3],
        [4, 5, 3, 8],
        False,
        predicted=[2, 0, 3, 1],
    )


def test_the_cone_of_a_corner_is_spanned_by_its_two_normals():
    y = torch.tensor([[3.0, 0.5]], dtype=torch.float64)  # x <= 3 and x + 2y <= 4 bind
    loss = CaVE(HighsSolver(triangle()))
    inside = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    assert loss(inside, y).item() == pytest.approx(0, abs=1e-15)
    # Beyond (1, 2): the nearest ray is that one.
    beyond = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    assert loss(beyond, y).item() == pytest.approx(1 - 2 / np.sqrt(5))
    # Beyond (1, 0): likewise. Opposite: nothing of the cone is near.
    assert loss(torch.tensor([[1.0, -1.0]]).double(), y).item() == pytest.approx(1 - 1 / np.sqrt(2))
    away = torch.tensor([[-1.0, -2.5]], dtype=torch.float64, requires_grad=True)
    value = loss(away, y)
    assert value.item() == 1
    value.sum().backward()
    assert torch.equal(away.grad, torch.zeros(1, 2, dtype=torch.float64))
    assert loss(torch.zeros(1, 2, dtype=torch.float64), y).item() == 1


@senses
def test_the_loss_is_zero_exactly_where_the_decision_is_optimal(sense):
    solver = HighsSolver(box_and_rows(sense))
    loss, costs = CaVE(solver), normal(40, 4)
    decisions = torch.as_tensor(solver.solve(costs.numpy()).decisions)
    assert loss(costs, decisions).max() < 1e-12
    others = decisions.roll(1, 0)
    differs = (others - decisions).abs().amax(-1) > 1e-6
    assert differs.sum() > 20
    assert loss(costs, others)[differs].min() > 1e-6


@senses
def test_projections_meet_their_optimality_conditions(sense):
    model = box_and_rows(sense)
    solver = HighsSolver(model)
    decisions = solver.solve(normal(30, 4, seed=1).numpy()).decisions
    theta = normal(30, 4).numpy()
    point = OptimalityCones(model).project(theta, decisions)
    # In the cone: y is optimal under it. The rest is orthogonal to it, and points away from the whole cone.
    best = solver.solve(sign_of(sense) * point).objectives * sign_of(sense)
    np.testing.assert_allclose((point * decisions).sum(1), best, atol=1e-9)
    rest = theta - point
    np.testing.assert_allclose((rest * point).sum(1), 0, atol=1e-10)
    cone = OptimalityCones(model).project(normal(30, 4, seed=2).numpy(), decisions)
    assert ((rest * cone).sum(1) <= 1e-10).all()
    assert np.abs(rest).max() > 0.1


@senses
def test_the_gradient_matches_finite_differences_and_scale_does_not_count(sense):
    solver = HighsSolver(box_and_rows(sense))
    y = torch.as_tensor(solver.solve(normal(12, 4, seed=1).numpy()).decisions)
    loss, costs, step = CaVE(solver), normal(12, 4), 1e-6
    found = gradient(lambda c: loss(c, y).sum(), costs)
    assert found.count_nonzero() > 12
    shifts = step * torch.eye(4, dtype=torch.float64)
    values = [torch.stack([loss(costs + s * shift, y) for shift in shifts], -1) for s in (1, -1)]
    torch.testing.assert_close(found, (values[0] - values[1]) / (2 * step), atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(loss(1e3 * costs, y), loss(costs, y))


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_squares_do_not_leave_single_precision(size):
    solver = HighsSolver(box_and_rows("min"))
    y = torch.as_tensor(solver.solve(normal(12, 4, seed=1).numpy()).decisions).float()
    loss, costs = CaVE(solver), normal(12, 4).float()
    torch.testing.assert_close(loss(size * costs, y), loss(costs, y))
    gradients = [gradient(lambda c: loss(c, y).sum(), scale * costs) for scale in (size, 1.0)]
    torch.testing.assert_close(size * gradients[0], gradients[1])


def test_any_batch_and_event_shape():
    solver = linear_solver(models.assignment(), None, "raise")
    costs = normal(2, 3, 3, 3)
    y = torch.as_tensor(solver.solve(normal(2, 3, 3, 3, seed=1).numpy()).decisions)
    loss = CaVE(solver)
    value = loss(costs, y)
    assert value.shape == (2, 3)
    torch.testing.assert_close(value[1, 2], loss(costs[1, 2], y[1, 2]))
    assert loss(costs[:0], y[:0]).shape == (0, 3)
    assert CaVE(CachedSolver(solver))(costs, y).equal(value)
    with SolverPool(solver, workers=2, backend="thread") as pool:
        assert CaVE(pool)(costs, y).equal(value)


def test_instances_move_the_sides_that_bind():
    loss = CaVE(HighsSolver(triangle()))
    costs = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert loss(costs, y).item() == 1  # nothing holds y back
    assert loss(costs, y, instances={"column_upper": {"x1": torch.tensor([1.0])}}).item() == pytest.approx(0)
    assert loss(costs, y, instances={"rhs": {"r0": torch.tensor([2.0])}}).item() < 1


def test_half_precision_gives_single_precision_values():
    y = torch.tensor([[3.0, 0.5]])
    costs = torch.tensor([[0.0, 3.0]], dtype=torch.float16, requires_grad=True)
    value = CaVE(HighsSolver(triangle()))(costs, y.half())
    assert value.dtype == torch.float32
    value.sum().backward()
    assert costs.grad.dtype == torch.float16


def test_what_it_cannot_use_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"CaVE needs a linear model.*FunctionSolver has none"):
        CaVE(opaque())
    with pytest.raises(UnsupportedModelError, match=r"2 of 8 variables carry no predicted cost .*'x0'"):
        CaVE(HighsSolver(models.facility_location()))
    loss, costs = CaVE(HighsSolver(triangle())), torch.ones(2, 2)
    with pytest.raises(
        InvalidInputError, match=r"feasible: in row 1 the constraint 'r0' is violated by 0\.4"
    ):
        loss(costs, torch.tensor([[0.0, 2.0], [2.0, 2.0]]))
    with pytest.raises(InvalidInputError, match="in row 0 the variable 'x1' is violated"):
        loss(costs, torch.tensor([[0.0, -2.0], [0.0, 2.0]]))
    with pytest.raises(InvalidInputError, match="`solutions` must have the shape"):
        loss(costs, torch.ones(1, 2))
