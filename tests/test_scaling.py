"""How work grows: no loop over samples, batch or classes, and memory in proportion to samples and batch.

Counted, not timed: the operations of a step, and the entries of the tensors that it makes.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cases_estimators import FAMILIES, Mean, Surrogate, smooth, theta_of
from imle_opt.estimators import AR, ARM, ARS, ARSM, DisARM, Rebar, Reinforce, Relax, pathwise
from imle_opt.expectations import expectation
from imle_opt.families import Bernoulli, Categorical, KSubset, SpanningTree, as_family
from imle_opt.layers import (
    IMLE,
    L2X,
    BlackBox,
    GumbelRao,
    GumbelSoftmax,
    Identity,
    Perturbed,
    ReinMax,
    SoftSub,
    StochasticSoftmaxTrick,
    StraightThrough,
)
from imle_opt.noise import Gumbel, Normal, SumOfGamma
from imle_opt.targets import PID
from opaque import generator, opaque

ESTIMATORS = {
    "Reinforce": (lambda s, event: Reinforce(s), tuple(FAMILIES)),
    "Reinforce none": (lambda s, event: Reinforce(s, "none"), tuple(FAMILIES)),
    "Reinforce network": (lambda s, event: Reinforce(s, Mean(event)), ("3-bits",)),
    "Rebar": (lambda s, event: Rebar(s), ("3-bits", "4-classes", "2x3-classes")),
    "Relax": (lambda s, event: Relax(Surrogate(event), s), ("3-bits", "4-classes", "2x3-classes")),
    "AR": (lambda s, event: AR(s), ("3-bits", "4-classes", "2x3-classes")),
    "ARM": (lambda s, event: ARM(s), ("3-bits",)),
    "DisARM": (lambda s, event: DisARM(s), ("3-bits",)),
    "ARS": (lambda s, event: ARS(s), ("4-classes", "2x3-classes")),
    "ARSM": (lambda s, event: ARSM(s), ("4-classes", "2x3-classes")),
}
# SparseMAP and RegularizedFrankWolfe take as many rounds as their slowest row needs.
LAYERS = {
    "IMLE": (lambda s, family: IMLE(family, noise=Gumbel(), target=PID(1.0), num_samples=s), "all"),
    "IMLE central": (
        lambda s, family: IMLE(
            family, noise=SumOfGamma(2.0), target=PID(1.0), difference="central", num_samples=s
        ),
        "all",
    ),
    "AIMLE": (lambda s, family: IMLE(family, noise=Gumbel(), num_samples=s), "all"),
    "BlackBox": (lambda s, family: BlackBox(family, 1.0), "all"),
    "Identity": (lambda s, family: Identity(family, noise=Gumbel(), num_samples=s), "all"),
    "StraightThrough": (lambda s, family: StraightThrough(family, noise=Gumbel(), num_samples=s), "all"),
    "Perturbed": (lambda s, family: Perturbed(family, noise=Normal(1.0), num_samples=s), "all"),
    "StochasticSoftmaxTrick": (
        lambda s, family: StochasticSoftmaxTrick(family, num_samples=s),
        ("3-bits", "4-classes", "2x3-classes", "2-of-4", "tree-4"),
    ),
    "GumbelSoftmax": (lambda s, family: GumbelSoftmax(family, num_samples=s), ("3-bits", "2x3-classes")),
    "GumbelRao": (lambda s, family: GumbelRao(family, num_samples=s), ("3-bits", "2x3-classes")),
    "ReinMax": (lambda s, family: ReinMax(family, num_samples=s), ("4-classes", "2x3-classes")),
    "SoftSub": (lambda s, family: SoftSub(family, num_samples=s), ("2-of-4",)),
    "L2X": (lambda s, family: L2X(family, num_samples=s), ("2-of-4",)),
}
SPACES = {**FAMILIES, "solver": (as_family(opaque("max")), (5,))}
ROWS = [(name, space) for name, (_, spaces) in ESTIMATORS.items() for space in spaces]
ROWS += [
    (name, space) for name, (_, spaces) in LAYERS.items() for space in (SPACES if spaces == "all" else spaces)
]
every_row = pytest.mark.parametrize(("name", "space"), ROWS)


class Work(TorchDispatchMode):
    """Counts operations and the entries of their results."""

    def __init__(self):
        super().__init__()
        self.operations, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.operations += 1
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return result


def made(name, space, samples):
    family, event = SPACES[space]
    if name in ESTIMATORS:
        return ESTIMATORS[name][0](samples, event), family
    return pathwise(LAYERS[name][0](samples, family)), family


def step(estimator, family, theta):
    """Return what a forward and backward pass takes."""
    f = smooth(theta.shape[theta.ndim - family.event_dim :])
    theta = theta.clone().requires_grad_()
    with Work() as work:
        expectation(f, theta, family, estimator, generator=generator()).sum().backward()
    return work


def work_of(name, space, samples, rows):
    estimator, family = made(name, space, samples)
    return step(estimator, family, theta_of(SPACES[space][1], rows))


def test_a_loop_and_a_square_would_be_seen():
    def looped(n):
        with Work() as work:
            parts = [torch.ones(3) * i for i in range(n)]
            torch.cat(parts)[:, None] * torch.cat(parts)
        return work

    assert looped(8).operations > looped(4).operations
    assert looped(8).largest == 4 * looped(4).largest


@every_row
def test_the_number_of_operations_depends_on_neither_samples_nor_rows(name, space):
    work_of(name, space, 3, 4)  # SumOfGamma's table is made by the first draw
    counts = {work_of(name, space, samples, rows).operations for samples, rows in ((3, 4), (3, 40), (12, 4))}
    assert len(counts) == 1


@every_row
def test_memory_is_linear_in_samples_and_rows(name, space):
    """Twice the samples or rows need tensors that are at most twice as large."""
    once = work_of(name, space, 16, 64).largest
    assert work_of(name, space, 32, 64).largest <= 2.05 * once
    assert work_of(name, space, 16, 128).largest <= 2.05 * once


@pytest.mark.parametrize("name", ["Reinforce", "Rebar", "ARM", "DisARM", "AR", "IMLE", "StraightThrough"])
def test_memory_is_linear_in_entries(name):
    """A step on 40 bits makes no tensor of more than three decisions per sample: REBAR's, stacked for f."""
    samples, rows, bits = 8, 64, 40
    make = ESTIMATORS[name][0](samples, (bits,)) if name in ESTIMATORS else None
    estimator = make or pathwise(LAYERS[name][0](samples, Bernoulli()))
    work = step(estimator, Bernoulli(), theta_of((bits,), rows))
    assert work.largest <= 3 * samples * rows * bits


@pytest.mark.parametrize("name", ["Reinforce", "Rebar", "AR", "ARS", "ARSM"])
def test_no_loop_over_classes(name):
    counts = {
        step(ESTIMATORS[name][0](2, (classes,)), Categorical(), theta_of((classes,), 5)).operations
        for classes in (4, 9, 30)
    }
    assert len(counts) == 1


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("SoftSub", "L2X")])
def test_no_loop_over_classes_in_layers(name):
    counts = {
        step(pathwise(LAYERS[name][0](2, Categorical())), Categorical(), theta_of((classes,), 5)).operations
        for classes in (4, 9, 30)
    }
    assert len(counts) == 1


def test_families_take_steps_over_entries_not_over_rows():
    """Sequential samplers: one step per entry or node, whatever the number of rows."""
    for family, small, large in (
        (KSubset(2), (6,), (12,)),
        (SpanningTree(5), (10,), None),
    ):
        sample = pathwise(StraightThrough(family, exact=True))
        counts = [step(sample, family, theta_of(small, rows)).operations for rows in (3, 300)]
        assert counts[0] == counts[1]
        if large:
            assert step(sample, family, theta_of(large, 3)).operations < 2.2 * counts[0]
