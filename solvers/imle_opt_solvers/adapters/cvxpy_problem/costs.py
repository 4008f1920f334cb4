"""What the costs of a cvxpy problem are: its Parameter, the Variable that they belong to, the sense."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.add_expr import AddExpression

from imle_opt_solvers.errors import InvalidInputError, ModelError, UnsupportedModelError
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["BUILDING", "CostProblem", "cost_problem"]

BUILDING = threading.Lock()
"""Held while cvxpy builds or compiles expressions: its counter of ids and its DPP switch are global."""

_ADVICE = "Write the objective as cp.Minimize(c @ x + ...) with c = cp.Parameter(n), x = cp.Variable(n)."
_PLAIN = ("complex", "imag", "hermitian", "symmetric", "diag", "PSD", "NSD", "sparsity", "boolean", "integer")
"""Attributes that a cost vector cannot have: entries that hang together, or that are not real numbers."""


@dataclass(frozen=True)
class CostProblem:
    """A private copy of a user's problem, and the parts of it that the costs touch.

    Args:
        problem: the copy, a `cvxpy.Problem`; the user's values are not in it.
        parameter: its one Parameter.
        variable: the Variable whose costs the Parameter holds, of the same shape.
        sense: the direction of its objective.
    """

    problem: Any
    parameter: Any
    variable: Any
    sense: Sense

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the costs."""
        shape: tuple[int, ...] = self.parameter.shape
        return shape

    @property
    def names(self) -> tuple[str, ...]:
        """One name per cost, in row-major order."""
        name = self.variable.name()
        if not self.shape:
            return (name,)
        return tuple(f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(*self.shape))

    def copy(self) -> CostProblem:
        """Return an independent copy, with ids that are new in this process.

        cvxpy numbers its objects from 1 in each process, and a pickled problem keeps its numbers: where it is
        loaded, others have them too, so it must not be compiled as it comes.
        """
        with BUILDING:
            problem, leaves = _with_fresh_leaves(self.problem)
        return CostProblem(problem, leaves[id(self.parameter)], leaves[id(self.variable)], self.sense)


def cost_problem(problem: Any, variables: object = None) -> CostProblem:
    """Copy a problem, and find its costs.

    Args:
        problem: a `cvxpy.Problem`; it is left as it is, with the values that it has.
        variables: None: the Parameter says which variable is predicted.

    Raises:
        InvalidInputError: `variables` is given.
        ModelError: not exactly one Parameter, or not a disciplined (parametrised) convex problem.
        UnsupportedModelError: the Parameter is not the plain cost vector of one Variable.
    """
    if variables is not None:
        raise InvalidInputError(
            "`variables` is not for cvxpy problems: the costs are the problem's Parameter, and belong to the "
            "Variable that it multiplies. Leave it out."
        )
    parameter = _one_parameter(problem)
    _refuse_elsewhere(problem, parameter)
    with BUILDING:
        copied, leaves = _with_fresh_leaves(problem)
        _refuse_undisciplined(copied)
    parameter = leaves[id(parameter)]
    sense = Sense.MAX if isinstance(problem.objective, cp.Maximize) else Sense.MIN
    return CostProblem(copied, parameter, _priced_variable(copied, parameter), sense)


def _one_parameter(problem: Any) -> Any:
    parameters = problem.parameters()
    if len(parameters) != 1:
        names = ", ".join(parameter.name() for parameter in parameters) or "none"
        raise ModelError(
            f"A cvxpy problem must have exactly one Parameter, its costs; this one has {len(parameters)} "
            f"({names}). {_ADVICE} Replace other Parameters by their values."
        )
    parameter = parameters[0]
    odd = [name for name in _PLAIN if parameter.attributes.get(name) not in (None, False)]
    if odd or type(parameter) is not cp.Parameter:
        raise UnsupportedModelError(
            f"The Parameter {parameter.name()!r} must be a plain cp.Parameter(shape), not one with "
            f"{', '.join(odd) or type(parameter).__name__}."
        )
    return parameter


