"""PyEPO's OR-Tools back end on the same linear models. Importing this module imports PyEPO."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.compare.timing import FloatArray
from benchmarks.compare.user_models import Loop, ortools_solver, pywraplp_model
from pyepo import EPO
from pyepo.model.ort.ortmodel import optOrtModel

from imle_opt_solvers import LinearModel
from imle_opt_solvers.solution import Sense


class LinearOptModel(optOrtModel):
    """A `LinearModel` as PyEPO takes any model of OR-Tools: `x` are the variables with predicted costs."""

    def __init__(self, model: LinearModel, solver: str | None = None) -> None:
        self.linear = model
        self.modelSense = EPO.MAXIMIZE if model.sense is Sense.MAX else EPO.MINIMIZE
        super().__init__(solver or ortools_solver(model))  # PyEPO's workers rebuild it with both

    def _getModel(self) -> tuple[Any, dict[int, Any]]:  # noqa: N802 - PyEPO's name
        solver, predicted = pywraplp_model(self.linear, self.solver.upper())
        return solver, dict(enumerate(predicted))


def pyepo_loop(model: LinearModel) -> Loop:
    """What PyEPO does for a batch in one process: `setObj` and `solve`, row by row."""
    optmodel = LinearOptModel(model)

    def solve(costs: FloatArray) -> FloatArray:
        objectives = np.empty(len(costs))
        for row, each in enumerate(costs):
            optmodel.setObj(each)
            _, objectives[row] = optmodel.solve()
        return objectives

    return solve
