"""Tensors and plain values in safetensors files: nothing is pickled, so reading them runs no code.

The structure goes as JSON into the header of the file, the tensors into its body. A file is replaced as a
whole: whoever is interrupted while writing leaves the one before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from imle_opt_solvers.errors import InvalidInputError

__all__ = ["read_tensors", "read_tree", "write_tensors", "write_tree"]

_HEADER = "imle_opt"
_PLAIN = (str, int, float, bool, type(None))


def write_tree(path: Path, tree: object) -> None:
    """Write nested dictionaries, lists and tuples of tensors, numbers and text.

    Args:
        path: the file, replaced in one step where it exists.
        tree: what to write; keys of dictionaries are text or numbers.

    Raises:
        InvalidInputError: another kind of value, or a file that cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_packed(tree, tensors))
    _replace(path, tensors, {_HEADER: structure})


def read_tree(path: Path) -> Any:
    """Return what `write_tree` wrote, tensors on the CPU.

    Raises:
        InvalidInputError: no such file, or not one that `write_tree` wrote.
    """
    tensors, header = _read(path)
    if _HEADER not in header:
        raise InvalidInputError(f"{path}: a safetensors file, but not one that imle-opt wrote.")
    return _unpacked(json.loads(header[_HEADER]), tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name, a safetensors file as any.

    Raises:
        InvalidInputError: a file that cannot be written.
    """
    _replace(path, {name: _own(tensor) for name, tensor in tensors.items()}, None)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of any safetensors file, on the CPU.

    Raises:
        InvalidInputError: no such file, or none of this kind.
    """
    return _read(path)[0]


def _replace(path: Path, tensors: dict[str, Tensor], header: dict[str, str] | None) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(save(tensors, header))
        partial.replace(path)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = cast("dict[str, str] | None", file.metadata()) or {}
            return {name: cast(Tensor, file.get_tensor(name)) for name in file.keys()}, header  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError) as error:
        raise InvalidInputError(f"{path}: cannot be read as a safetensors file: {error}.") from error


def _own(tensor: Tensor) -> Tensor:
    """Return a copy: tensors that share memory are refused by the format."""
    return tensor.detach().cpu().clone().contiguous()


def _packed(item: object, tensors: dict[str, Tensor]) -> object:
    if isinstance(item, Tensor):
        name = str(len(tensors))
        tensors[name] = _own(item)
        return {"tensor": name}
    if isinstance(item, _PLAIN):
        return item
    if isinstance(item, Mapping):
        pairs = cast("Mapping[Any, object]", item).items()
        return {"dict": [[_key(key), _packed(value, tensors)] for key, value in pairs]}
    if isinstance(item, (list, tuple)):
        kind = "list" if isinstance(item, list) else "tuple"
        return {kind: [_packed(value, tensors) for value in cast("list[object]", item)]}
    raise InvalidInputError(
        f"Only tensors, numbers and text can be saved, in dictionaries, lists and tuples; not a "
        f"{type(item).__name__}."
    )


def _key(key: object) -> object:
    if not isinstance(key, (str, int)):
        raise InvalidInputError(f"Keys of saved dictionaries must be text or whole numbers, not {key!r}.")
    return key


def _unpacked(item: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(item, dict):
        return item
    ((kind, content),) = cast("dict[str, Any]", item).items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(value, tensors) for key, value in content}
    values = [_unpacked(value, tensors) for value in content]
    return values if kind == "list" else tuple(values)
