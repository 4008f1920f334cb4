"""Every estimator on every toy: bias against enumeration, variance, cost; and what a step costs beside f.

Bias is measured in standard errors of the mean over a million replicates (the rows of batches, in float64);
unbiased estimators must stay below 4.5. Lifted layers are biased, and their relative error is told apart from
noise by fewer replicates; what uses no random numbers needs few. Variances are sums over the entries of one
gradient estimate; a fair comparison multiplies them by the evaluations of f. Times are processor time, the
median of calls of 4,096 replicates after one that does not count.

Networks, REBAR's parameters, moving averages and AIMLE's alpha are tuned beforehand, on the toy itself.

Every row is saved to `benchmarks/results/estimators.jsonl` and not run again. `python
benchmarks/estimators.py --write` takes five to ten minutes, and writes the tables of the documentation from
that file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from experiments.experiment import RESULTS, Call, Record, Runs, call, provenance, table
from torch import Tensor, nn

from imle_opt import (
    AR,
    ARM,
    ARS,
    ARSM,
    IMLE,
    L2X,
    PID,
    Adaptive,
    Bernoulli,
    BinaryEntropy,
    BlackBox,
    Categorical,
    DisARM,
    Enumerate,
    Gumbel,
    GumbelRao,
    GumbelSoftmax,
    Identity,
    KSubset,
    Logistic,
    MovingAverage,
    Normal,
    Perturbed,
    Rebar,
    RegularizedFrankWolfe,
    Reinforce,
    ReinMax,
    Relax,
    SoftSub,
    SparseMAP,
    StochasticSoftmaxTrick,
    StraightThrough,
    SumOfGamma,
    estimate,
    expectation,
    pathwise,
)
from imle_opt.diagnostics import GradientStats, gradient_stats, markdown_table
from imle_opt.estimators import Estimator
from imle_opt.families import MAPOracle, SpanningTree
from imle_opt.noise import Noise

TABLES = Path(__file__).parent.parent / "docs" / "estimators" / "tables.md"
REPLICATES, OF_BIASED, OF_CERTAIN = 1_000_000, 50_000, 256
SEED = 0
MOMENTS = ("mean", "variance", "standard_error", "exact", "z")


@dataclass(frozen=True)
class Toy:
    """A function of decisions, at logits where it is far from settled."""

    name: str
    family: MAPOracle
    event: tuple[int, ...]
    f: Callable[[Tensor], Tensor]

    @property
    def theta(self) -> Tensor:
        """Standard normal logits."""
        source = torch.Generator().manual_seed(1)
        return torch.randn(*self.event, generator=source, dtype=torch.float64)


def quadratic(event: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Return `||z - b||^2 + <z, b>^2`, with b between -1 and 2."""
    target = torch.linspace(-1, 2, torch.Size(event).numel(), dtype=torch.float64).reshape(event)
    dims = tuple(range(-len(event), 0))
    return lambda z: (z - target.to(z)).square().sum(dims) + (z * target.to(z)).sum(dims).square()


def ramp(classes: int) -> Callable[[Tensor], Tensor]:
    """Return the toy of the ARSM paper with C = R: `0.5 + c / (C R)` for the class c = 1..C."""
    rewards = 0.5 + torch.arange(1, classes + 1, dtype=torch.float64) / classes**2
    return lambda z: (z * rewards.to(z)).sum(-1)


TOYS = (
    Toy(
        "One bit, f = (z - 0.45)² (the toy of the RELAX paper)",
        Bernoulli(),
        (1,),
        lambda z: (z[..., 0] - 0.45) ** 2,
    ),
    Toy("Ten bits, quadratic f", Bernoulli(), (10,), quadratic((10,))),
    Toy(
        "One choice of 30, f linear in the class (the toy of the ARSM paper)", Categorical(), (30,), ramp(30)
    ),
    Toy("Three choices of 4, quadratic f", Categorical(event_dim=2), (3, 4), quadratic((3, 4))),
    Toy("5-subsets of 10, quadratic f", KSubset(5), (10,), quadratic((10,))),
    Toy("Spanning trees of 5 nodes, quadratic f", SpanningTree(5), (10,), quadratic((10,))),
)


@dataclass(frozen=True)
class Row:
    """An estimator of the table.

    Args:
        name: as it is written.
        make: from a toy to the estimator.
        replicates: how many.
        unbiased: whether its mean must be the exact gradient.
    """

    name: str
    make: Callable[[Toy], Estimator]
    replicates: int = REPLICATES
    unbiased: bool = True


