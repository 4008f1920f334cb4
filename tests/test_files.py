"""Model files: what the formats hold, what HiGHS reads into it, and files that are no models."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pulp
import pytest

import linear_models as models
from cases_files import write
from cases_pulp import problem_of
from imle_opt_solvers import ModelError, Sense, UnsupportedModelError, wrap
from imle_opt_solvers.adapters.files import read
from oracles import facility_optimum

BUILDERS = [models.knapsack, models.assignment, models.polygon, models.facility_location]
SUFFIXES = [".mps", ".lp", ".mps.gz", ".lp.gz"]

MPS = """NAME trap
{head}ROWS
 N  cost
 N  free
 L  cap
 E  tie
 G  low
COLUMNS
    MARK1 'MARKER' 'INTORG'
    x_10 cost 3 cap 1
    x_10 free 9
    x_2 cost 2 cap 2
    MARK2 'MARKER' 'INTEND'
    y cost -1 tie 1
    y low 1
    z tie -1 cap 1
RHS
    RHS cost -4.5 cap 7
    RHS tie 2 low -3
{body}ENDATA
"""


def mps(folder, head="", body=""):
    path = folder / "trap.mps"
    path.write_text(MPS.format(head=head, body=body))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("build", BUILDERS)
def test_the_arrays_are_the_model(tmp_path, build, suffix):
    model = build()
    found = read(write(tmp_path, model, suffix), list(model.predicted_names))
    assert (found.sense, found.offset) == (model.sense, model.offset)
    assert found.column_names == model.column_names
    np.testing.assert_array_equal(found.predicted.columns, model.predicted.columns)
    for name in ("column_lower", "column_upper", "integrality", "fixed_costs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(model, name), err_msg=name)
    point = np.random.default_rng(0).normal(size=model.num_columns)
    activities = dict(zip(model.row_names, model.activities(point), strict=True))
    for name, activity in zip(found.row_names, found.activities(point), strict=True):
        assert activity == pytest.approx(activities[name.removesuffix("_lower")])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_and_engine_against_enumeration(tmp_path, suffix):
    model = models.facility_location()
    path = write(tmp_path, model, suffix)
    costs = np.random.default_rng(0).normal(size=(4, 6))
    expected = [facility_optimum(row.reshape(2, 3)) for row in costs]
    for engine in ("auto", "highs", "native", "native:cbc"):
        solver = wrap(path, model.predicted_names, engine=engine)
        np.testing.assert_allclose(solver.solve(costs).objectives, expected, atol=1e-9, err_msg=engine)


def test_mps_sections(tmp_path):
    model = read(mps(tmp_path, body="RANGES\n    RNG cap 3 tie -2\nBOUNDS\n UP BND x_2 9\n FR BND y\n"))
    assert model.sense is Sense.MIN
    assert model.offset == 4.5
    assert model.column_names == ("x_10", "x_2", "y", "z"), "the file's order, not that of the names"
    assert model.predicted_names == ("x_10", "x_2", "y"), "all that carry a cost"
    assert model.row_names == ("cap", "tie", "low"), "free rows bind nothing"
    np.testing.assert_array_equal(model.row_lower, [4, 0, -3])
    np.testing.assert_array_equal(model.row_upper, [7, 2, np.inf])
    np.testing.assert_array_equal(model.column_lower, [0, 0, -np.inf, 0])
    np.testing.assert_array_equal(
        model.column_upper, [1, 9, np.inf, np.inf], "no bounds: an integer in [0, 1]"
    )
    np.testing.assert_array_equal(model.integrality, [True, True, False, False])


@pytest.mark.parametrize(
    "head", ["OBJSENSE\n    MAX\n", "OBJSENSE MAX\n", "OBJSENSE MAXIMIZE\n", "objsense maximise\n"]
)
def test_mps_sense(tmp_path, head):
    assert read(mps(tmp_path, head=head)).sense is Sense.MAX


@pytest.mark.parametrize("sense", [pulp.LpMaximize, pulp.LpMinimize])
@pytest.mark.parametrize("with_objsense", [False, True])
def test_the_sense_of_files_that_pulp_writes(tmp_path, sense, with_objsense):
    """PuLP says it in a comment, unless told otherwise; read as plain MPS, a maximum became a minimum."""
    problem, variables = problem_of(models.knapsack(sense="max" if sense == pulp.LpMaximize else "min"))
    path = tmp_path / "pulp.mps"
    problem.writeMPS(str(path), with_objsense=with_objsense)
    names = [variable.name for variable in variables]
    costs = np.arange(1.0, 7.0)
    expected = wrap(problem, variables).solve(costs).objectives
    assert wrap(path, names).solve(costs).objectives == expected
    assert wrap(path, names).sense == ("max" if sense == pulp.LpMaximize else "min")


def test_lp_files_that_pulp_writes(tmp_path):
    problem, variables = problem_of(models.facility_location())
    path = tmp_path / "pulp.LP"
    problem.writeLP(str(path))
    names = [[variable.name for variable in row] for row in variables]
    costs = np.random.default_rng(2).normal(size=(3, 2, 3))
    ours = wrap(path, names).solve(costs).objectives
    theirs = wrap(problem, variables).solve(costs).objectives
    np.testing.assert_allclose(
        ours, theirs + 3.0, err_msg="PuLP leaves the objective's constant out of its file"
    )


def test_a_path_in_any_form(tmp_path, monkeypatch):
    path = write(tmp_path, models.knapsack(), ".mps")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for form in (path, str(path), "model.mps", "~/model.mps"):
        assert wrap(form).names == models.knapsack().predicted_names


def test_highs_prints_nothing(tmp_path, capfd):
    wrap(write(tmp_path, models.polygon(), ".lp")).solve(np.ones(4))
    with pytest.raises(ModelError):
        wrap(no_model(tmp_path, ".lp"))
    assert capfd.readouterr() == ("", "")


def test_nothing_stays_behind(tmp_path, monkeypatch):
    path = write(tmp_path, models.knapsack(), ".mps.gz")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    wrap(path)
    with pytest.raises(ModelError):
        wrap(no_model(tmp_path, ".mps.gz"))
    assert list(folder.iterdir()) == []
    assert gzip.decompress(path.read_bytes()).startswith(b"NAME"), "the file is as it was"


def no_model(folder, suffix):
    path = folder / f"garbage{suffix}"
    path.write_bytes(b"NAME hello\nthis is not a model\n\xff\x00")
    return path


def lp(text):
    def build(folder):
        path = folder / "model.lp"
        path.write_text(text)
        return path

    return build


def folder_called_model(folder):
    path = folder / "model.mps"
    path.mkdir()
    return path


def truncated(folder):
    path = write(folder, models.polygon(), ".mps.gz")
    path.write_bytes(path.read_bytes()[:-30])
    return path


QUADRATIC = "Minimize\n cost: x + [ x^2 ] / 2\nSubject To\n c: x >= 1\nEnd\n"
QUADRATIC_ROW = "Minimize\n cost: x\nSubject To\n c: [ x^2 ] <= 1\nEnd\n"
SEMI = "Minimize\n cost: x + y\nSubject To\n c: x + y >= 1\nBounds\n x <= 5\nSemi-continuous\n x\nEnd\n"
SOS = "Minimize\n cost: x + y\nSubject To\n c: x + y >= 1\nSOS\n s: S1:: x:1 y:2\nEnd\n"
INDICATOR = "Minimize\n cost: x + y\nSubject To\n c: b = 1 -> x + y >= 1\nBinary\n b\nEnd\n"
NO_COSTS = "Minimize\n cost:\nSubject To\n c: x + y >= 1\nEnd\n"
CROSSED = "Minimize\n cost: x\nSubject To\n c: x <= 9\nBounds\n x <= -3\nEnd\n"


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda folder: folder / "absent.mps", ModelError, "absent.mps': No such file"),
        (folder_called_model, ModelError, "model.mps': Is a directory"),
        (
            lambda folder: folder / "model.txt",
            ModelError,
            r"model.txt' is not a model file.*.mps, .lp, .mps.gz",
        ),
        (
            lambda folder: no_model(folder, ".mps"),
            ModelError,
            "garbage.mps' holds no model that HiGHS can read",
        ),
        (
            lambda folder: no_model(folder, ".lp"),
            ModelError,
            "garbage.lp' holds no model that HiGHS can read",
        ),
        (lambda folder: no_model(folder, ".lp.gz"), ModelError, "garbage.lp.gz': Not a gzipped file"),
        (truncated, ModelError, "model.mps.gz': Compressed file ended"),
        (
            lambda folder: mps(folder, body="SOS\n S1 s\n    x_2 1\n"),
            ModelError,
            "trap.mps'.*SOS not supported",
        ),
        (
            lambda folder: mps(folder, body="QCMATRIX cap\n x_2 x_2 1\n"),
            ModelError,
            "Quadratic rows not supp",
        ),
        (lp(QUADRATIC), UnsupportedModelError, "model.lp' has a quadratic objective.*cvxpy"),
        (lp(QUADRATIC_ROW), ModelError, "model.lp'.*Quadratic constraints not supported"),
        (lp(SEMI), UnsupportedModelError, "model.lp' has the semi-continuous variable 'x'"),
        (lp(SOS), ModelError, "model.lp'.*SOS not supported"),
        (lp(INDICATOR), UnsupportedModelError, "model.lp' has indicator constraints"),
        (lp(NO_COSTS), ModelError, "no objective.*`variables=`"),
        (lp(CROSSED), ModelError, "variable 'x' has lower side 0.0 and upper side -3.0"),
    ],
)
def test_files_that_are_no_models(tmp_path, build, error, message, capfd):
    with pytest.raises(error, match=message):
        wrap(build(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_unknown_names(tmp_path):
    with pytest.raises(ModelError, match=r"'nope', which is not a variable.*It has 6: x0, x1"):
        wrap(write(tmp_path, models.knapsack(), ".mps"), ["x0", "nope"])
    with pytest.raises(ModelError, match="names '3', which is not a variable"):
        wrap(write(tmp_path, models.knapsack(), ".mps"), [3])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path):
    path = write(tmp_path, models.knapsack(), ".mps")
    path.chmod(0)
    with pytest.raises(ModelError, match="Permission denied"):
        wrap(path)


def test_an_mps_file_whose_markers_lack_quotes_is_refused(tmp_path):
    """HiGHS takes them for columns, and then says nothing of it."""
    path = tmp_path / "unquoted.mps"
    path.write_text(
        "NAME m\nROWS\n N cost\n L weight\nCOLUMNS\n    MARKER MARKER INTORG\n    x cost 1 weight 2\n"
        "    MARKER MARKER INTEND\nRHS\n    RHS weight 3\nENDATA\n",
        encoding="utf-8",
    )
    with pytest.raises(ModelError, match="'MARKER' 'INTORG'"):
        wrap(path)
