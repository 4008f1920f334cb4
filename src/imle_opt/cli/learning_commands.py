"""`fit`, `predict` and `solve`, the way from features to decisions: their options."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from imle_opt.cli.outcome import ExitCode, end_of

__all__ = ["fit", "predict", "solve"]

Model: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file (.mps, .lp, .gz), path/to/file.py:name, package.module:name, or "
        "grid-path:12x12. Naming Python code runs it.",
    ),
]
Variables: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="A variable whose cost is predicted; repeat it. Without: all with a cost."
    ),
]
Engine: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="auto, highs, native or native:<solver>.")
]
Seconds: TypeAlias = Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit of one solve.")]
RelativeGap: TypeAlias = Annotated[
    float, typer.Option(metavar="SHARE", help="A proven gap that counts as optimal.")
]


class FitOnFailure(StrEnum):
    """What training does with a solve without a proven optimum."""

    RAISE = "raise"
    INCUMBENT = "incumbent"


class SolveOnFailure(StrEnum):
    """`imle_opt_solvers.OnFailure`, as an option."""

    RAISE = "raise"
    INCUMBENT = "incumbent"
    NAN = "nan"


class PredictorOption(StrEnum):
    """`imle_opt.predictors.Kind`, as an option."""

    LINEAR = "linear"
    MLP = "mlp"


class SplitOption(StrEnum):
    """`imle_opt.fitting.settings.SplitBy`, as an option."""

    RANDOM = "random"
    ORDER = "order"


def fit(
    model: Model,
    features: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Features: .csv, .parquet, .npy, .npz; a row per instance."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder for everything that is written.")],
    costs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="True costs, the same rows in the same order.")
    ] = None,
    solutions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Optimal decisions, where costs are not known.")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="explicit-mle, spo+, fenchel-young, imle, blackbox or mse.")
    ] = "explicit-mle",
    predictor: Annotated[PredictorOption, typer.Option(help="The network.")] = PredictorOption.LINEAR,
    hidden: Annotated[int, typer.Option(metavar="NUMBER", help="Width of the mlp's hidden layer.")] = 64,
    epochs: Annotated[int, typer.Option(metavar="NUMBER", help="Passes over the rows, at most.")] = 200,
    patience: Annotated[
        int, typer.Option(metavar="NUMBER", help="Stop after so many epochs without a better validation.")
    ] = 20,
    batch_size: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Rows per step. Without: 32, fewer for few rows.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(metavar="NUMBER", help="Of Adam.")] = 0.01,
    weight_decay: Annotated[float, typer.Option(metavar="NUMBER", help="Of AdamW.")] = 0.0,
    temperature: Annotated[
        float, typer.Option(metavar="NUMBER", help="Of the noise, in units of the spread of the costs.")
    ] = 0.5,
    samples: Annotated[int, typer.Option(metavar="NUMBER", help="Perturbed decisions per row.")] = 4,
    validation_share: Annotated[float, typer.Option(metavar="SHARE", help="Rows for early stopping.")] = 0.2,
    test_share: Annotated[
        float, typer.Option(metavar="SHARE", help="Rows held out for the report; 0 for no report.")
    ] = 0.2,
    split: Annotated[
        SplitOption, typer.Option(help="Hold out rows by chance, or the last ones.")
    ] = SplitOption.RANDOM,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="The same seed gives the same predictor.")] = 0,
    cost_unit: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", help="What costs are counted in. Without: their spread; 1 with solutions."
        ),
    ] = None,
    variables: Variables = None,
    variables_from_table: Annotated[
        bool,
        typer.Option(
            "--variables-from-table", help="Take these names from the header of the costs or solutions."
        ),
    ] = False,
    engine: Engine = "auto",
    seconds: Seconds = None,
    relative_gap: RelativeGap = 0.0,
    on_failure: Annotated[
        FitOnFailure, typer.Option(help="What to do with solves that end without a proven optimum.")
    ] = FitOnFailure.RAISE,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier fit in DIR.")] = False,
) -> int:
    """Train a predictor of costs from tables; the same command again goes on after an interruption."""

    def command() -> ExitCode:
        from imle_opt.cli.fit_command import FitOptions, run_fit_command
        from imle_opt.cli.model_options import ModelOptions
        from imle_opt.fitting import FitSettings

        settings = FitSettings(
            method=method,
            predictor=predictor.value,
            hidden=hidden,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            temperature=temperature,
            num_samples=samples,
            validation_share=validation_share,
            test_share=test_share,
            split=split.value,
            seed=seed,
            cost_unit=cost_unit,
        )
        chosen = ModelOptions(
            model=model,
            variables=tuple(variables or ()),
            variables_from_table=variables_from_table,
            engine=engine,
            seconds=seconds,
            relative_gap=relative_gap,
            on_failure=on_failure.value,
        )
        return run_fit_command(FitOptions(chosen, features, costs, solutions, out, settings, overwrite))

    return end_of(command, model)


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What imle-opt fit --out wrote.")],
    features: Annotated[
        Path, typer.Option(metavar="FILE", help="Features, with the columns that it was fitted with.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the costs go: .csv, .parquet, .npy or .npz.")
    ],
) -> int:
    """Predict costs from features; no solver is needed."""

    def command() -> ExitCode:
        from imle_opt.cli.predict_command import PredictOptions, run_predict

        return run_predict(PredictOptions(folder, features, out))

    return end_of(command)


def solve(
    model: Model,
    costs: Annotated[
        Path, typer.Option(metavar="FILE", help="Costs: .csv, .parquet, .npy, .npz; a row per instance.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the decisions go, in the same formats.")],
    status: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a CSV file: status, objective and gap of every row."),
    ] = None,
    variables: Variables = None,
    variables_from_table: Annotated[
        bool,
        typer.Option("--variables-from-table", help="Take these names from the header of the costs."),
    ] = False,
    engine: Engine = "auto",
    seconds: Seconds = None,
    relative_gap: RelativeGap = 0.0,
    on_failure: Annotated[
        SolveOnFailure, typer.Option(help="What to do with solves that end without a proven optimum.")
    ] = SolveOnFailure.RAISE,
) -> int:
    """Decide: solve the model for every row of a table of costs."""

    def command() -> ExitCode:
        from imle_opt.cli.model_options import ModelOptions
        from imle_opt.cli.solve_command import SolveOptions, run_solve

        chosen = ModelOptions(
            model=model,
            variables=tuple(variables or ()),
            variables_from_table=variables_from_table,
            engine=engine,
            seconds=seconds,
            relative_gap=relative_gap,
            on_failure=on_failure.value,
        )
        return run_solve(SolveOptions(chosen, costs, out, status))

    return end_of(command, model)