class Network(nn.Module):
    """A small network of one decision: (*batch, *event) to (*batch)."""

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        self.event_dim = len(event)
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            size = torch.Size(event).numel()
            self.layers = nn.Sequential(nn.Linear(size, 32), nn.Tanh(), nn.Linear(32, 1)).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return one number per decision."""
        values: Tensor = self.layers(x.flatten(x.ndim - self.event_dim))[..., 0]
        return values


def estimators_for(family: MAPOracle) -> list[Row]:
    """Return the unbiased estimators that a family can be used with."""
    rows = [
        Row("Enumerate()", lambda toy: Enumerate(), OF_CERTAIN),
        Row("Reinforce(1, 'none')", lambda toy: Reinforce(1, "none")),
        Row("Reinforce(1, MovingAverage())", lambda toy: Reinforce(1, MovingAverage().double())),
        Row("Reinforce(1, network)", lambda toy: Reinforce(1, Network(toy.event))),
        Row("Reinforce(2)", lambda toy: Reinforce(2)),
        Row("Reinforce(4)", lambda toy: Reinforce(4)),
    ]
    if isinstance(family, (Bernoulli, Categorical)):
        rows += [
            Row("Rebar()", lambda toy: Rebar()),
            Row("Relax(network)", lambda toy: Relax(Network(toy.event))),
            Row(
                "Relax(network, with_relaxation=True)",
                lambda toy: Relax(Network(toy.event), with_relaxation=True),
            ),
            Row("AR()", lambda toy: AR()),
        ]
    if isinstance(family, Bernoulli):
        rows += [
            Row("ARM()", lambda toy: ARM()),
            Row("DisARM()", lambda toy: DisARM()),
            Row("DisARM(2)", lambda toy: DisARM(2)),
        ]
    if isinstance(family, Categorical):
        rows += [Row("ARS()", lambda toy: ARS()), Row("ARSM()", lambda toy: ARSM())]
    return rows


def layers_for(toy: Toy) -> list[Row]:
    """Return the layers that a toy's family can be used with: biased, all of them."""
    family, ones = toy.family, toy.family.map(toy.theta).sum().item()
    exact: dict[type, Noise] = {Bernoulli: Logistic(), Categorical: Gumbel()}
    noise = exact.get(type(family), SumOfGamma(kappa=ones, temperature=ones))
    random = [
        call(StraightThrough, noise=noise),
        call(StraightThrough, exact=True, through="mean"),
        call(IMLE, noise=noise, target=PID(1.0)),
        call(IMLE, noise=noise, target=PID(1.0), difference="central"),
        call(IMLE, noise=noise, target=call(Adaptive), difference="central"),
        call(Perturbed, noise=Normal(1.0), num_samples=4),
    ]
    if isinstance(family, (Bernoulli, Categorical)):
        random += [
            call(GumbelSoftmax, temperature=0.5),
            call(GumbelSoftmax, temperature=0.5, hard=True),
            call(GumbelRao, temperature=0.5),
        ]
    if isinstance(family, Categorical):
        random += [call(ReinMax)]
    if isinstance(family, KSubset):
        random += [call(SoftSub, temperature=0.5), call(L2X, temperature=0.5)]
    # Its own noise, Gumbel's, is that of a choice: a bit is one where logistic noise is above a threshold.
    of_bits = {"noise": noise} if isinstance(family, Bernoulli) else {}
    random += [call(StochasticSoftmaxTrick, temperature=0.5, **of_bits)]
    certain = [
        call(BlackBox, strength=1.0),
        call(Identity),
        call(SparseMAP),
        call(RegularizedFrankWolfe, regularizer=BinaryEntropy(1.0)),
    ]
    return [
        *(_lifted(layer, OF_BIASED) for layer in random),
        *(_lifted(layer, OF_CERTAIN) for layer in certain),
    ]


def _lifted(layer: Call, replicates: int) -> Row:
    make = lambda toy: pathwise(layer.make(toy.family))  # noqa: E731
    return Row(f"pathwise({layer})", make, replicates, unbiased=False)


def tuned(estimator: Estimator, toy: Toy, steps: int = 300) -> Estimator:
    """Return the estimator after steps of its own parameters and state on the toy."""
    if not isinstance(estimator, nn.Module) or not estimator.state_dict():
        return estimator
    source = torch.Generator().manual_seed(SEED + 1)
    theta = toy.theta.expand(256, *toy.event).clone().requires_grad_()
    parameters = [p for p in estimator.parameters() if p.requires_grad]
    adam = torch.optim.Adam(parameters, lr=0.01) if parameters else None
    for _ in range(steps):
        result = estimate(toy.f, theta, toy.family, estimator, generator=source)
        result.value.sum().backward()
        if adam is not None and result.variance_loss is not None:
            adam.zero_grad()
            result.variance_loss.backward()
            adam.step()
    return estimator


def measured(row: Row, toy: Toy, replicates: int) -> Record:
    """Return the moments of an estimator on a toy, as they are saved."""
    estimator = tuned(row.make(toy), toy)
    source = torch.Generator().manual_seed(SEED)
    stats = gradient_stats(estimator, toy.f, toy.theta, toy.family, replicates, generator=source)
    assert not row.unbiased or stats.largest_z < 4.5, f"{toy.name}, {row.name}: |z| = {stats.largest_z:.1f}"
    return {
        **{name: getattr(stats, name).tolist() for name in MOMENTS},
        "evaluations": stats.evaluations,
        "per_gradient": time_of(estimator, toy, min(replicates, 4096)),
    }


