"""The conformance matrix: every solver under test, one row each."""

from __future__ import annotations

import cases_linear

SOLVER_CASES = (*cases_linear.CASES,)
