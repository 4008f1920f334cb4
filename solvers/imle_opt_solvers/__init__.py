"""Numbers in, decisions out: optimisation models whose costs vary, on numpy arrays, without torch.

    from imle_opt_solvers import wrap

    solver = wrap(model, variables=x)           # a PuLP, OR-Tools or cvxpy model, a file, a function
    solution = solver.solve(costs)              # decisions, objectives, statuses: one per row

Importing this package imports no solver package: an adapter loads with the first model that needs it. Users
of the torch side reach the same names as `imle_opt.solvers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imle_opt_solvers._lazy import lazy_names
from imle_opt_solvers.errors import (
    ImleOptError,
    InvalidInputError,
    MissingCapabilityError,
    MissingDependencyError,
    ModelError,
    RegretError,
    SolveError,
    UnsupportedModelError,
)
from imle_opt_solvers.function_solver import FunctionSolver
from imle_opt_solvers.solution import Limits, Sense, Solution, Status
from imle_opt_solvers.solver import CostDomain, Solver, Traits
from imle_opt_solvers.wrap import wrap

if TYPE_CHECKING:
    from imle_opt_solvers import regret as regret
    from imle_opt_solvers import testing as testing
    from imle_opt_solvers.assignment import Assignment
    from imle_opt_solvers.cache import CachedSolver
    from imle_opt_solvers.engines.highs import HighsSolver
    from imle_opt_solvers.graph import Graph
    from imle_opt_solvers.grid import grid_graph, grid_path
    from imle_opt_solvers.knapsack import Knapsack
    from imle_opt_solvers.linear_model import LinearModel
    from imle_opt_solvers.pool import SolverPool
    from imle_opt_solvers.ranking import Ranking
    from imle_opt_solvers.shortest_path import ShortestPath
    from imle_opt_solvers.spanning_tree import SpanningTree
    from imle_opt_solvers.timed_solver import TimedSolver
    from imle_opt_solvers.top_k import OneHot, TopK

__all__ = [
    "Assignment",
    "CachedSolver",
    "CostDomain",
    "FunctionSolver",
    "Graph",
    "HighsSolver",
    "ImleOptError",
    "InvalidInputError",
    "Knapsack",
    "Limits",
    "LinearModel",
    "MissingCapabilityError",
    "MissingDependencyError",
    "ModelError",
    "OneHot",
    "Ranking",
    "RegretError",
    "Sense",
    "ShortestPath",
    "Solution",
    "SolveError",
    "Solver",
    "SolverPool",
    "SpanningTree",
    "Status",
    "TimedSolver",
    "TopK",
    "Traits",
    "UnsupportedModelError",
    "grid_graph",
    "grid_path",
    "regret",
    "testing",
    "wrap",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    homes={
        "imle_opt_solvers.assignment": ("Assignment",),
        "imle_opt_solvers.cache": ("CachedSolver",),
        "imle_opt_solvers.engines.highs": ("HighsSolver",),
        "imle_opt_solvers.graph": ("Graph",),
        "imle_opt_solvers.grid": ("grid_graph", "grid_path"),
        "imle_opt_solvers.knapsack": ("Knapsack",),
        "imle_opt_solvers.linear_model": ("LinearModel",),
        "imle_opt_solvers.pool": ("SolverPool",),
        "imle_opt_solvers.ranking": ("Ranking",),
        "imle_opt_solvers.shortest_path": ("ShortestPath",),
        "imle_opt_solvers.spanning_tree": ("SpanningTree",),
        "imle_opt_solvers.timed_solver": ("TimedSolver",),
        "imle_opt_solvers.top_k": ("OneHot", "TopK"),
    },
    modules=("regret", "testing"),
    public=__all__,
)
