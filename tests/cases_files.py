"""Rows of the conformance matrix for model files, on HiGHS and on CBC. The files are written by hand."""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import linear_models as models
from imle_opt_solvers import Limits, wrap
from imle_opt_solvers.reference import enumerate_linear_model
from imle_opt_solvers.testing import InstanceCase, SolverCase
from oracles import optimum_of


def mps_of(model):
    """Write a `LinearModel` as a free-format MPS file; the predicted columns carry costs of 0.5."""
    costs = model.total_costs(np.full(len(model.predicted.columns), 0.5))
    lines = ["NAME test", "OBJSENSE", f"    {model.sense.value.upper()}", "ROWS", " N cost"]
    rows, rhs, ranges = [], [f" RHS cost {-model.offset}"], []
    for name, lower, upper in zip(model.row_names, model.row_lower, model.row_upper, strict=True):
        kind = "E" if lower == upper else "L" if np.isfinite(upper) else "G"
        rows.append(f" {kind} {name}")
        rhs.append(f" RHS {name} {upper if np.isfinite(upper) else lower}")
        if kind == "L" and np.isfinite(lower):
            ranges.append(f" RNG {name} {upper - lower}")
    columns, bounds = [], []
    for column, name in enumerate(model.column_names):
        marked = int(model.integrality[column])
        columns += [f" MARK{column}a 'MARKER' 'INTORG'"] * marked
        columns.append(f" {name} cost {costs[column]}")
        columns += [f" {name} {row} {value}" for row, value in entries_of(model, column)]
        columns += [f" MARK{column}b 'MARKER' 'INTEND'"] * marked
        lower, upper = model.column_lower[column], model.column_upper[column]
        bounds.append(f" LO BND {name} {lower}" if np.isfinite(lower) else f" MI BND {name}")
        bounds.append(f" UP BND {name} {upper}" if np.isfinite(upper) else f" PL BND {name}")
    lines += [*rows, "COLUMNS", *columns, "RHS", *rhs, "RANGES", *ranges, "BOUNDS", *bounds, "ENDATA", ""]
    return "\n".join(lines)


def entries_of(model, column):
    where = np.flatnonzero(model.row_columns == column)
    rows = np.searchsorted(model.row_starts, where, side="right") - 1
    return [(model.row_names[row], model.row_values[entry]) for row, entry in zip(rows, where, strict=True)]


def lp_of(model):
    """Write a `LinearModel` in the LP format; a range becomes two constraints."""
    costs = model.total_costs(np.full(len(model.predicted.columns), 0.5))
    objective = " ".join(f"{cost:+} {name}" for cost, name in zip(costs, model.column_names, strict=True))
    lines = ["Maximize" if model.sense == "max" else "Minimize", f" cost: {objective} {model.offset:+}"]
    lines.append("Subject To")
    for row, (lower, upper) in enumerate(zip(model.row_lower, model.row_upper, strict=True)):
        entries = slice(model.row_starts[row], model.row_starts[row + 1])
        pairs = zip(model.row_values[entries], model.row_columns[entries], strict=True)
        left = " ".join(f"{value:+} {model.column_names[column]}" for value, column in pairs)
        name = model.row_names[row]
        if lower == upper:
            lines.append(f" {name}: {left} = {lower}")
            continue
        lines += [f" {name}: {left} <= {upper}"] * bool(np.isfinite(upper))
        lines += [f" {name}_lower: {left} >= {lower}"] * bool(np.isfinite(lower))
    lines.append("Bounds")
    bounds = zip(model.column_names, model.column_lower, model.column_upper, strict=True)
    lines += [f" {lower} <= {name} <= {upper}" for name, lower, upper in bounds]
    integers = [name for name, whole in zip(model.column_names, model.integrality, strict=True) if whole]
    lines += ["General", *(f" {name}" for name in integers)] * bool(integers)
    return "\n".join([*lines, "End", ""])


WRITERS = {".mps": mps_of, ".lp": lp_of}


def write(folder, model, suffix):
    """Write a model to a new file of the given kind, and return its path."""
    text = WRITERS[suffix.removesuffix(".gz")](model)
    path = Path(folder) / f"model{suffix}"
    if suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def solver_of(model, suffix, engine, **options):
    shape = model.predicted.shape
    names = np.array(model.predicted_names, dtype=object).reshape(shape).tolist()
    with tempfile.TemporaryDirectory() as folder:
        return wrap(write(folder, model, suffix), names, engine=engine, **options)


def limited(engine):
    rng = np.random.default_rng(3)
    weights = rng.integers(20, 90, size=(5, 60))
    model = models.linear_model("max", weights, -np.inf, weights.sum(1) // 3, 0, 1, True, predicted=range(60))
    return solver_of(model, ".mps", engine, limits=Limits(seconds=1e-3)), rng.uniform(20, 90, 60)


def unbounded(engine):
    model = models.polygon()
    model = replace(model, column_upper=np.full(4, np.inf), row_upper=np.array([np.inf, np.inf, np.inf]))
    return solver_of(model, ".mps", engine), np.array([-1.0, -2.0, -1.0])


def infeasible(engine):
    sides = {"row_lower": np.array([50.0, -np.inf, 4.0]), "row_upper": np.array([60.0, 5.0, 4.0])}
    return solver_of(replace(models.polygon(), **sides), ".mps", engine)


def right_hand_sides():
    optima = tuple(
        enumerate_linear_model(models.knapsack(capacities)).optimum for capacities in ((5, 3), (19, 15))
    )
    return InstanceCase({"rhs": {"r0": np.array([5.0, 19.0]), "r1": np.array([3.0, 15.0])}}, optima)


def case(build, suffix, engine, **more):
    model = build()
    return SolverCase(
        name=f"file-{engine}-{build.__name__}{suffix}",
        make_solver=lambda: solver_of(build(), suffix, engine),
        optimum=optimum_of(build),
        draw_costs=lambda rng, rows: rng.normal(size=(rows, *model.predicted.shape)),
        **more,
    )


def cases_of(engine):
    other = "native" if engine == "highs" else "highs"
    return (
        case(
            models.polygon,
            ".mps",
            engine,
            infeasible=lambda: infeasible(engine),
            unbounded=lambda: unbounded(engine),
            limited=lambda: limited(engine),
        ),
        case(models.knapsack, ".lp", engine, instance_case=right_hand_sides()),
        case(
            models.facility_location,
            ".mps.gz",
            engine,
            rival=lambda: solver_of(models.facility_location(), ".lp.gz", other),
        ),
    )


CASES = (*cases_of("highs"), *cases_of("native"))
