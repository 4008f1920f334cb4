"""cvxpy problems whose one Parameter is the costs of one Variable.

    optimise  <parameter, variable> + g(all variables)      over the problem's own constraints

`read` turns a linear or mixed-integer one into arrays; `CvxpySolver` keeps cvxpy and its solvers, and takes
quadratic and conic problems too. Both work on a private copy.
"""

from __future__ import annotations

from imle_opt_solvers.adapters.cvxpy_problem.arrays import read
from imle_opt_solvers.adapters.cvxpy_problem.native import CvxpySolver

__all__ = ["CvxpySolver", "read"]
