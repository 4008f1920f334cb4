"""What the command line calls MODEL, in every form, and every way in which it can be wrong."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap

import networkx as nx
import numpy as np
import pulp
import pytest

from imle_opt.model_spec import load_solver
from imle_opt_solvers import InvalidInputError, Limits, ModelError, Sense

KNAPSACK = """
import pulp

def build():
    problem = pulp.LpProblem("knapsack", pulp.LpMaximize)
    items = [problem.add_variable(f"take_{i}", cat="Binary") for i in range(3)]
    problem += 3 * items[0] + 5 * items[1] + 4 * items[2]
    problem += 2 * items[0] + 3 * items[1] + 2 * items[2] <= 4
    return problem

model = build()
"""


def python_file(tmp_path, text, name="model.py"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["model", "build"])
def test_a_model_of_a_python_file(tmp_path, name):
    solver = load_solver(f"{python_file(tmp_path, KNAPSACK)}:{name}")
    assert solver.sense is Sense.MAX
    assert solver.names == ("take_0", "take_1", "take_2")
    assert solver.solve([3.0, 5.0, 4.0]).objectives == pytest.approx(7)


def test_the_variables_may_be_chosen(tmp_path):
    spec = f"{python_file(tmp_path, KNAPSACK)}:model"
    solver = load_solver(spec, variables=["take_2", "take_0"])
    assert solver.names == ("take_2", "take_0")
    assert solver.solve([0.0, 0.0]).objectives == pytest.approx(5)
    with pytest.raises(ModelError, match="'take_9', which is not a variable"):
        load_solver(spec, variables=["take_9"])


def test_engine_and_limits_reach_the_model(tmp_path):
    spec = f"{python_file(tmp_path, KNAPSACK)}:model"
    assert load_solver(spec, engine="native").traits.engine.startswith("native")
    assert load_solver(spec, limits=Limits(seconds=7.0)).limits.seconds == 7.0
    with pytest.raises(InvalidInputError, match="engine"):
        load_solver(spec, engine="gurobi")


def test_a_model_of_a_module(tmp_path, monkeypatch):
    (tmp_path / "plans").mkdir()
    python_file(tmp_path, KNAPSACK, "plans/spring.py")
    monkeypatch.chdir(tmp_path)
    assert load_solver("plans.spring:model").shape == (3,)


def test_a_file_may_import_its_neighbours(tmp_path):
    python_file(tmp_path, KNAPSACK, "neighbour_of_the_model.py")
    path = python_file(tmp_path, "from neighbour_of_the_model import model as plan\n")
    assert load_solver(f"{path}:plan").shape == (3,)


def test_a_solver_is_taken_as_it_is(tmp_path):
    text = """
        import numpy as np
        from imle_opt_solvers import FunctionSolver
        first = FunctionSolver(lambda costs: np.eye(2)[costs.argmin()], 2, "min")
    """
    spec = f"{python_file(tmp_path, text)}:first"
    assert load_solver(spec).solve([2.0, 1.0]).decisions.tolist() == [0, 1]
    with pytest.raises(InvalidInputError, match="variables"):
        load_solver(spec, variables=["x"])


@pytest.mark.parametrize("ending", ["mps", "lp", "mps.gz"])
def test_model_files(tmp_path, ending):
    import gzip

    problem = pulp.LpProblem("route", pulp.LpMinimize)
    x = [problem.add_variable(f"x{i}", 0, 4) for i in range(3)]
    problem += 2 * x[0] + 3 * x[1] + x[2]
    problem += x[0] + x[1] + x[2] >= 5
    plain = tmp_path / f"route.{ending.removesuffix('.gz')}"
    (problem.writeLP if plain.suffix == ".lp" else problem.writeMPS)(str(plain))
    path = tmp_path / f"route.{ending}"
    if ending.endswith("gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    solver = load_solver(str(path))
    assert solver.names == ("x0", "x1", "x2")
    assert solver.solve([2.0, 3.0, 1.0]).objectives == pytest.approx(4 * 1 + 1 * 2)


def test_grid_path_is_the_cheapest_over_eight_neighbours():
    solver = load_solver("grid-path:3x4")
    assert solver.shape == (3, 4)
    assert solver.sense is Sense.MIN
    costs = 10 ** np.random.default_rng(0).uniform(-2, 1, (25, 3, 4))  # far apart, so that detours pay
    graph = nx.Graph()
    cells = list(itertools.product(range(3), range(4)))
    graph.add_edges_from(
        (a, b) for a, b in itertools.combinations(cells, 2) if max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1
    )
    paths = list(nx.all_simple_paths(graph, (0, 0), (2, 3)))
    solution = solver.solve(costs)
    for row, grid in enumerate(costs):
        best = min(paths, key=lambda path: sum(grid[cell] for cell in path))
        expected = np.zeros((3, 4))
        for cell in best:
            expected[cell] = 1
        np.testing.assert_array_equal(solution.decisions[row], expected)
        assert solution.objectives[row] == pytest.approx((grid * expected).sum())


def test_a_grid_without_cells():
    with pytest.raises(InvalidInputError, match="at least 1"):
        load_solver("grid-path:0x4")


def test_a_knapsack_of_a_table_of_weights(tmp_path):
    (tmp_path / "weights.csv").write_text("tent,stove,boat\n2,3,4\n1,1,9\n")
    solver = load_solver(f"knapsack:{tmp_path}/weights.csv,5,9.5")
    assert (solver.names, solver.sense) == (("tent", "stove", "boat"), Sense.MAX)
    assert solver.solve([3.0, 4.0, 5.5]).objectives == 7.0
    assert solver.solve([3.0, 4.0, 7.5]).objectives == 7.5
    np.save(tmp_path / "weights.npy", np.array([[2.0, 3, 4]]))
    limits = Limits(seconds=5)
    plain = load_solver(f"knapsack:{tmp_path}/weights.npy,6", engine="highs", limits=limits)
    assert (plain.names, plain.limits, plain.traits.engine) == (None, limits, "highs")
    assert plain.solve([3.0, 4.0, 5.5]).objectives == 8.5


def test_a_spanning_tree_of_a_list_of_edges(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text('from,to\nhome, mill\nmill,"old bridge"\nold bridge,home\nhome,mill\n')
    solver = load_solver(f"spanning-tree:{path}")
    assert solver.names == ("home-mill[0]", "mill-old bridge[0]", "old bridge-home[0]", "home-mill[1]")
    np.testing.assert_array_equal(solver.solve([5.0, 1.0, 3.0, 2.0]).decisions, [0, 1, 0, 1])


def test_top_k_and_assignments():
    np.testing.assert_array_equal(load_solver("top-k:4,2").solve([1.0, 4, 2, 3]).decisions, [0, 1, 0, 1])
    assert load_solver("assignment:3").shape == (3, 3)
    assert load_solver("assignment:2x3").solve([[4.0, 2, 8], [4, 3, 7]]).objectives == 6


def test_a_module_may_be_called_as_a_built_in_model_is(tmp_path, monkeypatch):
    python_file(tmp_path, KNAPSACK, "assignment.py")
    monkeypatch.chdir(tmp_path)
    assert load_solver("assignment:model").shape == (3,)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("knapsack:weights.csv", r"is not of the form knapsack:weights\.csv,20"),
        ("knapsack:weights.csv,much", r"is not of the form"),
        ("knapsack:weights.csv,1,2", r"one number for each of the 1 constraint"),
        ("knapsack:weights.csv,-1", r"`capacity` must be finite and not negative"),
        ("knapsack:nowhere.csv,20", r"nowhere\.csv: no such file"),
        ("knapsack:weights.txt,20", r"cannot tell the format"),
        ("spanning-tree:nowhere.csv", r"nowhere\.csv: the edges cannot be read: No such file"),
        ("spanning-tree:weights.csv", r"line 1 must hold two cells"),
        ("spanning-tree:header.csv", r"there are no edges"),
        ("spanning-tree:binary.csv", r"not a text file in UTF-8"),
        ("top-k:20", r"is not of the form top-k:20,5"),
        ("top-k:2,5", r"`k` is 5, and there are 2"),
        ("assignment:3x2", r"n <= m, not 3 and 2"),
        ("assignment:0", r"at least 1"),
        ("grid-path:12", r"is not of the form grid-path:12x12"),
    ],
)
def test_bad_built_in_models(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    for name, content in {"weights.csv": b"a,b,c\n2,3,4\n", "header.csv": b"a,b\n"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises((ModelError, InvalidInputError), match=message):
        load_solver(spec)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("x = 1\n", "model", r"has no 'model'\. It has x\."),
        ("", "model", r"has no 'model'\. It has nothing that could be one"),
        ("model = 3\n", "model", r"does not know a model of type builtins\.int"),
        ("import networkx\nmodel = networkx.path_graph(3)\n", "model", r"use ShortestPath\(graph, source"),
        ("a = 1\nb = nothing\n", "a", r"fails in line 2 of model\.py: NameError: name 'nothing'"),
        ("import no_such_package\n", "a", r"line 1 of model\.py: ModuleNotFoundError: No module named"),
        ("def model(:\n", "model", r"fails in line 1: SyntaxError"),
        ("import sys\nsys.exit(4)\n", "model", r"ends the process, exit\(4\).*__main__"),
        ("def model(costs, k):\n    return costs\n", "model", r"is a function of costs, k: .*FunctionSolver"),
        ("\n\ndef model():\n    return 1 / 0\n", "model", r"fails in line 4 of model\.py: ZeroDivisionError"),
        ("def model():\n    return None\n", "model", r"does not know a model of type builtins\.NoneType"),
        ("import pulp\nmodel = pulp.LpProblem('empty')\n", "model", r"no objective"),
    ],
)  # fmt: skip
def test_bad_python_files(tmp_path, text, name, message):
    with pytest.raises(ModelError, match=message):
        load_solver(f"{python_file(tmp_path, text)}:{name}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere/model.py:model", r"nowhere/model\.py: no such file"),
        ("nowhere/model.mps", r"nowhere/model\.mps.*No such file"),
        ("no_such_package.plans:model", r"is none of: .* No module 'no_such_package' is in this folder"),
        ("model.py", r"does not say which model of the file: write model\.py:name"),
        ("knapsack", r"'knapsack' is none of: a model file"),
        ("a:b:c", r"module 'a:b' fails|is none of"),
        (":model", r"is none of"),
        ("", r"is none of"),
    ],
)
def test_bad_specs(spec, message):
    with pytest.raises(ModelError, match=message):
        load_solver(spec)


def test_prints_of_the_file_do_not_reach_stdout(tmp_path, capsys):
    load_solver(f"{python_file(tmp_path, 'print(1)' + KNAPSACK)}:model")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "1\n"


def test_loading_a_model_loads_no_torch(tmp_path):
    path = python_file(tmp_path, KNAPSACK)
    code = (
        "import sys; from imle_opt.model_spec import load_solver\n"
        f"load_solver('{path}:model').solve([1.0, 2.0, 3.0])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
