"""Wrap any combinatorial optimizer as a torch layer, learn its costs from data, measure the regret.

    from imle_opt import ExplicitMLE, fit, regret, wrap

Every public name is listed in this package's stub, `__init__.pyi`. A name loads its module, and with it torch
or a solver package, on first use: `import imle_opt` loads neither.
"""

from __future__ import annotations

from imle_opt_solvers._lazy import lazy_names

__version__ = "0.1.0"

_HOMES = {
    "imle_opt_solvers": (
        "Assignment",
        "CachedSolver",
        "CostDomain",
        "FunctionSolver",
        "ImleOptError",
        "InvalidInputError",
        "Knapsack",
        "Limits",
        "MissingCapabilityError",
        "MissingDependencyError",
        "ModelError",
        "OneHot",
        "Ranking",
        "RegretError",
        "Sense",
        "ShortestPath",
        "Solution",
        "SolveError",
        "Solver",
        "SolverPool",
        "SpanningTree",
        "Status",
        "TopK",
        "Traits",
        "UnsupportedModelError",
        "wrap",
    ),
    "imle_opt.families": (
        "Bernoulli",
        "Categorical",
        "DeviceGridPath",
        "DeviceRanking",
        "KSubset",
        "Polytope",
        "SolutionPool",
        "applicable",
    ),
    "imle_opt.noise": (
        "Exponential",
        "Gumbel",
        "Logistic",
        "Multiplicative",
        "NoNoise",
        "Normal",
        "SumOfGamma",
    ),
    "imle_opt.calibration": ("calibrate_temperature",),
    "imle_opt.targets": ("PID", "Adaptive", "Eq14"),
    "imle_opt.layers": (
        "BlackBox",
        "GumbelRao",
        "GumbelSoftmax",
        "IMLE",
        "Identity",
        "L2X",
        "Perturbed",
        "RegularizedFrankWolfe",
        "ReinMax",
        "SoftSub",
        "SparseMAP",
        "StochasticSoftmaxTrick",
        "StraightThrough",
    ),
    "imle_opt.losses": (
        "CMAP",
        "CaVE",
        "DirectionalGradient",
        "ExplicitMLE",
        "FenchelYoung",
        "HammingLoss",
        "ListwiseRanking",
        "NCE",
        "PairwiseRanking",
        "PointwiseRanking",
        "RegretLoss",
        "SPOPlus",
        "StructuredHinge",
    ),
    "imle_opt.estimators": (
        "AR",
        "ARM",
        "ARS",
        "ARSM",
        "DisARM",
        "Enumerate",
        "Estimate",
        "MovingAverage",
        "Rebar",
        "Reinforce",
        "Relax",
        "pathwise",
    ),
    "imle_opt.expectations": ("estimate", "expectation"),
    "imle_opt.regularized": ("BinaryEntropy", "HalfSquaredNorm", "NegativeEntropy"),
    "imle_opt.prefetch": ("PrefetchedTargets",),
    "imle_opt.profiling": ("StepProfile",),
    "imle_opt.distribution": ("ConstrainedExponentialFamily",),
    "imle_opt.training": ("FitResult", "ValidationRegret", "fit", "predict_costs"),
    "imle_opt.estimator": ("PredictThenOptimize",),
}
_MODULES = (
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
)

__all__ = sorted(  # pyright: ignore[reportUnsupportedDunderAll]  # type checkers read the stub
    [*_MODULES, *(name for names in _HOMES.values() for name in names)]
)
__getattr__, __dir__ = lazy_names(__name__, homes=_HOMES, modules=_MODULES, public=__all__)
