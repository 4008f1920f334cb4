"""Discrete variational autoencoders: test ELBO by epoch, the latents classes or k-subsets.

    maximise E log p(x | z) - KL(q(z | x) || uniform),   z ~ q(z | x), the decisions' exponential family

x are handwritten digits of zeros and ones, p(x | z) independent pixels; encoder and decoder are networks. A
method estimates the gradient of E log p(x | z) by the logits of q. The KL is exact, for training and in the
figures: `log M + <E z, theta> - A(theta)` for M decisions. (The I-MLE paper takes KL(softmax(theta) ||
uniform) for k-subsets too, which is another number and gives no bound.) The ELBO of every method is evaluated
in the same way, with exact samples of q: a bound on log p(x) in nats per digit, whatever the method trained
with.

All methods have the same two learning rates, of which validation chooses. Lambda is 0.1: the 10 of the
paper, whose loss is a mean over 100 digits, for the gradient of one digit. The temperatures are not tuned.

`python benchmarks/experiments/discrete_vae.py --page docs/experiments` takes a quarter of an hour.
`--mnist PATH` runs it on MNIST with the networks and epochs of the paper, and its k-subsets: many hours.

Source: Niepert, Minervini and Franceschi, NeurIPS 2021, arXiv 2106.01798, Section 6.2, Figure 4.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from digits import Digits, mnist, small_digits
from experiment import Call, Record, Runs, call, parser, provenance, runs_of, table, write_page
from networks import Networks
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from imle_opt import (
    ARSM,
    IMLE,
    PID,
    Adaptive,
    Categorical,
    Gumbel,
    GumbelSoftmax,
    KSubset,
    Reinforce,
    Relax,
    SoftSub,
    StochasticSoftmaxTrick,
    StraightThrough,
    SumOfGamma,
    estimate,
    expectation,
    pathwise,
)
from imle_opt.layers.layer import Layer

NAME = "discrete_vae"
RUNS = 3
"""Trained side by side; nothing but AIMLE's alpha is shared."""
BATCH = 100
RATES = (3e-3, 1e-2)
SAMPLES = 20
"""Of z per digit, for the ELBO."""
OWN_DRAWS = 5
"""Of a method's own samples; one draw of AIMLE has four."""
CHUNK = 500
"""Digits that are evaluated at once."""
STRENGTH = 0.1
DENSITY = 10 / 400
"""Share of the entries that AIMLE's steps are to change: the authors' 10 for 20 subsets of 20."""
HIDDEN = 64
"""Units of RELAX's surrogate, one hidden layer."""


@dataclass(frozen=True)
class Latent:
    """Independent discrete variables, as many as a digit is encoded by.

    Args:
        family: of a decision of `shape`.
        shape: (variables, classes), or (subsets, entries).
    """

    family: Categorical | KSubset
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """How many entries a decision has."""
        return math.prod(self.shape)

    @property
    def log_count(self) -> float:
        """Logarithm of the number of decisions."""
        variables, entries = self.shape
        choices = math.comb(entries, self.family.k) if isinstance(self.family, KSubset) else entries
        return variables * math.log(choices)

    def divergence(self, logits: Tensor) -> Tensor:
        """Return KL(q || uniform) of each row, exactly: `log M + <E z, theta> - A(theta)`."""
        inner = (self.family.marginals(logits) * logits).sum((-1, -2))
        return self.log_count + inner - self.family.log_partition(logits)


@dataclass(frozen=True)
class Setting:
    """What a data set is modelled with.

    Args:
        hidden: units of the encoder's hidden layers.
        hidden_back: of the decoder's.
        latents: what z can be, by name.
        epochs: over the training digits.
        every: so many epochs a point of the curves.
    """

    hidden: tuple[int, ...]
    hidden_back: tuple[int, ...]
    latents: dict[str, Latent]
    epochs: int
    every: int


SETTINGS = {
    "digits": Setting(
        hidden=(128,),
        hidden_back=(128,),
        latents={
            "categorical": Latent(Categorical(event_dim=2), (8, 8)),
            "k-subset": Latent(KSubset(4, event_dim=2), (8, 8)),
        },
        epochs=100,
        every=5,
    ),
    "MNIST": Setting(
        hidden=(512, 256),
        hidden_back=(256, 512),
        latents={
            "categorical": Latent(Categorical(event_dim=2), (20, 10)),
            "k-subset": Latent(KSubset(10, event_dim=2), (20, 20)),
        },
        epochs=100,
        every=5,
    ),
}


