# ruff: noqa: N802, N815 - the names are PuLP's
"""A stand-in for PuLP 4, which needs Python 3.12: the part of its interface that reading a model touches.

Made after PuLP 4.2.0: problems own their variables and number them from 0; every access makes a new wrapper,
which equals another by its number alone; constraints and objective are lists of terms and not dicts; bounds
that are missing read as infinities; comparing a variable with a number builds an expression.
"""

from __future__ import annotations

import math


class LpVariable:
    def __init__(self, core, number):
        self._core, self._number = core, number

    name = property(lambda self: self._core[self._number]["name"])
    lowBound = property(lambda self: self._core[self._number]["low"])
    upBound = property(lambda self: self._core[self._number]["up"])
    cat = property(lambda self: self._core[self._number]["cat"])

    def __hash__(self):
        return hash(self._number)

    def __eq__(self, other):
        return self._number == other._number if isinstance(other, LpVariable) else LpAffineExpression([], 0.0)


class LpAffineExpression:
    def __init__(self, terms, constant):
        self._terms, self.constant = terms, constant

    def items(self):
        return list(self._terms)

    def __len__(self):
        return len(self._terms)


class LpConstraint:
    def __init__(self, name, terms, sense, rhs):
        self.name, self._terms, self.sense, self.constant = name, terms, sense, -rhs

    def items(self):
        return [(LpVariable(variable._core, variable._number), value) for variable, value in self._terms]

    def getLb(self):
        return -self.constant if self.sense >= 0 else None

    def getUb(self):
        return -self.constant if self.sense <= 0 else None


class LpProblem:
    def __init__(self, name="NoName", sense=1):
        self.name, self.sense = name, sense
        self._core, self._rows, self._objective, self._sos = [], [], None, False

    def add_variable(self, name, lowBound=None, upBound=None, cat="Continuous"):
        low = -math.inf if lowBound is None else lowBound
        up = math.inf if upBound is None else upBound
        if cat == "Binary":
            low, up, cat = 0.0, 1.0, "Integer"
        self._core.append({"name": name, "low": low, "up": up, "cat": cat})
        return LpVariable(self._core, len(self._core) - 1)

    def set_objective(self, terms, constant=0.0):
        self._objective = terms, constant

    def add_row(self, name, terms, sense, rhs):
        self._rows.append((name, terms, sense, rhs))

    def variables(self):
        return [LpVariable(self._core, number) for number in range(len(self._core))]

    def exported_variables(self):
        return self.variables()

    def constraints(self):
        return [LpConstraint(*row) for row in self._rows]

    @property
    def objective(self):
        return None if self._objective is None else LpAffineExpression(*self._objective)

    def has_sos(self):
        return self._sos


LpProblem.__module__ = "pulp.core.lp_problem"
