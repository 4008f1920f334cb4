"""The public surface is pinned, stub and run time agree on it, and importing it loads nothing heavy."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import imle_opt
import imle_opt_solvers

SURFACE = {
    "diagnostics",
    "estimators",
    "families",
    "layers",
    "losses",
    "noise",
    "regret",
    "solvers",
    "targets",
    "training",
    "AR",
    "ARM",
    "ARS",
    "ARSM",
    "Adaptive",
    "Assignment",
    "Bernoulli",
    "BinaryEntropy",
    "BlackBox",
    "CMAP",
    "CaVE",
    "CachedSolver",
    "Categorical",
    "ConstrainedExponentialFamily",
    "CostDomain",
    "DeviceGridPath",
    "DeviceRanking",
    "DirectionalGradient",
    "Eq14",
    "DisARM",
    "Enumerate",
    "Estimate",
    "ExplicitMLE",
    "Exponential",
    "FenchelYoung",
    "FitResult",
    "FunctionSolver",
    "Gumbel",
    "GumbelRao",
    "GumbelSoftmax",
    "HalfSquaredNorm",
    "HammingLoss",
    "IMLE",
    "Identity",
    "ImleOptError",
    "InvalidInputError",
    "KSubset",
    "Knapsack",
    "L2X",
    "Limits",
    "ListwiseRanking",
    "Logistic",
    "MissingCapabilityError",
    "MissingDependencyError",
    "ModelError",
    "MovingAverage",
    "Multiplicative",
    "NCE",
    "NegativeEntropy",
    "NoNoise",
    "Normal",
    "OneHot",
    "PID",
    "PairwiseRanking",
    "Perturbed",
    "PointwiseRanking",
    "Polytope",
    "PredictThenOptimize",
    "PrefetchedTargets",
    "Ranking",
    "Rebar",
    "Reinforce",
    "Relax",
    "RegretError",
    "RegretLoss",
    "RegularizedFrankWolfe",
    "ReinMax",
    "SPOPlus",
    "Sense",
    "ShortestPath",
    "SoftSub",
    "Solution",
    "SolutionPool",
    "SolveError",
    "Solver",
    "SolverPool",
    "SpanningTree",
    "SparseMAP",
    "Status",
    "StepProfile",
    "StochasticSoftmaxTrick",
    "StraightThrough",
    "StructuredHinge",
    "SumOfGamma",
    "TopK",
    "Traits",
    "UnsupportedModelError",
    "ValidationRegret",
    "applicable",
    "calibrate_temperature",
    "estimate",
    "expectation",
    "fit",
    "pathwise",
    "predict_costs",
    "wrap",
}

HEAVY = (
    "torch",
    "ortools",
    "pulp",
    "networkx",
    "cvxpy",
    "highspy",
    "numba",
    "sklearn",
    "pandas",
    "pyarrow",
    "scipy",
)


def stub_imports() -> dict[str, str]:
    """Public name -> the module that the stub takes it from."""
    tree = ast.parse(Path(imle_opt.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname
    }


def test_the_public_surface_is_pinned():
    assert set(imle_opt.__all__) == SURFACE
    assert set(stub_imports()) == SURFACE
    assert set(dir(imle_opt)) == SURFACE


@pytest.mark.parametrize("name", sorted(SURFACE))
def test_stub_and_runtime_agree(name):
    home = importlib.import_module(stub_imports()[name])
    assert getattr(imle_opt, name) is getattr(home, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'imle_opt' has no attribute 'IMLEE'"):
        _ = imle_opt.IMLEE
    assert not hasattr(imle_opt_solvers, "torch")


def test_the_alias_names_the_same_objects():
    from imle_opt import solvers

    assert set(solvers.__all__) == set(imle_opt_solvers.__all__) == set(dir(solvers))
    for name in solvers.__all__:
        assert getattr(solvers, name) is getattr(imle_opt_solvers, name), name


def test_regret_is_reached_by_its_short_name():
    import imle_opt_solvers.regret
    from imle_opt import regret

    assert regret.__all__ == imle_opt_solvers.regret.__all__
    assert regret.evaluate is imle_opt_solvers.regret.evaluate


def loaded_after(code: str) -> set[str]:
    """Run `code` in a fresh interpreter; return which of `HEAVY` it loaded."""
    program = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import imle_opt",
        "import imle_opt_solvers",
        "import imle_opt.solvers",
        "import imle_opt.regret",
        "from imle_opt import wrap, Limits, Solver, InvalidInputError, regret",
        "from imle_opt.solvers import FunctionSolver, wrap",
    ],
)
def test_importing_loads_no_solver_package_and_no_torch(code):
    assert loaded_after(code) == set()


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("from imle_opt import ShortestPath", "torch"),
        ("from imle_opt_solvers import HighsSolver", "torch"),
        ("from imle_opt_solvers import testing, reference", "torch"),
    ],
)
def test_the_numpy_side_never_loads_torch(code, used):
    assert used not in loaded_after(code)


@pytest.mark.parametrize("package", [imle_opt, imle_opt_solvers])
def test_no_module_hides_a_public_name(package):
    """Importing `imle_opt.expectation` would turn a function of that name into the module."""
    modules = {info.name for info in pkgutil.iter_modules(package.__path__)}
    shared = modules & set(package.__all__)
    for name in sorted(shared):
        value = getattr(package, name)
        module = importlib.import_module(f"{package.__name__}.{name}")
        assert getattr(package, name) is value
        assert (value is module) == (name != "wrap"), f"{package.__name__}.{name} is {value!r}"