def methods(latent: Latent) -> dict[str, Call]:
    """Return the methods that have a form for the latents, by name."""
    k = latent.family.k if isinstance(latent.family, KSubset) else 1
    summed = SumOfGamma(kappa=k, temperature=k)
    adaptive = call(Adaptive, density=DENSITY * latent.size)
    both = {
        "I-MLE, sum of gamma": call(IMLE, noise=summed, target=PID(STRENGTH)),
        "I-MLE, sum of gamma, 4 samples": call(IMLE, noise=summed, target=PID(STRENGTH), num_samples=4),
        "I-MLE, Gumbel": call(IMLE, noise=Gumbel(1.0), target=PID(STRENGTH)),
        "AIMLE": call(IMLE, noise=summed, target=adaptive, num_samples=4, difference="central"),
        "Straight-through": call(StraightThrough, noise=Gumbel(1.0)),
        "Straight-through, mean": call(StraightThrough, exact=True, through="mean"),
        "Leave-one-out, 4 samples": call(Reinforce, num_samples=4),
    }
    if isinstance(latent.family, KSubset):
        return both | {
            "SoftSub": call(SoftSub, temperature=0.5),
            "Stochastic softmax trick": call(StochasticSoftmaxTrick, temperature=0.5),
        }
    return both | {
        "Gumbel-softmax": call(GumbelSoftmax, temperature=0.5),
        "Gumbel-softmax, hard": call(GumbelSoftmax, temperature=0.5, hard=True),
        "ARSM": call(ARSM),
        "RELAX": call(Relax, with_relaxation=True),
        "RELAX, black box": call(Relax),
    }


class Surrogate(nn.Module):
    """What RELAX subtracts: a tanh network per run, of zeta and of the digit.

    Attributes:
        x: the digits of the batch, (runs, rows, pixels); to be set before each step.
    """

    def __init__(self, inputs: int, source: torch.Generator) -> None:
        super().__init__()
        self.network = Networks((inputs, HIDDEN, 1), RUNS, source, torch.tanh)
        self.x = torch.empty(0)

    def forward(self, zeta: Tensor) -> Tensor:
        """Return one value per sample and digit."""
        flat = zeta.flatten(-2)
        output: Tensor = self.network(torch.cat([flat, self.x.expand(*flat.shape[:-1], -1)], -1))
        return output[..., 0]


class Model(nn.Module):
    """An autoencoder per run.

    Args:
        pixels: of a digit.
        setting: sizes of the networks.
        latent: what is between them.
        source: of the start.
    """

    def __init__(self, pixels: int, setting: Setting, latent: Latent, source: torch.Generator) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = Networks((pixels, *setting.hidden, latent.size), RUNS, source)
        self.decoder = Networks((latent.size, *setting.hidden_back, pixels), RUNS, source)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of q(z | x), (runs, rows, *shape)."""
        encoded: Tensor = self.encoder(x)
        return encoded.unflatten(-1, self.latent.shape)

    def reconstruction(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return f: decisions (..., runs, rows, *shape) to `-log p(x | z)`, (..., runs, rows)."""

        def f(z: Tensor) -> Tensor:
            logits = self.decoder(z.flatten(-2))
            return binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)

        return f


def made_estimator(method: Call, pixels: int, latent: Latent, source: torch.Generator) -> Any:
    """Return the estimator of a method, new."""
    if issubclass(method.maker, Layer):
        return pathwise(method.make(latent.family))
    if method.maker is not Relax:
        return method.make()
    made = method.make(Surrogate(latent.size + pixels, source))
    if made.log_temperature is not None:  # one for each run
        made.log_temperature = nn.Parameter(made.log_temperature.detach().repeat(RUNS, 1, 1, 1))
    return made


