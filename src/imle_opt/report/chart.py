"""A chart as data, and as an SVG that needs no script."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np

from imle_opt_solvers.solution import FloatArray

__all__ = ["COLOURS", "Chart", "Series", "svg"]

# Okabe and Ito's colours, which people with any colour vision tell apart, on light and dark.
COLOURS = ("#0072b2", "#e66100", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 300, 64, 44, 10


@dataclass(frozen=True, eq=False)
class Series:
    """One method's part of a chart.

    Args:
        name: what the legend says.
        kind: how it is drawn; bars are given by their middles, all equally wide.
        x: (k,).
        y: (k,).
        colour: which of `COLOURS`.
    """

    name: str
    kind: Literal["line", "bars", "points"]
    x: FloatArray
    y: FloatArray
    colour: int


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart.

    Args:
        key: its identifier on the page.
        title: what it shows, for people and screen readers.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        series: what is drawn.
        diagonal: whether a line marks where both axes are equal.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    diagonal: bool = False


def svg(chart: Chart) -> str:
    """Return a chart as an `<svg>` element with its legend below."""
    (x_low, x_high), (y_low, y_high) = _range(chart, "x"), _range(chart, "y")

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - 12)
        down = _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _BOTTOM - _TOP)
        return round(across, 1), round(down, 1)

    parts: list[str] = []
    for tick in _ticks(y_low, y_high):
        left, right = place(x_low, tick), place(x_high, tick)
        parts.append(f'<path class="grid" d="M{left[0]} {left[1]}H{right[0]}"/>')
        parts.append(f'<text x="{left[0] - 6}" y="{left[1] + 4}" text-anchor="end">{tick:.4g}</text>')
    for tick in _ticks(x_low, x_high):
        low = place(tick, y_low)
        parts.append(f'<path class="grid" d="M{low[0]} {low[1]}V{_TOP}"/>')
        parts.append(f'<text x="{low[0]}" y="{low[1] + 16}" text-anchor="middle">{tick:.4g}</text>')
    if chart.diagonal:
        least, most = max(x_low, y_low), min(x_high, y_high)
        if least < most:
            start, end = place(least, least), place(most, most)
            parts.append(f'<path class="diagonal" d="M{start[0]} {start[1]}L{end[0]} {end[1]}"/>')
    for series in chart.series:
        colour = COLOURS[series.colour % len(COLOURS)]
        places = [place(float(x), float(y)) for x, y in zip(series.x, series.y, strict=True)]
        parts.append(_drawn(series, places, colour, place(x_low, max(y_low, 0.0))[1]))
    middle = (_LEFT + _WIDTH) // 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(chart.x_label)}</text>')
    parts.append(
        f'<text transform="translate(13 {_HEIGHT // 2 - 14}) rotate(-90)" text-anchor="middle">'
        f"{escape(chart.y_label)}</text>"
    )
    legend = "".join(
        f'<li><i style="background:{COLOURS[each.colour % len(COLOURS)]}"></i>{escape(each.name)}</li>'
        for each in chart.series
    )
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(chart.title, quote=True)}">{"".join(parts)}</svg>'
        f'<ul class="legend">{legend}</ul>'
    )


def _drawn(series: Series, places: list[tuple[float, float]], colour: str, base: float) -> str:
    if series.kind == "line":
        points = " ".join(f"{x},{y}" for x, y in places)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    if series.kind == "points":
        dots = "".join(f"M{x} {y}h0" for x, y in places)
        return f'<path d="{dots}" stroke="{colour}" stroke-width="5" stroke-linecap="round" opacity=".55"/>'
    width = max(abs(places[1][0] - places[0][0]) - 1, 1) if len(places) > 1 else 20
    bars = "".join(
        f'<rect x="{x - width / 2:.1f}" y="{y}" width="{width:.1f}" height="{max(base - y, 0):.1f}"/>'
        for x, y in places
    )
    return f'<g fill="{colour}">{bars}</g>'


def _range(chart: Chart, axis: Literal["x", "y"]) -> tuple[float, float]:
    values = np.concatenate([getattr(each, axis) for each in chart.series] or [np.zeros(1)])
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if any(each.kind == "points" for each in chart.series) and values.size:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    space = 0.03 * (high - low)
    return low - space * (axis == "x"), high + space


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers in a range."""
    rough = (high - low) / 5
    unit = 10.0 ** np.floor(np.log10(rough))
    step = float(next(unit * each for each in (1, 2, 5, 10) if unit * each >= rough))
    first = np.ceil(low / step) * step
    return [float(tick) + 0.0 for tick in np.arange(first, high + step * 1e-9, step)]
