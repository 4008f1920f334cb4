"""Settings that hold for every test."""

from __future__ import annotations

import os

# Small tensor operations are about fifteen times slower when several test processes each start a thread per
# core; it must be set before numpy or torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
