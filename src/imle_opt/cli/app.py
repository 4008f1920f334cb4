"""The commands and their options. What they do is loaded when they run: `--help` loads no solver or torch."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from imle_opt.cli.learning_commands import fit, predict, solve
from imle_opt.cli.outcome import ExitCode, end_of, say

__all__ = ["app", "run"]

app = typer.Typer(
    name="imle-opt",
    help="Learn the costs of optimisation models, and measure decisions in regret.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


class OnFailureOption(StrEnum):
    """What to do with solves that end without a proven optimum."""

    RAISE = "raise"
    SKIP = "skip"
    INCUMBENT = "incumbent"


def run(arguments: Sequence[str] | None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: without the program's name; None: those of the process.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="imle-opt", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  # a bug must not end like a missed threshold, with code 1
        # Usage errors belong to click, of which newer typer carries a copy of its own.
        usage: Callable[[], str] | None = getattr(error, "format_message", None)
        if usage is not None:
            say("error", f"{usage().rstrip('.')}. See imle-opt --help.")
            return ExitCode.BAD_INPUT
        traceback.print_exc()
        return ExitCode.BUG
    return int(code or 0)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"imle-opt {version('imle-opt')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def imle_opt(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn the costs of optimisation models, and measure decisions in regret."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(ExitCode.BAD_INPUT)


@app.command()
def regret(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model file (.mps, .lp, .gz), path/to/file.py:name, package.module:name (naming Python "
            "code runs it), or one of grid-path:12x12 knapsack:weights.csv,20 spanning-tree:edges.csv "
            "top-k:20,5 assignment:10.",
        ),
    ],
    predicted: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE",
            help="A method and its predicted costs: .csv, .parquet, .npy, .npz; a row per instance. Repeat "
            "it. Several files of one name, or a column 'seed', are several seeds.",
        ),
    ],
    true: Annotated[Path, typer.Option(metavar="FILE", help="True costs, the same rows in the same order.")],
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="The method that the others are compared with.")
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A variable whose cost is predicted; repeat it. Without: all with a cost."
        ),
    ] = None,
    variables_from_table: Annotated[
        bool,
        typer.Option(
            "--variables-from-table", help="Take these names from the header of the predicted costs."
        ),
    ] = False,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="auto, highs, native or native:<solver>.")
    ] = "auto",
    seconds: Annotated[float | None, typer.Option(metavar="SECONDS", help="Time limit of one solve.")] = None,
    relative_gap: Annotated[
        float, typer.Option(metavar="SHARE", help="A proven gap that counts as optimal.")
    ] = 0.0,
    on_failure: Annotated[
        OnFailureOption, typer.Option(help="What to do with solves that end without a proven optimum.")
    ] = OnFailureOption.RAISE,
    tolerance: Annotated[
        float, typer.Option(metavar="SHARE", help="What counts as no regret, relative to the objective.")
    ] = 1e-6,
    workers: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Solve on so many processors. Without: on all.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep what is solved in this folder, and go on from what is there already."
        ),
    ] = None,
    worst_case: Annotated[
        bool, typer.Option(help="Also find the worst regret under ties; at least one more solve per row.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a CSV file, one line per instance.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report to read (needs plotly).")
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Exit code 1 if the normalised regret (ratio of sums) is above; 0.03 is 3%."
        ),
    ] = None,
    fail_if_worse_than: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Exit code 1 if a method is shown to decide worse than this one (paired bootstrap, 5%).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Of the bootstrap's random numbers.")] = 0,
    resamples: Annotated[int, typer.Option(metavar="NUMBER", help="Of the bootstrap.")] = 2000,
) -> int:
    """Measure the regret of predicted costs: what decisions by them cost, under the true ones."""

    def command() -> ExitCode:
        from imle_opt.cli.regret_command import RegretOptions, run_regret

        options = RegretOptions(
            model=model,
            predicted=tuple(predicted),
            true=true,
            baseline=baseline,
            variables=tuple(variables or ()),
            variables_from_table=variables_from_table,
            engine=engine,
            seconds=seconds,
            relative_gap=relative_gap,
            on_failure=on_failure.value,
            worst_case=worst_case,
            tolerance=tolerance,
            workers=workers,
            resume=resume,
            json=json,
            csv=csv,
            html=html,
            seed=seed,
            resamples=resamples,
            fail_above=fail_above,
            fail_if_worse_than=fail_if_worse_than,
        )
        return run_regret(options)

    return end_of(command, model)


app.command()(fit)
app.command()(predict)
app.command()(solve)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the report goes.")] = Path("report.html"),
    report: Annotated[bool, typer.Option(help="Write a report (needs plotly).")] = True,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="The same seed gives the same figures.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Passes over the training maps, for each method.")
    ] = None,
    maps: Annotated[int | None, typer.Option(metavar="NUMBER", help="Maps to train on.")] = None,
    test_maps: Annotated[int | None, typer.Option(metavar="NUMBER", help="Maps to test on.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few maps and epochs, to see it run; learns little.")
    ] = False,
) -> int:
    """Learn the costs of maps from real images, with a solver in the loop: minutes, no download."""

    def command() -> ExitCode:
        from imle_opt.cli.demo_command import DemoOptions, run_demo_command

        options = DemoOptions(
            out=out if report else None,
            seed=seed,
            epochs=epochs,
            maps=maps,
            test_maps=test_maps,
            quick=quick,
        )
        return run_demo_command(options)

    return end_of(command)


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say what is installed, which solvers answer, and how fast."""

    def command() -> ExitCode:
        from imle_opt.cli.doctor_command import run_doctor

        return run_doctor(as_json=json)

    return end_of(command)