def _refuse_elsewhere(problem: Any, parameter: Any) -> None:
    for position, constraint in enumerate(problem.constraints):
        if parameter in set(constraint.parameters()):
            raise UnsupportedModelError(
                f"The Parameter {parameter.name()!r} appears in constraint {position} ({constraint}): it may "
                f"only be the costs in the objective."
            )
    for variable in problem.variables():
        if variable.parameters():
            raise UnsupportedModelError(
                f"The Parameter {parameter.name()!r} bounds the variable {variable.name()!r}: it may only be "
                f"the costs in the objective."
            )


def _refuse_undisciplined(problem: Any) -> None:
    if not problem.is_dcp():
        raise ModelError(
            "The cvxpy problem is not convex by the rules of disciplined convex programming "
            "(`problem.is_dcp()` is False): see https://www.cvxpy.org/tutorial/dcp/."
        )
    if not problem.is_dcp(dpp=True):
        raise ModelError(
            f"The cvxpy problem is not DPP (`problem.is_dcp(dpp=True)` is False): its Parameter must enter "
            f"linearly, or each solve would compile the problem anew. {_ADVICE}"
        )


def _with_fresh_leaves(problem: Any) -> tuple[Any, dict[int, Any]]:
    """Return the problem over new Variables and a new Parameter, and the new leaf for each old one's `id()`.

    The new Parameter has no sign: costs may have either, once noise is added, and a linear objective does not
    mind.
    """
    leaves: dict[int, Any] = {
        id(variable): cp.Variable(variable.shape, name=variable.name(), **variable.attributes)
        for variable in problem.variables()
    }
    leaves |= {
        id(parameter): cp.Parameter(parameter.shape, name=parameter.name())
        for parameter in problem.parameters()
    }
    objective = problem.objective.tree_copy(leaves)
    constraints = [constraint.tree_copy(leaves) for constraint in problem.constraints]
    for constraint in constraints:
        constraint.constr_id = cp.Variable().id  # a copy keeps its number
    return cp.Problem(objective, constraints), leaves


def _priced_variable(problem: Any, parameter: Any) -> Any:
    """Return the variable v for which the objective's terms with the Parameter are <parameter, v>.

    They are affine in the variables and linear in the Parameter (the problem is DPP), so that equality at a
    random point is equality.
    """
    terms = [term for term in _terms(problem.objective.expr) if term.parameters()]
    generator = np.random.default_rng(0)
    for variable in problem.variables():
        variable.save_value(generator.normal(size=variable.shape))
    prices = generator.normal(size=parameter.shape)
    if not terms or not all(term.is_affine() for term in terms):
        raise _not_costs(parameter)
    change = _total(terms, parameter, prices) - _total(terms, parameter, np.zeros(parameter.shape))
    for variable in problem.variables():
        if variable.shape == parameter.shape:
            inner = float(np.sum(prices * variable.value))
            if np.isclose(change, inner, rtol=1e-9, atol=1e-9):
                return variable
            if np.isclose(change, -inner, rtol=1e-9, atol=1e-9):
                raise UnsupportedModelError(
                    f"The objective holds -<{parameter.name()}, {variable.name()}>: the Parameter would be "
                    f"minus the costs. Drop the minus, or turn the objective round (cp.Maximize)."
                )
    raise _not_costs(parameter)


def _terms(expression: Any) -> list[Any]:
    """Return the summands of an expression."""
    if isinstance(expression, AddExpression):
        return [term for argument in expression.args for term in _terms(argument)]
    return [expression]


def _total(terms: list[Any], parameter: Any, prices: FloatArray) -> float:
    parameter.value = prices
    return float(sum(np.sum(term.value) for term in terms))


def _not_costs(parameter: Any) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The Parameter {parameter.name()!r} of shape {parameter.shape} is not the costs of one whole "
        f"Variable of that shape: each of its entries must multiply the entry of the Variable in the same "
        f"place, once. {_ADVICE}"
    )
