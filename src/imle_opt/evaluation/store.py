"""A folder that holds what an evaluation has measured so far, so that an interrupted one can go on.

    run.json                      what the blocks belong to: hashes of the inputs, options, versions
    block-000000000-000004096.npz     rows 0 to 4095; complete, or not there

A file is written under another name and renamed: one that is there is whole, also after a crash.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from imle_opt.evaluation.block import Block
from imle_opt_solvers import InvalidInputError

__all__ = ["BlockStore", "kept_rows"]

_RUN = "run.json"
_BLOCK = re.compile(r"block-(\d{9,})-(\d{9,})\.npz")


@final
class BlockStore:
    """The blocks of one evaluation in a folder.

    Args:
        folder: it is made where it is not there.
        run: what the blocks depend on, ready for JSON.

    Raises:
        InvalidInputError: the folder belongs to another evaluation, holds other files, or cannot be written.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = self._read_run()
            if known is None:
                _refuse_other_files(folder)
                self._write(_RUN, json.dumps(run, indent=2).encode())
        except OSError as error:
            raise InvalidInputError(
                f"--resume {folder}: cannot be used: {error.strerror}. Name a folder that can be written."
            ) from error
        if known is not None:
            _refuse_other_run(folder, known, json.loads(json.dumps(run)))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks from row 0 on, as far as they follow each other.

        Raises:
            InvalidInputError: a block that cannot be read.
        """
        for path, _ in _block_files(self.folder):
            yield _read_block(path)

    def save(self, block: Block) -> None:
        """Keep a block.

        Raises:
            InvalidInputError: it cannot be written.
        """
        name = f"block-{block.start:09d}-{block.stop:09d}.npz"
        part = self.folder / f"{name}.part"
        try:
            with part.open("wb") as file:
                np.savez(file, **block.arrays())
            part.replace(self.folder / name)
        except OSError as error:
            raise InvalidInputError(f"--resume {part}: cannot be written: {error.strerror}.") from error

    def _read_run(self) -> dict[str, Any] | None:
        path = self.folder / _RUN
        if not path.exists():
            return None
        try:
            known: object = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"--resume {path}: is no JSON: {error}. Name another folder.") from error
        if not isinstance(known, dict):
            raise InvalidInputError(f"--resume {path}: is no run of imle-opt. Name another folder.")
        return known

    def _write(self, name: str, content: bytes) -> None:
        part = self.folder / f"{name}.part"
        part.write_bytes(content)
        os.replace(part, self.folder / name)  # noqa: PTH105  # the word for what is meant


def kept_rows(folder: Path) -> int:
    """Return how many rows a folder holds, from row 0 on."""
    return max((stop for _, stop in _block_files(folder)), default=0)


def _block_files(folder: Path) -> list[tuple[Path, int]]:
    """Return the files of the blocks from row 0 on, as far as they follow each other, and their stops."""
    matches = [(path, _BLOCK.fullmatch(path.name)) for path in folder.glob("block-*")]
    found = {int(match[1]): (path, int(match[2])) for path, match in matches if match is not None}
    files: list[tuple[Path, int]] = []
    start = 0
    while start in found:
        files.append(found[start])
        start = found[start][1]
    return files


def _refuse_other_files(folder: Path) -> None:
    others = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".part"))
    if others:
        raise InvalidInputError(
            f"--resume {folder}: the folder holds {others[0]!r} and no run of imle-opt. Name a new folder, "
            f"or the one of the run that was interrupted."
        )


def _refuse_other_run(folder: Path, known: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    different = [key for key in run if known.get(key) != run[key]]
    if different:
        raise InvalidInputError(
            f"--resume {folder}: belongs to another run: {', '.join(different)} differ. Name another folder, "
            f"or repeat the command with the same files and options."
        )


def _read_block(path: Path) -> Block:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Block.of_arrays(dict(arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"--resume {path}: cannot be read ({error}). Delete this file.") from error
