"""Batch kernels: a whole batch in one compiled call."""
