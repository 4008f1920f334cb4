"""One wheel with both packages, one version, a pin for each dependency; the solvers live in one process."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import imle_opt

ROOT = Path(__file__).parent.parent
SOURCES = {"imle_opt": ROOT / "src" / "imle_opt", "imle_opt_solvers": ROOT / "solvers" / "imle_opt_solvers"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def dist_info(wheel, name):
    (member,) = (each for each in wheel.namelist() if each.endswith(f".dist-info/{name}"))
    return wheel.read(member).decode()


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"imle_opt", "imle_opt_solvers", f"imle_opt-{imle_opt.__version__}.dist-info"}


@pytest.mark.parametrize("package", SOURCES)
def test_the_wheel_holds_every_file_of_a_package(wheel, package):
    source = SOURCES[package]
    expected = {
        f"{package}/{path.relative_to(source).as_posix()}"
        for path in source.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".nbi", ".nbc"}
    }
    assert expected <= set(wheel.namelist())
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_wheel_holds_the_stub_the_licence_and_the_command(wheel):
    assert "imle_opt/__init__.pyi" in wheel.namelist()
    assert "MIT License" in dist_info(wheel, "licenses/LICENSE")
    assert "imle-opt = imle_opt.cli:main" in dist_info(wheel, "entry_points.txt")
    described = dist_info(wheel, "METADATA")
    assert "Requires-Python: >=3.11" in described
    assert re.search(r"^Requires-Dist: highspy<1\.15", described, re.MULTILINE)
    assert "# imle-opt" in described, "the README is the long description"


def test_the_version_is_told_once():
    assert metadata.version("imle-opt") == imle_opt.__version__
    assert f"## {imle_opt.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def requirement_name(line):
    return re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0].lower().replace("_", "-")


def test_every_direct_dependency_is_pinned_for_ci():
    pins = {
        requirement_name(line): line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = [
        *PYPROJECT["project"]["dependencies"],
        *extras["report"],
        *extras["docs"],
        *PYPROJECT["dependency-groups"]["dev"],
    ]
    missing = [line for line in wanted if requirement_name(line) not in pins]
    assert not missing
    assert pins["torch"] == "torch==2.13.0"


IMPORTS = (
    "torch",
    "ortools.linear_solver.pywraplp",
    "ortools.linear_solver.python.model_builder",
    "ortools.math_opt.python.mathopt",
    "ortools.sat.python.cp_model",
    "highspy",
    "pulp",
    "cvxpy",
    "networkx",
    "numba",
    "scipy.optimize",
    "sklearn.linear_model",
)


@pytest.mark.parametrize("modules", [IMPORTS, IMPORTS[::-1]], ids=["ortools first", "highspy first"])
def test_all_solver_packages_import_into_one_process(modules):
    program = "\n".join(f"import {module}" for module in modules)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_prints_its_help_without_torch():
    program = """
import sys
from imle_opt.cli import main
sys.argv = ["imle-opt", "--help"]
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
heavy = ("torch", "ortools", "pulp", "networkx", "cvxpy", "highspy", "numba", "sklearn", "pandas", "scipy")
print("LOADED", *(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "regret" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_the_console_script_runs():
    script = Path(sys.executable).with_name("imle-opt")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "regret" in done.stdout