def time_of(estimator: Estimator, toy: Toy, rows: int, repeats: int = 9) -> float:
    """Return the processor time of a gradient in a batch of rows, the median of some calls, in seconds."""
    source = torch.Generator().manual_seed(SEED)
    theta = toy.theta.expand(rows, *toy.event).clone().requires_grad_()
    times: list[float] = []
    for _ in range(repeats + 1):
        start = time.process_time()
        value = expectation(toy.f, theta, toy.family, estimator, generator=source)
        torch.autograd.grad(value.sum(), theta)
        times.append((time.process_time() - start) / rows)
    return statistics.median(times[1:])


def stats_of(run: Record) -> GradientStats:
    """Return what `measured` saved."""
    moments = {name: torch.tensor(run[name], dtype=torch.float64) for name in MOMENTS}
    return GradientStats(
        **moments,
        evaluations=run["evaluations"],
        seconds=run["per_gradient"],
        replicates=run["key"]["replicates"],
    )


def overhead(make: Callable[[], Estimator], repeats: int = 300) -> Record:
    """Return the median processor time of a step beside that of f, in seconds, at 64 rows of 40 entries."""
    theta = torch.randn(64, 40, generator=torch.Generator().manual_seed(SEED)).requires_grad_()
    source = torch.Generator().manual_seed(SEED)
    estimator, inside = make(), [0.0]

    def f(z: Tensor) -> Tensor:
        start = time.process_time()
        values = z.square().sum(-1)
        inside.append(time.process_time() - start)
        return values

    steps: list[float] = []
    for _ in range(repeats):
        theta.grad = None
        start = time.process_time()
        expectation(f, theta, Bernoulli(), estimator, generator=source).sum().backward()
        steps.append(time.process_time() - start - inside[-1])
    return {"per_step": statistics.median(steps)}


STEPS: dict[str, Callable[[], Estimator]] = {
    "Reinforce(8)": lambda: Reinforce(8),
    "Reinforce(8, 'none')": lambda: Reinforce(8, "none"),
    "ARM(8)": lambda: ARM(8),
    "DisARM(8)": lambda: DisARM(8),
    "AR(8)": lambda: AR(8),
    "pathwise(IMLE(noise=Logistic(), target=PID(1.0), num_samples=8))": lambda: pathwise(
        IMLE(Bernoulli(), noise=Logistic(), target=PID(1.0), num_samples=8)
    ),
}


def rows_of(toy: Toy) -> list[Row]:
    """Return what the table of a toy shows, in this order."""
    return [*estimators_for(toy.family), *layers_for(toy)]


def run_all(runs: Runs, most: int) -> None:
    for toy in TOYS:
        for row in rows_of(toy):
            number = min(row.replicates, most)
            key = {"toy": toy.name, "estimator": row.name, "unbiased": row.unbiased, "replicates": number}
            runs.complete({**key, "seed": SEED}, lambda r=row, t=toy, n=number: measured(r, t, n))
    for name, make in STEPS.items():
        runs.complete({"step of": name}, lambda make=make: overhead(make))


def text(found: list[Record]) -> str:
    """Return the tables of the documentation."""
    rows = [run for run in found if "toy" in run["key"]]
    steps = [run for run in found if "step of" in run["key"]]
    unbiased = [run["key"]["replicates"] for run in rows if run["key"]["unbiased"]]
    lifted = [run["key"]["replicates"] for run in rows if not run["key"]["unbiased"]]
    parts = [
        f"{max(unbiased):,} replicates of an unbiased estimator, {max(lifted):,} of a layer, "
        f"{min(unbiased)} of what uses no random numbers; seed {SEED}. {provenance(found)}"
    ]
    for toy in TOYS:
        saved = {run["key"]["estimator"]: stats_of(run) for run in rows if run["key"]["toy"] == toy.name}
        stats = {f"`{row.name}`": saved[row.name] for row in rows_of(toy) if row.name in saved}
        parts.append(f"**{toy.name}**\n\n{markdown_table(stats)}")
    body = [[f"`{run['key']['step of']}`", f"{1e3 * run['per_step']:.2f}"] for run in steps]
    parts.append(
        "**A step beside f, at S = 8 samples (or pairs), 64 rows, 40 bits, one core**\n\n"
        f"{table(['estimator', 'ms per step beside f'], body)}"
    )
    return "\n\n".join(parts).rstrip("\n") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Bias, variance and cost of gradient estimators.")
    parser.add_argument("--replicates", type=int, default=REPLICATES, help="at most, at least 2")
    parser.add_argument("--results", type=Path, default=RESULTS / "estimators.jsonl", help="file of the rows")
    parser.add_argument("--draw", action="store_true", help="run nothing, print what is saved")
    parser.add_argument("--write", action="store_true", help=f"save the tables to {TABLES.name} of the docs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = Runs(arguments.results)
    if not arguments.draw:
        run_all(runs, arguments.replicates)
    tables = text(runs.read())
    print(tables)
    if arguments.write:
        TABLES.write_text(tables, encoding="utf-8")


if __name__ == "__main__":
    main()
