"""Every solver passes the conformance suite that ships with the library."""

from __future__ import annotations

import pytest

from cases import SOLVER_CASES
from imle_opt_solvers.testing import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("case", SOLVER_CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    check(case)
