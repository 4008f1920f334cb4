"""The results as Markdown, and as a plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.compare.cases import HIGHSPY, KERNEL, NETWORKX, OURS, OURS_HIGHS, PULP, PYEPO
from benchmarks.compare.targets import verdicts

BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
_COLUMNS = (KERNEL, OURS, HIGHSPY, OURS_HIGHS, PYEPO, "pywraplp", PULP, NETWORKX, "scipy", "cvxpy")
_COLOURS = {
    OURS: "#c2185b",
    OURS_HIGHS: "#f48fb1",
    KERNEL: "#212121",
    HIGHSPY: "#757575",
    PYEPO: "#1565c0",
    PULP: "#2e7d32",
    NETWORKX: "#ef6c00",
    "pywraplp": "#90caf9",
    "scipy": "#a5d6a7",
    "cvxpy": "#ce93d8",
}


def markdown(results: Mapping[str, Any]) -> str:
    """Return the tables."""
    lines = [_header(["processor time per row", *_COLUMNS]), *_rows(results)]
    lines += ["", _header(["target", "aimed at", "measured", ""])]
    for each in verdicts(results):
        bound = f"{'≥' if each.at_least else '≤'} {each.bound:g}"
        verdict = "met" if each.met else "**missed**"
        lines.append(f"| {each.what} | {bound} | {shown(each.measured)} | {verdict} |")
    return "\n".join(lines)


def _header(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n|---|{'---:|' * (len(cells) - 1)}"


def _rows(results: Mapping[str, Any]) -> Iterator[str]:
    for name, found in results["cases"].items():
        times = found["times"]
        cells = [f"{shown(times[each]['microseconds'])} µs" if each in times else "" for each in _COLUMNS]
        yield f"| {name} | {' | '.join(cells)} |"


def shown(number: float) -> str:
    """Return three digits."""
    digits = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:,.{digits}f}"


def into_page(page: Path, text: str) -> None:
    """Put the text between the two marks of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def svg(results: Mapping[str, Any]) -> str:
    """Return a plot: a line per case, a dot per contender, microseconds per row on a logarithmic axis."""
    cases: Mapping[str, Any] = results["cases"]
    left, top, width, step = 150, 60, 620, 30
    height = top + step * len(cases) + 40
    low, high = -1, 6

    def place(microseconds: float) -> float:
        return left + width * (math.log10(microseconds) - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 30} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (name, colour) in enumerate(_COLOURS.items()):
        x, y = left + 130 * (number % 5), 15 + 18 * (number // 5)
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 9}" y="{y + 4}">{name}</text>')
    bottom = top + step * len(cases)
    for power in range(low, high + 1):
        x = place(10**power)
        label = f"{10**power:g} µs" if power < 3 else f"{10 ** (power - 3):g} ms"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{top - 8}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    for number, (name, found) in enumerate(cases.items()):
        y = top + step * number + step / 2
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{name}</text>')
        for each in reversed(_COLOURS):
            if each in found["times"]:
                x = place(found["times"][each]["microseconds"])
                parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{_COLOURS[each]}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
