"""Settings that hold for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# Small tensor operations are about fifteen times slower when several test processes each start a thread per
# core; it must be set before numpy or torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first call of a kernel compiles it: no example has a deadline.
settings.register_profile("imle-opt", deadline=None)
settings.load_profile("imle-opt")
