from __future__ import annotations

import numpy as np
import pytest
import torch

from imle_opt._bridge import flat_instances, map_decisions, take_rows, to_array, to_tensor
from imle_opt.families import Polytope
from imle_opt_solvers.errors import InvalidInputError
from opaque import DECISIONS, SENSES, Recorder, best, normal, opaque

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("sense", SENSES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_theta_is_maximised_in_any_batch_shape_whatever_the_sense(sense, batch):
    theta = normal(*batch, 5)
    decisions = map_decisions(opaque(sense), theta, deterministic=True)
    assert decisions.shape == theta.shape
    assert torch.equal(decisions, best(theta))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_comes_back_and_there_is_no_graph(dtype):
    theta = normal(4, 5).to(dtype).requires_grad_()
    decisions = map_decisions(opaque(), theta, deterministic=True)
    assert (decisions.dtype, decisions.requires_grad) == (dtype, False)
    assert torch.equal(decisions.double(), best(theta.detach().double()))


def test_solvers_see_float64_in_c_order():
    solver = Recorder("max")
    theta = normal(5, 4).T.to(torch.bfloat16)
    map_decisions(solver, theta, deterministic=False)
    (costs, _, deterministic) = solver.calls[0]
    assert costs.dtype == np.float64
    assert costs.flags.c_contiguous
    assert np.array_equal(costs, theta.double().numpy())
    assert deterministic is False


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sense", ["min", "max"])
def test_theta_is_left_as_it_is_however_it_lies_in_memory(dtype, sense):
    for theta in (normal(4, 5), normal(5, 4).T, normal(4, 10)[:, ::2], normal(5).expand(4, 5)):
        given = theta.to(dtype)
        before = given.clone()
        decisions = map_decisions(opaque(sense=sense), given, deterministic=True)
        assert torch.equal(given, before)
        assert torch.equal(decisions.double(), best(given.double()))
        assert to_array(given).flags.c_contiguous


def test_arrays_and_tensors_do_not_share_memory_on_the_way_back():
    array = np.zeros((2, 3))
    tensor = to_tensor(array, like=torch.empty(1, dtype=torch.float64))
    array += 1
    assert torch.equal(tensor, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("array", [np.arange(6.0)[::-2], np.broadcast_to(np.ones(3), (2, 3))])
def test_arrays_that_torch_would_not_take_come_through(array):
    assert np.array_equal(to_tensor(array, like=torch.empty(1)).numpy(), array)


def test_a_float64_tensor_is_not_copied_on_the_way_there():
    tensor = normal(2, 3)
    assert np.shares_memory(to_array(tensor), tensor.numpy())


def test_bad_theta_is_refused_by_name():
    theta = normal(2, 5)
    theta[1, 3] = torch.nan
    with pytest.raises(InvalidInputError, match=r"`theta` must be finite.*row 1, entry 3"):
        Polytope(opaque()).map(theta)
    with pytest.raises(InvalidInputError, match=r"`theta` must have shape \(\*batch, 5\)"):
        Polytope(opaque()).map(normal(2, 4))


def test_instances_may_be_tensors_in_any_nesting():
    allowed = torch.zeros(2, 3, 7, dtype=torch.bool)
    allowed[..., 4] = True
    solver = Recorder()
    decisions = map_decisions(solver, normal(2, 3, 5), instances={"allowed": allowed}, deterministic=True)
    assert torch.equal(decisions, torch.as_tensor(DECISIONS[4]).expand(2, 3, 5))

    nested = {"bounds": {"capacity": torch.arange(6.0).reshape(2, 3)}, "nodes": [["a", "b", "c"]] * 2}
    flat = flat_instances(nested, (2, 3))
    assert np.array_equal(flat["bounds"]["capacity"], np.arange(6.0))
    assert flat["bounds"]["capacity"].dtype == np.float64
    assert list(flat["nodes"]) == ["a", "b", "c"] * 2
    taken = take_rows(flat, torch.tensor([4, 4, 0]))
    assert np.array_equal(taken["bounds"]["capacity"], [4.0, 4.0, 0.0])
    assert list(taken["nodes"]) == ["b", "b", "a"]


def test_node_labels_that_are_tuples_stay_so():
    flat = flat_instances({"source": [(0, 1), (2, 3)]}, (2,))
    assert list(flat["source"]) == [(0, 1), (2, 3)]


def test_instances_of_another_batch_are_refused():
    with pytest.raises(InvalidInputError, match=r"`instances\['capacity'\]` has shape \(3,\)"):
        flat_instances({"capacity": torch.zeros(3)}, (2,))
    with pytest.raises(InvalidInputError, match=r"`instances\['rhs'\]\['capacity'\]` has shape \(3,\)"):
        flat_instances({"rhs": {"capacity": torch.zeros(3)}}, (2,))
    assert flat_instances(None, (2,)) is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
def test_decisions_come_back_on_the_device_of_theta(dtype):
    theta = normal(64, 5).to(dtype)
    allowed = torch.ones(64, 7, dtype=torch.bool, device="cuda")
    decisions = map_decisions(Recorder(), theta.cuda(), instances={"allowed": allowed}, deterministic=True)
    assert decisions.device.type == "cuda"
    assert decisions.dtype == dtype
    assert torch.equal(decisions.cpu().double(), best(theta.double()))
