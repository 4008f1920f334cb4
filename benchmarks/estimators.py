"""Every estimator on every toy: bias against enumeration, variance, cost; and what a step costs beside f.

Bias is measured in standard errors of the mean over a million replicates (the rows of a batch, in float64).
Unbiased estimators stay below 4.5. Variances are sums over the entries of one gradient estimate; a fair
comparison multiplies them by the evaluations of f.

Run it with `python benchmarks/estimators.py`; it takes a few minutes. `--write` saves the tables that the
documentation shows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imle_opt import (
    AR,
    ARM,
    ARS,
    ARSM,
    Bernoulli,
    Categorical,
    DisARM,
    Enumerate,
    Gumbel,
    KSubset,
    Logistic,
    Rebar,
    Reinforce,
    StraightThrough,
    expectation,
    pathwise,
)
from imle_opt.diagnostics import gradient_stats, markdown_table
from imle_opt.estimators import Estimator
from imle_opt.families import MAPOracle, SpanningTree

TABLES = Path(__file__).parent.parent / "docs" / "estimators" / "tables.md"


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


def estimators_for(family: MAPOracle) -> dict[str, Estimator]:
    """Return what is compared on a family: unbiased ones first, the straight-through lift last."""
    found: dict[str, Estimator] = {
        "Enumerate": Enumerate(),
        "Reinforce(1, 'none')": Reinforce(1, "none"),
        "Reinforce(2)": Reinforce(2),
        "Reinforce(4)": Reinforce(4),
    }
    if isinstance(family, Bernoulli):
        found |= {"AR": AR(), "ARM": ARM(), "DisARM": DisARM(), "DisARM(2)": DisARM(2), "Rebar": Rebar()}
        found["pathwise(StraightThrough), biased"] = pathwise(StraightThrough(family, noise=Logistic()))
    if isinstance(family, Categorical):
        found |= {"AR": AR(), "ARS": ARS(), "ARSM": ARSM(), "Rebar": Rebar()}
        found["pathwise(StraightThrough), biased"] = pathwise(StraightThrough(family, noise=Gumbel()))
    return found


def toy_table(toy: Toy, replicates: int, seed: int) -> str:
    rows = {}
    for name, estimator in estimators_for(toy.family).items():
        source = torch.Generator().manual_seed(seed)
        number = 2 if name == "Enumerate" else replicates
        stats = gradient_stats(estimator, toy.f, toy.theta, toy.family, number, generator=source)
        rows[name] = stats
        biased = name.endswith("biased")
        assert biased or stats.largest_z < 4.5, f"{toy.name}, {name}: |z| = {stats.largest_z:.1f}"
    return markdown_table(rows)


def overhead(estimator: Estimator, repeats: int = 300) -> float:
    """Return the median time of a step beside that of f, in seconds, at 64 rows of 40 entries."""
    theta = torch.randn(64, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    source = torch.Generator().manual_seed(0)
    inside: list[float] = []

    def f(z: Tensor) -> Tensor:
        start = time.perf_counter()
        values = z.square().sum(-1)
        inside.append(time.perf_counter() - start)
        return values

    steps: list[float] = []
    for _ in range(repeats):
        theta.grad = None
        start = time.perf_counter()
        expectation(f, theta, Bernoulli(), estimator, generator=source).sum().backward()
        steps.append(time.perf_counter() - start - inside[-1])
    return statistics.median(steps)


def overhead_table() -> str:
    torch.set_num_threads(1)
    lines = ["| estimator | ms per step beside f |", "|---|---:|"]
    for name, estimator in {
        "Reinforce(8)": Reinforce(8),
        "Reinforce(8, 'none')": Reinforce(8, "none"),
        "ARM(8)": ARM(8),
        "DisARM(8)": DisARM(8),
        "AR(8)": AR(8),
    }.items():
        lines.append(f"| `{name}` | {1e3 * overhead(estimator):.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bias, variance and cost of gradient estimators.")
    parser.add_argument("--replicates", type=int, default=1_000_000, help="at least 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"save the tables to {TABLES.name} of the docs")
    arguments = parser.parse_args()
    parts = [f"**{toy.name}**\n\n{toy_table(toy, arguments.replicates, arguments.seed)}" for toy in TOYS]
    parts.append(
        f"**A step beside f, at S = 8 samples (or pairs), 64 rows, 40 bits, one core**\n\n{overhead_table()}"
    )
    heading = f"{arguments.replicates:,} replicates each, seed {arguments.seed}."
    text = "\n\n".join([heading, *parts]) + "\n"
    print(text)
    if arguments.write:
        TABLES.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
