"""The tables of an evaluation: true costs, and of every method one or several seeds, side by side.

A predicted table may have a column `seed`: it then holds the rows of several trainings, those of one seed in
the order of the true costs, the seeds in any order. It is sorted by seed into temporary files, a block at a
time, so that all runs can be read side by side whatever the order was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import numpy as np

from imle_opt.evaluation.result import InputFile
from imle_opt.tables import CostSource, open_costs
from imle_opt_solvers import InvalidInputError, Solver
from imle_opt_solvers.solution import FloatArray

__all__ = [
    "SEED_COLUMN",
    "MethodFiles",
    "RowFeed",
    "Run",
    "TrueFacts",
    "hash_file",
    "open_predicted",
    "open_runs",
    "read_true",
    "row_mismatch",
]

SEED_COLUMN = "seed"
_MOST_SEEDS = 200
_HASH_PIECE = 2**20


@dataclass(frozen=True)
class MethodFiles:
    """A method, and the files that hold its predictions: several files are several seeds.

    Args:
        name: how it is called.
        paths: at least one.
    """

    name: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class TrueFacts:
    """What one pass over the true costs tells.

    Args:
        source: the table.
        rows: how many.
        means: (*shape) the mean of each cost.
        numbers: a file with the costs as plain numbers, where that is much faster to read than the table.
    """

    source: CostSource
    rows: int
    means: FloatArray
    numbers: Path | None

    @property
    def mean(self) -> float:
        """The mean of all costs of all rows."""
        return float(self.means.mean())

    def feed(self) -> RowFeed:
        """Return the rows, from the first."""
        path = self.source.table.path
        if self.numbers is not None:
            return RowFeed(path, _stored(self.numbers, self.source.shape))
        return RowFeed(path, (block.values for block in self.source.blocks()))


@dataclass(frozen=True, eq=False)
class Run:
    """One seed of one method.

    Args:
        method: the index of the method.
        seed: its name.
        label: how messages call it.
        feed: its predicted costs, row after row.
    """

    method: int
    seed: str
    label: str
    feed: RowFeed


@final
class RowFeed:
    """Rows of a table, taken as many at a time as are wanted.

    Args:
        path: the file, for messages.
        blocks: the rows in blocks of any size.
    """

    def __init__(self, path: Path, blocks: Iterator[FloatArray]) -> None:
        self.path = path
        self._blocks = blocks
        self._rest: FloatArray | None = None
        self.taken = 0

    def take(self, rows: int) -> FloatArray:
        """Return the next rows, fewer at the end of the table; (b, *shape)."""
        parts: list[FloatArray] = []
        missing = rows
        while missing:
            block = self._rest if self._rest is not None else next(self._blocks, None)
            self._rest = None
            if block is None:
                break
            if len(block) > missing:
                block, self._rest = block[:missing], block[missing:]
            parts.append(block)
            missing -= len(block)
        self.taken += rows - missing
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0,))

    def skip(self, rows: int, step: int = 8192) -> None:
        """Pass over rows."""
        for start in range(0, rows, step):
            self.take(min(step, rows - start))

    def rest(self) -> int:
        """Read to the end; return how many rows there were in all."""
        while len(self.take(8192)):
            pass
        return self.taken


def hash_file(role: str, path: Path) -> InputFile:
    """Return a file's SHA-256 and size.

    Raises:
        InvalidInputError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_HASH_PIECE):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}.") from error
    return InputFile(role, str(path), digest.hexdigest(), size)


@contextmanager
def read_true(path: Path, solver: Solver) -> Generator[TrueFacts]:
    """Pass once over the true costs, which are to be passed once more.

    Text is parsed once: its numbers are kept in a temporary file, which is removed at the end. Where there is
    no room for it, text is parsed twice.

    Raises:
        InvalidInputError: what `open_costs` refuses, or a cell that is no finite number.
    """
    source = open_costs(path, names=solver.names, shape=solver.shape)
    with ExitStack() as stack:
        numbers = _Numbers(stack) if source.table.rows is None else None
        rows, sums = 0, np.zeros(solver.shape)
        for values, _ in source.blocks():
            rows += len(values)
            sums += values.sum(axis=0)
            if numbers is not None:
                numbers.add(values)
        yield TrueFacts(source, rows, sums / rows, None if numbers is None else numbers.path)