@torch.no_grad()
def figures(model: Model, digits: Tensor, estimator: Any = None) -> dict[str, Tensor]:
    """Return means over digits, for each run: ELBO, KL, and "own", an ELBO from a method's own samples.

    The last is a bound for methods that train with exact samples of q, and only for them.
    """
    source = torch.Generator().manual_seed(1)
    family = model.latent.family
    parts: dict[str, list[Tensor]] = {"elbo": [], "kl": [], "own": []}
    for rows in digits.split(CHUNK):
        x = rows.expand(RUNS, -1, -1)
        logits, f = model.logits(x), model.reconstruction(x)
        divergence = model.latent.divergence(logits)
        parts["kl"].append(divergence)
        parts["elbo"].append(-f(family.sample(logits, SAMPLES, source)).mean(0) - divergence)
        if estimator is not None:
            repeated = logits.expand(OWN_DRAWS, *logits.shape)
            own = expectation(f, repeated, family, estimator, generator=source).mean(0)
            parts["own"].append(-own - divergence)
    return {name: torch.cat(values, 1).mean(1) for name, values in parts.items() if values}


def run(digits: Digits, setting: Setting, latent: Latent, method: Call, rate: float, epochs: int) -> Record:
    """Train all runs of a method, and return the curves: at each point a figure per run."""
    source = torch.Generator().manual_seed(0)
    rows, pixels = digits.train.shape
    model = Model(pixels, setting, latent, source)
    estimator = made_estimator(method, pixels, latent, source)
    own = list(estimator.parameters()) if isinstance(estimator, nn.Module) else []
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    tuner = torch.optim.Adam(own, lr=rate) if own else None
    points: list[Record] = []
    decoded = 0
    for epoch in range(epochs + 1):
        if epoch % setting.every == 0 or epoch == epochs:
            points.append(point(epoch, model, estimator, digits))
        if epoch == epochs:
            break
        for chosen in torch.rand(RUNS, rows, generator=source).argsort(1).split(BATCH, 1):
            decoded += step(model, estimator, digits.train[chosen], adam, tuner, source)
    return {
        "curves": {name: [shown[name] for shown in points] for name in points[0]},
        "decoded": round(decoded / (epochs * RUNS * rows), 2),
    }


def point(epoch: int, model: Model, estimator: Any, digits: Digits) -> Record:
    """Return a point of the curves: a figure per run."""
    chosen, test = figures(model, digits.validation), figures(model, digits.test, estimator)
    shown = {"validation": chosen["elbo"], "test": test["elbo"], "own": test["own"], "kl": test["kl"]}
    return {
        "epoch": epoch,
        **{name: [round(value, 3) for value in of.tolist()] for name, of in shown.items()},
    }


def step(
    model: Model,
    estimator: Any,
    x: Tensor,
    adam: torch.optim.Optimizer,
    tuner: torch.optim.Optimizer | None,
    source: torch.Generator,
) -> int:
    """Take a step on a batch, (runs, rows, pixels), and return how many z were decoded."""
    decoded = 0
    f = model.reconstruction(x)

    def counted(z: Tensor) -> Tensor:
        nonlocal decoded
        decoded += z.shape[:-2].numel()
        return f(z)

    if isinstance(estimator, Relax):
        estimator.surrogate.x = x
    logits = model.logits(x)
    result = estimate(counted, logits, model.latent.family, estimator, generator=source)
    adam.zero_grad()
    (result.value + model.latent.divergence(logits)).mean(1).sum().backward()
    adam.step()
    if tuner is not None and result.variance_loss is not None:
        tuner.zero_grad()
        result.variance_loss.backward()
        tuner.step()
    return decoded


def run_all(runs: Runs, only: str, quick: bool, name: str, digits: Digits) -> None:
    setting = SETTINGS[name]
    epochs, rates = (2, RATES[:1]) if quick else (setting.epochs, RATES)
    digits = digits.first(BATCH + 1) if quick else digits
    for rate in rates:
        for latent_name, latent in setting.latents.items():
            for method, made in methods(latent).items():
                if only not in method:
                    continue
                key = {
                    "data": name,
                    "digits": len(digits.train),
                    "latent": latent_name,
                    "shape": latent.shape,
                    "method": method,
                    "settings": str(made),
                    "rate": rate,
                    "epochs": epochs,
                    "runs": RUNS,
                    "seed": 0,
                }
                runs.complete(
                    key,
                    lambda latent=latent, made=made, rate=rate: run(
                        digits, setting, latent, made, rate, epochs
                    ),
                )


def best_point(record: Record, which: int) -> int:
    """Return where a run's ELBO on the validation digits is largest, as a place in the curves."""
    values = [point[which] for point in record["curves"]["validation"]]
    return values.index(max(values))


def at_best(record: Record, what: str) -> list[float]:
    """Return a figure of each run where its validation ELBO is largest."""
    points = record["curves"][what]
    return [points[best_point(record, which)][which] for which in range(record["key"]["runs"])]


