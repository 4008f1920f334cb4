"""Settings that hold for every test."""

from __future__ import annotations

import os

# Small tensor operations are about fifteen times slower when several test processes each start a thread per
# core; it must be set before numpy or torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# Before PuLP, which loads another HiGHS for the whole process: OR-Tools' own would not work after it.
from ortools.linear_solver import pywraplp as pywraplp

# The first call of a kernel compiles it: no example has a deadline.
settings.register_profile("imle-opt", deadline=None)
settings.load_profile("imle-opt")
