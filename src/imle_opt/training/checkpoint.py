"""A file from which an interrupted training run goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

from imle_opt._safe_files import read_tree, write_tree
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["Checkpoint", "Stateful"]


class Stateful(Protocol):
    """What can be saved: modules, optimisers, schedules."""

    def state_dict(self) -> Any:
        """Return the state: dictionaries, lists and tuples of tensors, numbers and text."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> object:
        """Go on from what `state_dict` returned."""
        ...


@final
@dataclass(frozen=True)
class Checkpoint:
    """Where `fit` saves a run after every epoch, and goes on from if the file exists.

    A run that was interrupted and goes on ends with the same weights, bit for bit, as one that was not (on a
    CPU, with the same number of threads). The file is safetensors, JSON in its header: weights, optimiser,
    best weights, history, random numbers. Nothing in it is pickled.

    Args:
        path: the file, in a folder that exists. Remove it to start anew.
        state: what else changes in training, by name: a loss that adapts (`IMLE`), a learning rate schedule.
        settings: what the run depends on, as text by name: a file of other settings is refused.

    It knows nothing of the data: give the same loader.
    """

    path: Path
    state: Mapping[str, Stateful] = field(default_factory=dict[str, Stateful])
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    def save(self, run: Mapping[str, Any]) -> None:
        """Write the state of a run.

        Raises:
            InvalidInputError: the file cannot be written.
        """
        others = {name: each.state_dict() for name, each in self.state.items()}
        write_tree(self.path, {"run": run, "others": others, "settings": dict(self.settings)})

    def load(self) -> dict[str, Any] | None:
        """Return the state of the run, and restore that of `state`; None where there is no file.

        Raises:
            InvalidInputError: a file that cannot be read, or of a run with other settings.
        """
        if not self.path.is_file():
            return None
        saved = read_tree(self.path)
        if not isinstance(saved, dict) or "run" not in saved:
            raise InvalidInputError(f"{self.path}: holds no training run. Remove it to start anew.")
        self._refuse_other_settings(saved["settings"])
        for name, each in self.state.items():
            each.load_state_dict(saved["others"][name])
        run: dict[str, Any] = saved["run"]
        return run

    def _refuse_other_settings(self, saved: Mapping[str, str]) -> None:
        names = [*self.settings, *(name for name in saved if name not in self.settings)]
        changed = [name for name in names if saved.get(name) != self.settings.get(name)]
        if changed:
            listed = ", ".join(
                f"{name} was {saved.get(name, 'not given')} and is {self.settings.get(name, 'not given')}"
                for name in changed
            )
            raise InvalidInputError(
                f"{self.path}: the run that was interrupted had other settings: {listed}. Give the same ones "
                f"to go on, or remove the file to start anew."
            )
