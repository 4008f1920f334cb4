"""The folder of a run: which files it has, whether it may be written to, and the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from imle_opt.training import EpochRecord
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["RunFolder"]

_CHECKPOINT = "checkpoint-"


@final
@dataclass(frozen=True)
class RunFolder:
    """Where a fit puts its files.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def log(self) -> Path:
        """One JSON object per line and epoch."""
        return self.path / "log.jsonl"

    @property
    def truth(self) -> Path:
        """The optima under the true costs, while the run is not finished."""
        return self.path / f"{_CHECKPOINT}optima.safetensors"

    @property
    def held_out(self) -> Path:
        """The tables of the rows held out for the report."""
        return self.path / "held-out"

    @property
    def report(self) -> Path:
        """The figures of the report."""
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        """The report to read in a browser."""
        return self.path / "report.html"

    def checkpoint(self, method: str) -> Path:
        """Where the training of a method is saved after every epoch."""
        return self.path / f"{_CHECKPOINT}{method}.safetensors"

    def is_interrupted(self) -> bool:
        """Whether a run was begun here and not finished."""
        return any(self.path.glob(f"{_CHECKPOINT}*.safetensors"))

    def open(self, *, overwrite: bool) -> None:
        """Make the folder, or see that it is empty or holds a run that was interrupted.

        Args:
            overwrite: remove what an earlier run wrote.

        Raises:
            InvalidInputError: it holds a finished run, or something else; or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(f"--out {self.path}: cannot be made: {error.strerror}.") from error
        if overwrite:
            self._remove([*self.path.glob("predictor.*"), *self.path.glob("report.*"), self.log])
            self._remove(self.held_out.glob("*.csv"))
            if self.held_out.is_dir() and not any(self.held_out.iterdir()):
                self.held_out.rmdir()
            self.remove_checkpoints()
        if (self.path / "predictor.json").exists():
            raise InvalidInputError(
                f"--out {self.path}: holds a finished fit. Name another folder, or give --overwrite."
            )
        if any(self.path.iterdir()) and not self.is_interrupted():
            raise InvalidInputError(
                f"--out {self.path}: the folder is not empty, and holds no fit to go on with. Name another."
            )

    def remove_checkpoints(self) -> None:
        """Remove what only a run that goes on needs."""
        self._remove(self.path.glob(f"{_CHECKPOINT}*"))

    def write_log(self, method: str, records: Iterable[Mapping[str, float]]) -> None:
        """Replace the lines of a method by those of the given epochs."""
        others = [line for line in self._log_lines() if json.loads(line)["method"] != method]
        lines = [*others, *(_line(method, record) for record in records)]
        self.log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def append_log(self, method: str, record: EpochRecord) -> None:
        """Append the line of an epoch."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(_line(method, record) + "\n")

    def _log_lines(self) -> list[str]:
        if not self.log.is_file():
            return []
        return [line for line in self.log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def _line(method: str, record: Mapping[str, float]) -> str:
    return json.dumps({"method": method, **record})
