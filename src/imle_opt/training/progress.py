"""A bar on stderr that counts epochs and shows their figures."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from imle_opt.training.result import EpochRecord

__all__ = ["epoch_bar"]


@contextmanager
def epoch_bar(epochs: int, wanted: bool | None) -> Generator[Callable[[EpochRecord], None]]:
    """Yield a function that takes the record of each epoch and shows it.

    Args:
        epochs: how many there will be, at most.
        wanted: whether to show a bar; None: if stderr is a terminal.
    """
    console = Console(stderr=True)
    if not (console.is_terminal if wanted is None else wanted):
        yield lambda record: None  # a disabled bar of rich before 15 still ends its line
        return
    columns = (TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"), BarColumn())
    with Progress(*columns, TextColumn("{task.description}"), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("", total=epochs)

        def show(record: EpochRecord) -> None:
            numbers = {name: record[name] for name in ("loss", "validation") if name in record}
            text = "  ".join(f"{name} {number:.4g}" for name, number in numbers.items())
            bar.update(task, advance=1, description=text)

        yield show
