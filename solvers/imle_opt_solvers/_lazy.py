"""Names of a package that load their module on first use (PEP 562).

`import imle_opt` must not cost an `import torch`, nor `import imle_opt_solvers` an `import networkx`: a
command line that prints its help, or a worker process, pays only for what it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str, *, homes: Mapping[str, Iterable[str]], modules: Iterable[str] = (), public: Iterable[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package that loads some of its names on first use.

    Args:
        package: the package's `__name__`.
        homes: module -> the names that are loaded from it.
        modules: submodules of the package that load as attributes of it.
        public: every public name, for `dir`.

    Raises:
        AttributeError: from the returned `__getattr__`, for any other name.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    submodules, listing = frozenset(modules), sorted(public)

    def load(name: str) -> Any:
        if name in submodules:
            return import_module(f"{package}.{name}")
        if name in home_of:
            return getattr(import_module(home_of[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: listing