@final
class _Numbers:
    """A temporary file of plain numbers.

    Args:
        stack: removes it.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.path: Path | None = None
        with suppress(OSError):
            self.path = Path(stack.enter_context(TemporaryDirectory(prefix="imle-opt-costs-"))) / "true.f8"

    def add(self, values: FloatArray) -> None:
        """Append rows; forget the file where there is no room for it."""
        if self.path is None:
            return
        try:
            with self.path.open("ab") as file:
                file.write(values.tobytes())
        except OSError:
            self.path.unlink(missing_ok=True)
            self.path = None


def open_predicted(path: Path, solver: Solver) -> CostSource:
    """Open a table of predicted costs, which may have a column of seeds.

    Raises:
        InvalidInputError: what `open_costs` refuses.
    """
    label = None if solver.names and SEED_COLUMN in solver.names else SEED_COLUMN
    return open_costs(path, names=solver.names, shape=solver.shape, label=label)


@contextmanager
def open_runs(methods: Sequence[MethodFiles], solver: Solver, true: TrueFacts) -> Generator[list[Run]]:
    """Yield the runs of all methods, in their order; temporary files are removed at the end.

    Raises:
        InvalidInputError: what `open_costs` refuses; another number of rows than the true costs; a seed that
            comes twice.
    """
    with ExitStack() as stack:
        runs: list[Run] = []
        for index, method in enumerate(methods):
            found = [seed for path in method.paths for seed in _seeds_of(path, solver, true, stack)]
            own = [str(number) if seed is None else seed for number, (seed, _) in enumerate(found)]
            _refuse_repeated(method, own)
            for seed, (_, feed) in zip(own, found, strict=True):
                label = repr(method.name) if len(found) == 1 else f"{method.name!r}, seed {seed}"
                runs.append(Run(index, seed, label, feed))
        yield runs


def _seeds_of(
    path: Path, solver: Solver, true: TrueFacts, stack: ExitStack
) -> list[tuple[str | None, RowFeed]]:
    source = open_predicted(path, solver)
    if source.table.labelled:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="imle-opt-seeds-")))
        return _sorted_by_seed(source, folder, true)
    if source.table.rows is not None and source.table.rows != true.rows:
        raise row_mismatch(path, source.table.rows, true)
    return [(None, RowFeed(path, (block.values for block in source.blocks())))]


def _sorted_by_seed(source: CostSource, folder: Path, true: TrueFacts) -> list[tuple[str | None, RowFeed]]:
    path, files, counts = source.table.path, dict[str, Path](), dict[str, int]()
    for values, labels in source.blocks():
        names, codes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
        for code, name in enumerate(map(str, names)):
            file = files.setdefault(name, folder / f"{len(files)}.f8")
            if len(files) > _MOST_SEEDS:
                raise InvalidInputError(
                    f"{path}: the column {SEED_COLUMN!r} has more than {_MOST_SEEDS} different values. It "
                    f"must tell which training a row was predicted by; rename it if it means something else."
                )
            some = values[codes == code]
            counts[name] = counts.get(name, 0) + len(some)
            with file.open("ab") as opened:
                opened.write(some.tobytes())
    for name, count in counts.items():
        if count != true.rows:
            raise InvalidInputError(
                f"{path}: seed {name} has {count} rows and {true.source.table.path} has {true.rows}: give "
                f"one row per instance and seed, those of a seed in the order of the true costs."
            )
    return [(name, RowFeed(path, _stored(file, source.shape))) for name, file in files.items()]


def _stored(path: Path, shape: tuple[int, ...]) -> Iterator[FloatArray]:
    width = int(np.prod(shape, dtype=np.int64))
    size = max(1, 2**20 // width) * width
    with path.open("rb") as file:
        while len(values := np.fromfile(file, dtype=np.float64, count=size)):
            yield values.reshape(-1, *shape)


def row_mismatch(path: Path, rows: int, true: TrueFacts) -> InvalidInputError:
    """Return the error about a table with another number of rows than the true costs."""
    return InvalidInputError(
        f"{path} has {rows} rows and {true.source.table.path} has {true.rows}: give one row per instance in "
        f"both, in the same order."
    )


def _refuse_repeated(method: MethodFiles, seeds: Sequence[str]) -> None:
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise InvalidInputError(
            f"--predicted {method.name}: seed {', '.join(repeated)} comes in more than one file. Give each "
            f"seed once."
        )
