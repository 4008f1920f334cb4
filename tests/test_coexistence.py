"""All solver packages work in one process, in any order, and each adapter loads its own and no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

ONES = "import numpy as np\nfrom imle_opt_solvers import wrap\nanswers = []\n"
PROGRAMS = {
    "highspy": """
import highspy, tempfile, pathlib
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "model.lp")
    path.write_text("Maximize\\n c: x + y\\nSubject To\\n r: x + y <= 3\\nBounds\\n x <= 2\\nEnd\\n")
    answers += [wrap(path, engine=engine).solve([1.0, 2.0]).objectives for engine in ENGINES]
""",
    "pulp": """
import pulp
problem = pulp.LpProblem("p", pulp.LpMaximize)
x, y = problem.add_variable("x", 0, 2), problem.add_variable("y", 0)
problem += x + y
problem += x + y <= 3
answers += [wrap(problem, engine=engine).solve([1.0, 2.0]).objectives for engine in ENGINES]
""",
    "cvxpy": """
import cvxpy as cp
c, x = cp.Parameter(2), cp.Variable(2)
problem = cp.Problem(cp.Maximize(c @ x), [x >= 0, x[0] <= 2, cp.sum(x) <= 3])
answers += [wrap(problem, engine=engine).solve([1.0, 2.0]).objectives for engine in ENGINES]
ball = cp.Problem(cp.Maximize(c @ x), [cp.norm(x) <= 1])
answers.append(round(float(wrap(ball).solve([3.6, 4.8]).objectives), 6))
""",
    "ortools.linear_solver": """
from ortools.linear_solver import pywraplp
model = pywraplp.Solver.CreateSolver("SCIP")
x, y = model.NumVar(0, 2, "x"), model.NumVar(0, 10, "y")
model.Add(x + y <= 3)
model.Maximize(x + y)
answers += [wrap(model, engine=engine).solve([1.0, 2.0]).objectives for engine in ENGINES]
""",
    "ortools.sat": """
from ortools.sat.python import cp_model
model = cp_model.CpModel()
x, y = model.new_int_var(0, 2, "x"), model.new_int_var(0, 10, "y")
model.add(x + y <= 3)
model.maximize(x + y)
answers += [wrap(model, engine=engine).solve([1.0, 2.0]).objectives for engine in ENGINES]
""",
    "ortools.math_opt": """
from ortools.math_opt.python import mathopt
model = mathopt.Model()
x, y = model.add_variable(lb=0, ub=2), model.add_variable(lb=0, ub=10)
model.add_linear_constraint(x + y <= 3)
model.maximize(x + y)
answers += [wrap(model, engine=engine).solve([1.0, 2.0]).objectives for engine in ENGINES]
""",
}
NATIVE = {"highspy": {"highspy", "pulp"}}
"""The packages that a kind of model may load, where they are not its own: files go to PuLP's CBC."""

PACKAGES = ("torch", "highspy", "pulp", "cvxpy", "ortools", "networkx", "numba", "pandas", "sklearn", "rich")


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("names", [[*PROGRAMS], [*PROGRAMS][::-1]], ids=["highspy first", "ortools first"])
def test_all_packages_solve_in_one_process(names):
    program = "ENGINES = ('highs', 'native')\n" + ONES + "".join(PROGRAMS[name] for name in names)
    answers = run(program + "print(*map(float, answers))").split()
    assert len(answers) == 2 * len(PROGRAMS) + 1
    assert set(map(float, answers)) == {6.0}


def loaded(program):
    check = f"\nimport sys\nprint(*(name for name in {PACKAGES} if name in sys.modules))"
    return set(run(program + check).split())


def test_the_package_itself_loads_no_solver_and_no_torch():
    assert loaded("import imle_opt_solvers") == set()


def test_wrapping_a_function_loads_nothing():
    assert loaded("from imle_opt_solvers import wrap\nwrap(abs, shape=1, sense='min').solve([1.0])") == set()


@pytest.mark.parametrize(
    "name", ["highspy", "pulp", "ortools.linear_solver", "ortools.sat", "ortools.math_opt"]
)
def test_an_adapter_loads_its_own_package_and_no_torch(name):
    own = NATIVE.get(name, {name.split(".")[0]})
    found = loaded("ENGINES = ('native',)\n" + ONES + PROGRAMS[name])
    # OR-Tools' Python interfaces load pandas, PuLP loads highspy where it is installed.
    assert own <= found <= own | {"highspy", "pandas"}


def test_the_cvxpy_adapter_loads_no_torch():
    assert "torch" not in loaded("ENGINES = ('highs', 'native')\n" + ONES + PROGRAMS["cvxpy"])


HIGHS_OF_OR_TOOLS = {
    "ortools.linear_solver": """
import {first}
from ortools.linear_solver import pywraplp
import pulp
model = pywraplp.Solver.CreateSolver("HIGHS")
x = model.BoolVar("x")
model.Maximize(x)
""",
    "ortools.math_opt": """
import {first}
from ortools.math_opt.python import mathopt
import pulp
model = mathopt.Model()
x = model.add_binary_variable()
model.maximize(x)
""",
}
SOLVE_BY_HIGHS = """
from imle_opt_solvers import UnsupportedModelError, wrap
try:
    print(wrap(model, engine="native:highs").solve([2.0]).objectives)
except UnsupportedModelError as error:
    print(error)
"""


@pytest.mark.parametrize("package", HIGHS_OF_OR_TOOLS)
def test_the_highs_of_or_tools_is_refused_where_pulp_has_shadowed_it(package):
    # Unguarded, pywraplp finds nothing and MathOpt ends the whole process.
    program = HIGHS_OF_OR_TOOLS[package] + SOLVE_BY_HIGHS
    assert "Import ortools first" in run(program.replace("{first}", "pulp"))
    assert run(program.replace("{first}", "numpy")).strip() == "2.0"
