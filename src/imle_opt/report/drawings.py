"""Decisions as pictures: paths and trees on a map, items as bars, matrices as cells; SVG without scripts."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from imle_opt.evaluation.picture import GraphPicture, ItemsPicture, Picture
from imle_opt.evaluation.result import WorstRow
from imle_opt_solvers.solution import FloatArray

__all__ = ["MOST_EDGES", "draw", "explain"]

MOST_EDGES = 2000
"""Larger graphs are not drawn: nothing would be seen."""
_SIDE = 240
_TRUE, _TAKEN = "best", "taken"


def draw(picture: Picture | None, row: WorstRow, title: str) -> str:
    """Return the optimal and the taken decision as an `<svg>` element; empty where there is no picture."""
    if isinstance(picture, GraphPicture):
        return _graph(picture, row, title)
    if isinstance(picture, ItemsPicture) and row.decision.size <= 60:
        return _bars(picture, row, title)
    if row.decision.ndim == 2 and row.decision.size <= 1600:
        return _matrix(row, title)
    return ""


def explain(picture: Picture | None) -> str:
    """Return how a picture shows the true costs; empty where it does not."""
    if isinstance(picture, ItemsPicture):
        return "a bar's height is the item's true value"
    if isinstance(picture, GraphPicture) and picture.costs_on == "edges":
        return ""
    return "the stronger a cell's shade, the higher its true cost"


def _graph(picture: GraphPicture, row: WorstRow, title: str) -> str:
    graph = picture.graph
    if len(graph.tails) > MOST_EDGES:
        return ""
    places = _places(picture)
    parts: list[str] = []
    edges = list(zip(graph.tails.tolist(), graph.heads.tolist(), strict=True))
    if picture.costs_on == "vertices":
        radius = 0.42 * _spacing(places)
        shades = _shades(row.true_costs.ravel())
        parts += [
            f'<rect class="cost" x="{x - radius:.1f}" y="{y - radius:.1f}" width="{2 * radius:.1f}" '
            f'height="{2 * radius:.1f}" fill-opacity="{shade:.2f}"/>'
            for (x, y), shade in zip(places.tolist(), shades.tolist(), strict=True)
        ]
        for decision, kind in ((row.optimal_decision, _TRUE), (row.decision, _TAKEN)):
            chosen = decision.ravel() > 0.5
            lines = [places[[a, b]] for a, b in edges if chosen[a] and chosen[b]]
            parts.append(_lines(lines, kind))
            parts += [
                f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius / 3:.1f}"/>'
                for x, y in places[chosen].tolist()
            ]
    else:
        parts.append(_lines([places[[a, b]] for a, b in edges], "edge"))
        for decision, kind in ((row.optimal_decision, _TRUE), (row.decision, _TAKEN)):
            chosen = decision.ravel() > 0.5
            parts.append(
                _lines([places[list(edge)] for edge, is_in in zip(edges, chosen, strict=True) if is_in], kind)
            )
    return _svg(title, _SIDE, _SIDE, parts)


def _places(picture: GraphPicture) -> FloatArray:
    """(nodes, 2) x and y: of the map, or on a circle."""
    count = len(picture.graph.nodes)
    if picture.positions is None:
        angles = 2 * np.pi * np.arange(count) / max(count, 1)
        points = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    else:
        points = picture.positions[:, ::-1]
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (_SIDE - 30) / max(float(extent.max()), 1e-9)
    return np.asarray(15 + (points - low) * scale + (_SIDE - 30 - extent * scale) / 2)


def _spacing(places: FloatArray) -> float:
    return (_SIDE - 30) / max(math.sqrt(len(places)) - 1, 1.0)


def _bars(picture: ItemsPicture, row: WorstRow, title: str) -> str:
    """Items from left to right: height is the true value, those of either decision marked below."""
    values, count = np.abs(row.true_costs.ravel()), row.decision.size
    width, top = (_SIDE - 10) / count, max(float(values.max()), 1e-12)
    parts: list[str] = []
    for place, value in enumerate(values.tolist()):
        x, height = 5 + place * width, 140 * value / top
        box = f'x="{x:.1f}" width="{max(width - 1.5, 1):.1f}"'
        parts.append(f'<rect class="item" {box} y="{150 - height:.1f}" height="{height:.1f}"/>')
        for decision, kind, y in ((row.optimal_decision, _TRUE, 154), (row.decision, _TAKEN, 168)):
            amount = float(decision.ravel()[place])
            if amount > 1e-6:
                parts.append(
                    f'<rect class="mark {kind}" {box} y="{y}" height="11" opacity="{min(amount, 1):.2f}"/>'
                )
    used = [float(picture.weights[0] @ each.ravel()) for each in (row.optimal_decision, row.decision)]
    capacity = float(picture.capacities[0])
    parts.append(
        f'<text x="5" y="196">weight {used[1]:.4g} taken, {used[0]:.4g} best, of {capacity:.4g}</text>'
    )
    return _svg(title, _SIDE, 202, parts)


def _matrix(row: WorstRow, title: str) -> str:
    rows, columns = row.decision.shape
    side = (_SIDE - 10) / max(rows, columns)
    shades = _shades(row.true_costs.ravel()).reshape(rows, columns)
    parts: list[str] = []
    for i, j in np.ndindex(rows, columns):
        x, y = 5 + j * side, 5 + i * side
        parts.append(
            f'<rect class="cost" x="{x:.1f}" y="{y:.1f}" width="{side - 1:.1f}" height="{side - 1:.1f}" '
            f'fill-opacity="{shades[i, j]:.2f}"/>'
        )
        for decision, kind, radius in ((row.optimal_decision, _TRUE, 0.42), (row.decision, _TAKEN, 0.22)):
            if decision[i, j] > 0.5:
                parts.append(
                    f'<circle class="{kind}" cx="{x + side / 2:.1f}" cy="{y + side / 2:.1f}" '
                    f'r="{radius * side:.1f}"/>'
                )
    return _svg(title, 10 + columns * side, 10 + rows * side, parts)


def _lines(lines: list[FloatArray], kind: str) -> str:
    path = "".join(f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" for a, b in lines)
    return f'<path class="line {kind}" d="{path}"/>'


def _shades(costs: FloatArray) -> FloatArray:
    """Costs as opacities: the dearest stands out most, on a light page and on a dark one."""
    low, extent = costs.min(), np.ptp(costs)
    return np.asarray(0.06 + 0.5 * (costs - low) / extent if extent else np.full(costs.shape, 0.15))


def _svg(title: str, width: float, height: float, parts: list[str]) -> str:
    return (
        f'<svg class="decision" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )
