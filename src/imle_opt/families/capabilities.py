"""Which method works with which family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from imle_opt.families.bernoulli import Bernoulli
from imle_opt.families.categorical import Categorical
from imle_opt.families.ksubset import KSubset
from imle_opt.families.polytope import as_family
from imle_opt.families.protocols import (
    Enumerable,
    ExactSampler,
    MAPOracle,
    Marginals,
    Reparameterized,
    Sampler,
)
from imle_opt.families.solution_pool import SolutionPool
from imle_opt.families.spanning_tree import SpanningTree
from imle_opt_solvers.errors import MissingCapabilityError
from imle_opt_solvers.solver import Solver

__all__ = ["METHODS", "applicable", "require"]

CapabilityT = TypeVar("CapabilityT")

METHODS: Mapping[str, type | tuple[type, ...]] = {
    "IMLE": MAPOracle,
    "BlackBox": MAPOracle,
    "StraightThrough": MAPOracle,
    "Identity": MAPOracle,
    "Perturbed": MAPOracle,
    "SparseMAP": MAPOracle,
    "StochasticSoftmaxTrick": Marginals,
    "GumbelSoftmax": Reparameterized,
    "GumbelRao": Reparameterized,
    "ReinMax": Categorical,
    "SoftSub": KSubset,
    "L2X": KSubset,
    "RegularizedFrankWolfe": MAPOracle,
    "ExplicitMLE": MAPOracle,
    "FenchelYoung": MAPOracle,
    "SPOPlus": MAPOracle,
    "StructuredHinge": MAPOracle,
    "DirectionalGradient": MAPOracle,
    "NCE": SolutionPool,
    "CMAP": SolutionPool,
    "PointwiseRanking": SolutionPool,
    "PairwiseRanking": SolutionPool,
    "ListwiseRanking": SolutionPool,
    "pathwise": MAPOracle,
    "Reinforce": Sampler,
    "Rebar": Reparameterized,
    "Relax": Reparameterized,
    "ARM": Bernoulli,
    "DisARM": Bernoulli,
    "AR": (Bernoulli, Categorical),
    "ARS": Categorical,
    "ARSM": Categorical,
    "Enumerate": Enumerable,
}
"""Each method that takes a family, by its public name: what it asks of the family. One line per method."""

_CAPABILITIES: Mapping[type, str] = {
    MAPOracle: "a MAP oracle (`event_dim`, `sign`, `map`)",
    Sampler: "exact sampling (`sample`)",
    ExactSampler: "exact sampling (`sample`, `score`, `log_prob`)",
    Marginals: "exact marginals (`marginals`, `log_partition`)",
    Reparameterized: "reparameterised samples (`rsample`, `rsample_given`, `harden`, `relax`)",
    Enumerable: "enumeration (`support`)",
    Bernoulli: "independent zeros and ones",
    Categorical: "independent one-hot choices",
}

_SHIPPED: tuple[object, ...] = (KSubset(1), Categorical(), Bernoulli(), SpanningTree(2))


def applicable(family: Solver | MAPOracle) -> tuple[str, ...]:
    """Return the names of the methods that work with a family: layers, losses and estimators.

    Args:
        family: a solver or a family.

    Returns:
        Public names, in the order of the table `METHODS`.

    Raises:
        InvalidInputError: neither a solver nor a family.
    """
    resolved = as_family(family)
    return tuple(name for name, needed in METHODS.items() if isinstance(resolved, needed))


def require(family: object, capability: type[CapabilityT], method: str) -> CapabilityT:
    """Return `family` as what a method needs, or say what would work instead.

    Args:
        family: the family that the user gave.
        capability: a protocol, or a family that the method is made for.
        method: name of the method that asks, for the message.

    Raises:
        MissingCapabilityError: the family lacks the capability.
    """
    if isinstance(family, capability):
        return family
    needs = _CAPABILITIES.get(capability, f"`{capability.__name__}`")
    names = [type(shipped).__name__ for shipped in _SHIPPED if isinstance(shipped, capability)]
    families = ", ".join(names) or "none that ships"
    message = f"`{method}` needs {needs}, which {family!r} does not have. Families that have it: {families}."
    if isinstance(family, MAPOracle):
        message += f" What works with this one: {', '.join(applicable(family))}."
    raise MissingCapabilityError(message)
