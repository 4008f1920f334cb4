"""Maps with paths on them, as SVG that holds its image: no script and no file beside the page."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape

import numpy as np
from numpy.typing import NDArray

from imle_opt.data.digit_maps import PIXELS
from imle_opt_solvers.solution import FloatArray

__all__ = ["map_picture", "path_cells", "png"]

Cell = tuple[int, int]


def map_picture(image: NDArray[np.float32], true: FloatArray, predicted: FloatArray, title: str) -> str:
    """Return a map as an `<svg>` element, the true path as a wide line and the predicted one as a thin one.

    Args:
        image: (height, width) in [0, 1], 1 is ink.
        true: (rows, columns), 1 on the path.
        predicted: (rows, columns), 1 on the path.
        title: what a screen reader says.
    """
    height, width = image.shape
    paper = np.rint(255 * (1 - image)).astype(np.uint8)
    source = base64.b64encode(png(paper)).decode("ascii")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">'
        f'<image href="data:image/png;base64,{source}" width="{width}" height="{height}"/>'
        f'<polyline class="true" points="{_points(true)}"/>'
        f'<polyline class="predicted" points="{_points(predicted)}"/></svg>'
    )


def png(grey: NDArray[np.uint8]) -> bytes:
    """Return a grey picture (height, width) as a PNG file.

    Source: PNG specification, W3C, third edition: signature, IHDR, one IDAT with filter 0, IEND.
    """
    height, width = grey.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = np.hstack([np.zeros((height, 1), np.uint8), grey]).tobytes()
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def path_cells(decision: FloatArray) -> list[Cell]:
    """Return the cells of a path in its order, from the top left to the bottom right.

    A decision is the set of cells; where the path comes near itself, any order that visits all of them, each
    next to the one before, will do.

    Args:
        decision: (rows, columns), 1 on the path.

    Raises:
        ValueError: the cells are no path between these corners.
    """
    rows, columns = decision.shape
    left = {(int(row), int(column)) for row, column in np.argwhere(decision > 0.5)}
    start, end = (0, 0), (rows - 1, columns - 1)
    order = _visit(start, end, left - {start}) if start in left else None
    if order is None:
        raise ValueError("The decision is not a path from the top left to the bottom right cell.")
    return order


def _visit(cell: Cell, end: Cell, left: set[Cell]) -> list[Cell] | None:
    """Search for a way from `cell` over all the cells that are left to `end`, least connected cells first."""
    if not left:
        return [cell] if cell == end else None
    near = [other for other in left if _touch(cell, other)]
    for following in sorted(near, key=lambda other: sum(_touch(other, third) for third in left)):
        rest = _visit(following, end, left - {following})
        if rest is not None:
            return [cell, *rest]
    return None


def _touch(one: Cell, other: Cell) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) == 1


def _points(decision: FloatArray) -> str:
    half = PIXELS // 2
    return " ".join(f"{column * PIXELS + half},{row * PIXELS + half}" for row, column in path_cells(decision))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
