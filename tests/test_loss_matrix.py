"""What every loss must withstand: batches, extremes, ties, autocast, zeros."""

from __future__ import annotations

import pytest
import torch

import imle_opt.losses
from cases_losses import CASES, FEASIBLE, SIZE, equal, run, solver, tensors_of

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def large(costs):
    """Return costs of size 50 to 100, of which no two sums are equal."""
    return 100 * costs.sign() * torch.linspace(0.25, 1, SIZE).sqrt()


def test_every_loss_is_here():
    made = {type(case.make(solver())).__name__ for case in CASES}
    assert made == set(imle_opt.losses.__all__) - {"SolvedTarget"}


@every
@pytest.mark.parametrize("batch", [(), (3, 2)])
def test_batches_and_no_gradient(case, batch):
    point, label = tensors_of(case, *batch)
    value, gradient = run(case, case.make(solver()), point, label)
    assert value.shape == batch
    assert gradient.shape == point.shape
    assert gradient.isfinite().all()
    if batch and not case.draws:
        assert gradient.count_nonzero() > 0
        row = {key: tensor[2, 1] for key, tensor in label.items()}
        alone = run(case, case.make(solver()), point[2, 1], row)
        torch.testing.assert_close((value[2, 1], gradient[2, 1]), alone)
    none = run(case, case.make(solver()), point, label, scale=0.0)[1]
    assert torch.equal(none, torch.zeros_like(point))


@every
def test_large_costs_in_single_precision(case):
    point, label = tensors_of(case, 20, dtype=torch.float32, stretch=large)
    value, gradient = run(case, case.make(solver()), point, label)
    assert value.dtype == gradient.dtype == torch.float32
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    if not case.draws:  # other numbers in double precision
        double = {key: tensor.double() for key, tensor in label.items()}
        exact = run(case, case.make(solver()), point.double(), double)
        for one, other in zip((value, gradient), exact, strict=True):
            # A sum of six products and a difference: a rounding each, of at most the largest entry.
            few_roundings = 8 * torch.finfo(torch.float32).eps * other.abs().max().item()
            torch.testing.assert_close(one.double(), other, rtol=0, atol=few_roundings)


@every
def test_ties(case):
    point, label = tensors_of(case, 6)
    if case.of == "costs":
        point = torch.zeros_like(point)
    flat = torch.zeros_like(point) if case.label == "costs" else FEASIBLE[:6]
    for tied in (label, {case.label: flat}):
        value, gradient = run(case, case.make(solver()), point, tied)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


@every
@pytest.mark.parametrize("passes", [("forward",), ("forward", "backward")], ids="-".join)
def test_autocast_changes_nothing(case, passes):
    point, label = tensors_of(case, 6, dtype=torch.float32)
    exact, found = (
        run(case, case.make(solver()), point, label, scale=1 / 3, autocast=under) for under in ((), passes)
    )
    assert equal(found, exact)
