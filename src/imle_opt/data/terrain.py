"""Maps of terrain whose shortest paths are to be found from a picture, in the manner of the Warcraft maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.grid import grid_path
from imle_opt_solvers.solution import FloatArray

__all__ = ["CELL_PIXELS", "TERRAIN_COSTS", "TerrainMaps", "terrain_maps"]

CELL_PIXELS = 8
"""Width and height of a cell in the picture."""

TERRAIN_COSTS: Mapping[str, float] = MappingProxyType(
    {"grass": 0.8, "dirt": 1.2, "forest": 5.3, "water": 7.7, "rock": 9.2}
)
"""What a path pays for a cell of each terrain."""

_GRASS, _DIRT, _FOREST, _WATER, _ROCK = range(5)
_SHEET = 256
"""Width and height of the sheets that pictures are cut out of."""
_REACH = 2.0
"""How far the edge of a region strays from the edges of its cells at most, in pixels."""
_CHUNK = 128
"""Maps that are drawn at once."""

_Bytes = NDArray[np.uint8]
_Floats = NDArray[np.float32]


@final
@dataclass(frozen=True, eq=False)
class TerrainMaps:
    """Pictures of maps, the cost of each cell, and the shortest paths.

    Args:
        images: (maps, 3, height, width), channels first, 0 to 255.
        costs: (maps, rows, columns), above 0.
        paths: (maps, rows, columns), 1 on a path of least cost from the top left to the bottom right cell,
            which moves to any of the 8 neighbours and pays every cell that it visits, both ends counted.
    """

    images: _Bytes
    costs: FloatArray
    paths: FloatArray

    def __len__(self) -> int:
        return len(self.costs)


def terrain_maps(rows: int, size: int = 12, *, seed: int) -> TerrainMaps:
    """Draw maps of five terrains, and find their shortest paths.

        grass 0.8, dirt 1.2, forest 5.3, water 7.7, rock 9.2

    Terrains lie in regions: a smooth random field divides a map into grass and dirt, and a second one raises
    forests within the grass, water and rocks within the dirt. Of all 8 neighbours, forest touches grass and
    forest alone; water touches dirt and water alone; rock touches dirt and rock alone.

    A cell is 8 x 8 pixels. Each terrain has a texture (two of them are green and two brown), the same for all
    seeds; each map shows other parts of it, in another light, with noise on every pixel. The edges of regions
    are ragged by up to two pixels.

    Args:
        rows: number of maps.
        size: rows and columns of a map.
        seed: of all draws; a larger number of maps begins with the same ones.

    Raises:
        InvalidInputError: `rows` or `size` below 1.

    These are not the maps of the papers, which were cut from the game's editor and are read by
    `warcraft_maps`: costs, cells and neighbourhoods are theirs, but how often a terrain occurs and what it
    looks like is not, and figures on the two are not to be compared.

    After: Vlastelica et al. (Pogancic et al.), ICLR 2020, arXiv 1912.02175, Section 4.1.
    """
    if min(rows, size) < 1:
        raise InvalidInputError(f"`rows` and `size` must be at least 1, not {rows!r} and {size!r}.")
    layout, picture = np.random.default_rng(seed).spawn(2)
    terrains = _terrains(rows, size, layout)
    costs = np.array(list(TERRAIN_COSTS.values()))[terrains]
    paths = grid_path((size, size)).solve(costs).decisions
    return TerrainMaps(_draw(terrains, picture), costs, paths)


def _terrains(rows: int, size: int, random: np.random.Generator) -> NDArray[np.int64]:
    base, second = (_field(rows, size, generator) for generator in random.spawn(2))
    grass = base > 0
    forest = _inside(grass) & (second > -0.7)
    dirt = _inside(~grass)
    water = dirt & (second > 0.2)
    rock = dirt & (second < 0.2) & _inside(~water)
    return np.select([forest, water, rock, grass], [_FOREST, _WATER, _ROCK, _GRASS], _DIRT)


def _field(rows: int, size: int, random: np.random.Generator) -> FloatArray:
    """Return normal numbers of mean 0 and variance 1 in which near cells are alike, (rows, size, size)."""
    weights = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
    weights /= np.sqrt((weights**2).sum())
    wide = random.standard_normal((rows, size + 4, size + 4))
    tall = np.zeros((rows, size + 4, size))
    for i, weight in enumerate(weights):
        tall += weight * wide[:, :, i : i + size]
    field = np.zeros((rows, size, size))
    for i, weight in enumerate(weights):
        field += weight * tall[:, i : i + size]
    return field


def _inside(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells of a region all of whose neighbours on the map belong to it."""
    padded = np.pad(region, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    _, rows, columns = region.shape
    shifted = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    inside: NDArray[np.bool_] = np.logical_and.reduce(shifted)
    return inside


def _draw(terrains: NDArray[np.int64], random: np.random.Generator) -> _Bytes:
    """Return the pictures of maps, (maps, 3, height, width)."""
    textures, strays = _textures(), _strays()
    maps, size, _ = terrains.shape
    width = size * CELL_PIXELS
    images = np.empty((maps, width, width, 3), np.uint8)
    origins, lights, noise = random.spawn(3)
    for start in range(0, maps, _CHUNK):
        part = terrains[start : start + _CHUNK]
        windows = origins.integers(_SHEET, size=(len(part), 2, 2))
        seen = _ragged(part, strays[(slice(None), *_window(windows[:, 0], width))])
        colours = textures[(seen, *_window(windows[:, 1], width))]
        # Brightness of a map, and a tint; each pixel is noisy, too.
        drawn = lights.uniform((0.8, 0.92, 0.92, 0.92), (1.2, 1.08, 1.08, 1.08), (len(part), 4))
        colours *= (drawn[:, :1] * drawn[:, 1:]).astype(np.float32)[:, None, None]
        colours += 8 * noise.standard_normal(colours.shape, dtype=np.float32)
        images[start : start + _CHUNK] = np.clip(colours, 0, 255)
    return images.transpose(0, 3, 1, 2)


def _ragged(terrains: NDArray[np.int64], strays: _Floats) -> NDArray[np.int64]:
    """Return the terrain of each pixel, which is that of the cell where it strays to."""
    maps, size, _ = terrains.shape
    pixel = np.arange(size * CELL_PIXELS, dtype=np.float32)
    row, column = (
        np.clip((at + stray) // CELL_PIXELS, 0, size - 1).astype(np.int64)
        for at, stray in zip((pixel[:, None], pixel), strays, strict=True)
    )
    seen: NDArray[np.int64] = terrains[np.arange(maps)[:, None, None], row, column]
    return seen


def _window(origins: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and the column of a sheet at each pixel, (maps, width, 1) and (maps, 1, width)."""
    at = (origins[:, :, None] + np.arange(width)) % _SHEET
    return at[:, 0, :, None], at[:, 1, None, :]


def _textures() -> _Floats:
    """Return what each terrain looks like, (terrains, height, width, 3)."""
    random = np.random.default_rng(0)
    fine, coarse = _smooth(random, 0.7, 5), _smooth(random, 3, 5)
    rows = np.arange(_SHEET)[:, None]
    crowns = np.tanh(3 * _smooth(random, 1.5, 1)[0])
    facets = np.tanh(4 * _smooth(random, 1.8, 1)[0])
    waves = np.sin(2 * np.pi * rows / 8 + 2 * _smooth(random, 6, 1)[0])
    pebbles = np.maximum(_smooth(random, 1, 1)[0] - 1, 0)
    shade = {
        _GRASS: 9 * fine[0] + 9 * coarse[0],
        _DIRT: 8 * fine[1] + 8 * coarse[1] + 25 * pebbles,
        _FOREST: 8 * fine[2] + 22 * crowns - 8,
        _WATER: 6 * fine[3] + 14 * waves,
        _ROCK: 10 * fine[4] + 22 * facets,
    }
    colours = ((84, 122, 58), (134, 112, 78), (70, 108, 54), (58, 88, 122), (124, 112, 96))
    sheets = [np.array(colour) + shade[terrain][:, :, None] for terrain, colour in enumerate(colours)]
    return np.stack(sheets).astype(np.float32)


def _strays() -> _Floats:
    """Return how far from itself a pixel looks for its terrain, down and right: (2, height, width)."""
    return _REACH * np.tanh(_smooth(np.random.default_rng(1), 2, 2)).astype(np.float32)


def _smooth(random: np.random.Generator, width: float, count: int) -> FloatArray:
    """Return noise of mean 0 and variance 1, blurred across the edges, too: (count, height, width)."""
    along = np.fft.fftfreq(_SHEET)
    blur = np.exp(-2 * (np.pi * width) ** 2 * (along[:, None] ** 2 + along**2))
    blurred = np.fft.ifft2(np.fft.fft2(random.standard_normal((count, _SHEET, _SHEET))) * blur).real
    centred = blurred - blurred.mean((1, 2), keepdims=True)
    sheets: FloatArray = centred / centred.std((1, 2), keepdims=True)
    return sheets
