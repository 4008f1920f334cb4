"""One run that compares this library with what else solves the same rows.

    python -m benchmarks.compare [case ...] [--quick] [--energy Data.npz] [--json FILE] [--page FILE]

`make bench` installs the peers and runs all of it; `make bench CASE=grid-lp-5x5` runs one case.
"""
