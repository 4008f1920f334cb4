"""Families: the decisions that a method differentiates through, and what is known about them."""

from __future__ import annotations

from imle_opt.families.bernoulli import Bernoulli
from imle_opt.families.capabilities import applicable, require
from imle_opt.families.categorical import Categorical
from imle_opt.families.device_grid_path import DeviceGridPath
from imle_opt.families.device_ranking import DeviceRanking
from imle_opt.families.ksubset import KSubset
from imle_opt.families.polytope import Polytope, as_family, count_undecided
from imle_opt.families.protocols import (
    Enumerable,
    ExactSampler,
    FixedPart,
    MAPOracle,
    Marginals,
    Reparameterized,
    Sampler,
)
from imle_opt.families.solution_pool import SolutionPool
from imle_opt.families.spanning_tree import SpanningTree

__all__ = [
    "Bernoulli",
    "Categorical",
    "DeviceGridPath",
    "DeviceRanking",
    "Enumerable",
    "ExactSampler",
    "FixedPart",
    "KSubset",
    "MAPOracle",
    "Marginals",
    "Polytope",
    "Reparameterized",
    "Sampler",
    "SolutionPool",
    "SpanningTree",
    "applicable",
    "as_family",
    "count_undecided",
    "require",
]
