"""Estimators of `E f(z)` and its gradient, for `expectation`; one file per method."""

from __future__ import annotations

from imle_opt.estimators.arm import ARM
from imle_opt.estimators.ars import ARS
from imle_opt.estimators.arsm import ARSM
from imle_opt.estimators.augment import AR
from imle_opt.estimators.baselines import MovingAverage
from imle_opt.estimators.disarm import DisARM
from imle_opt.estimators.enumeration import Enumerate
from imle_opt.estimators.estimator import Estimate, Estimator, Values
from imle_opt.estimators.pathwise import Pathwise, pathwise
from imle_opt.estimators.rebar import Rebar
from imle_opt.estimators.reinforce import Reinforce
from imle_opt.estimators.relax import Relax

__all__ = [
    "AR",
    "ARM",
    "ARS",
    "ARSM",
    "DisARM",
    "Enumerate",
    "Estimate",
    "Estimator",
    "MovingAverage",
    "Pathwise",
    "Rebar",
    "Reinforce",
    "Relax",
    "Values",
    "pathwise",
]
