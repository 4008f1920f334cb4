"""The conformance matrix: every solver under test, one row each."""

from __future__ import annotations

import cases_combinatorial
import cases_cvxpy
import cases_files
import cases_graphs
import cases_linear
import cases_ortools
import cases_pool
import cases_pulp

SOLVER_CASES = (
    *cases_linear.CASES,
    *cases_ortools.CASES,
    *cases_pulp.CASES,
    *cases_cvxpy.CASES,
    *cases_files.CASES,
    *cases_graphs.CASES,
    *cases_combinatorial.CASES,
    *cases_pool.CASES,
)
