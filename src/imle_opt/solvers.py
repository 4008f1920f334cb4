"""The numpy side under a short name: `from imle_opt.solvers import wrap, ShortestPath, Limits`.

The names are those of `imle_opt_solvers`, which documents them; importing this module loads no torch and no
solver package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imle_opt_solvers

if TYPE_CHECKING:
    from imle_opt_solvers import *  # noqa: F403  # the alias of a whole package

__all__ = imle_opt_solvers.__all__  # pyright: ignore[reportUnsupportedDunderAll]  # the whole package


def __getattr__(name: str) -> object:
    return getattr(imle_opt_solvers, name)


def __dir__() -> list[str]:
    return list(__all__)