def chosen_rates(found: list[Record], latent: str) -> list[Record]:
    """Return the record of the rate that validation chooses for each method, the best test ELBO first."""
    best: dict[str, Record] = {}
    for record in (record for record in found if record["key"]["latent"] == latent):
        rival = best.setdefault(record["key"]["method"], record)
        if _mean(at_best(record, "validation")) > _mean(at_best(rival, "validation")):
            best[record["key"]["method"]] = record
    return sorted(best.values(), key=lambda record: -_mean(at_best(record, "test")))


def text(found: list[Record]) -> str:
    """Return the section of the documentation."""
    header = ["test ELBO", "at the end", "own samples", "KL", "best epoch", "rate", "decodings"]
    parts: list[str] = []
    for latent in dict.fromkeys(record["key"]["latent"] for record in found):
        chosen = chosen_rates(found, latent)
        variables, entries = chosen[0]["key"]["shape"]
        what = "variables of" if latent == "categorical" else "subsets of half of"
        parts.append(f"{variables} {what} {entries}:\n\n{table([latent, *header], map(_row, chosen))}\n")
        options = (f"{record['key']['method']}: `{record['key']['settings']}`" for record in chosen)
        parts.append(f"{'; '.join(options)}.\n\n")
    key = found[0]["key"]
    rates = sorted({record["key"]["rate"] for record in found})
    parts.append(
        f"Means ± standard deviations of {key['runs']} runs, seed {key['seed']}, on {key['digits']:,} digits "
        f"for {key['epochs']} epochs in batches of {BATCH}, by Adam at the best on the validation digits of "
        f"{', '.join(f'{rate:g}' for rate in rates)}; {SAMPLES} samples per digit in the figures. The runs "
        f"share AIMLE's alpha. {provenance(found)}\n"
    )
    return "".join(parts)


def _row(record: Record) -> list[str]:
    return [
        record["key"]["method"],
        _mean_sd(at_best(record, "test")),
        _mean_sd(record["curves"]["test"][-1]),
        f"{_mean(at_best(record, 'own')):.2f}",
        f"{_mean(at_best(record, 'kl')):.2f}",
        _epochs(record),
        f"{record['key']['rate']:g}",
        f"{record['decoded']:g}",
    ]


def _epochs(record: Record) -> str:
    places = [best_point(record, which) for which in range(record["key"]["runs"])]
    epochs = sorted({record["curves"]["epoch"][place] for place in places})
    return f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"


def _mean(values: list[float]) -> float:
    return statistics.mean(values)


def _mean_sd(values: list[float]) -> str:
    return f"{_mean(values):.2f} ± {statistics.stdev(values):.2f}"


def draw(figure: Any, found: list[Record]) -> None:
    latents = list(dict.fromkeys(record["key"]["latent"] for record in found))
    names = list(dict.fromkeys(record["key"]["method"] for record in found))
    panels = figure.subplots(1, len(latents), sharey=True, squeeze=False)[0]
    best = -math.inf
    for axes, latent in zip(panels, latents, strict=True):
        for record in chosen_rates(found, latent):
            number = names.index(record["key"]["method"])
            look = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--", "linewidth": 1}
            means = [_mean(values) for values in record["curves"]["test"]]
            axes.plot(record["curves"]["epoch"], means, label=names[number], **look)
            best = max(best, *means)
        axes.set(title=latent, xlabel="epoch")
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    panels[0].set_ylabel("test ELBO, nats per digit, mean of the runs")
    panels[0].set_ylim(best - 9, best + 0.5)


def main() -> None:
    made = parser(__doc__ or "", NAME)
    made.add_argument("--mnist", type=Path, help="an .npz of MNIST, or the folder of its idx files")
    arguments = made.parse_args()
    torch.set_num_threads(1)
    data, name = ("MNIST", f"{NAME}_mnist") if arguments.mnist else ("digits", NAME)
    runs = runs_of(arguments, name)
    if not arguments.draw:
        digits = mnist(arguments.mnist) if arguments.mnist else small_digits()
        run_all(runs, arguments.only, arguments.quick, data, digits)
    found = runs.read()
    print(text(found))
    if arguments.page:
        write_page(arguments.page, name, text(found), lambda figure: draw(figure, found), (9, 5.5))


if __name__ == "__main__":
    main()
