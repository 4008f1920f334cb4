"""Every exception of imle-opt.

ImleOptError
├── InvalidInputError       (ValueError)   costs, shapes, options or tables that cannot be used
├── ModelError              (ValueError)   the wrapped model: unknown variable, no objective, unreadable file
│   └── UnsupportedModelError              a construct that the chosen engine cannot represent
├── SolveError              (RuntimeError) rows without a proven optimum; carries the whole solution
├── RegretError             (RuntimeError) a regret that cannot be: a decision better than the optimum
├── MissingCapabilityError  (TypeError)    a method needs what the family or solver does not have
└── MissingDependencyError  (ImportError)  an optional package is not installed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imle_opt_solvers.solution import Solution

__all__ = [
    "ImleOptError",
    "InvalidInputError",
    "MissingCapabilityError",
    "MissingDependencyError",
    "ModelError",
    "RegretError",
    "SolveError",
    "UnsupportedModelError",
]


class ImleOptError(Exception):
    """Base of all exceptions that imle-opt raises on purpose."""


class InvalidInputError(ImleOptError, ValueError):
    """Costs, shapes, options or tables that cannot be used as given."""


class ModelError(ImleOptError, ValueError):
    """The wrapped model is unfit: a variable it does not have, no objective, a file that cannot be read."""


class UnsupportedModelError(ModelError):
    """The model holds a construct that the chosen adapter or engine cannot represent."""


class SolveError(ImleOptError, RuntimeError):
    """Some rows of a batch ended without a proven optimum.

    Attributes:
        rows: the failed rows, as flat indices into the batch (row-major).
        solution: everything that was computed, the good rows included, so that no work is lost.
    """

    def __init__(self, message: str, rows: tuple[int, ...], solution: Solution) -> None:
        super().__init__(message, rows, solution)
        self.rows = rows
        self.solution = solution

    def __str__(self) -> str:
        return str(self.args[0])


class RegretError(ImleOptError, RuntimeError):
    """A decision came out better than the proven optimum: a wrong sense, or an oracle that is not optimal."""


class MissingCapabilityError(ImleOptError, TypeError):
    """A method needs something (an exact sampler, marginals, ...) that the family or solver does not have."""


class MissingDependencyError(ImleOptError, ImportError):
    """An optional package is needed and not installed; the message says how to install it."""
