"""What the report does where scripts are on: charts to zoom, a table to sort, a method to choose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from imle_opt.report.chart import COLOURS, Chart
from imle_opt_solvers.errors import MissingDependencyError

__all__ = ["figures_script", "plotly_script", "script"]

_BEHAVIOUR = """
'use strict';
document.documentElement.classList.add('scripted');
for (const header of document.querySelectorAll('table.sortable th[data-sort]')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.append(...header.childNodes);
  header.append(button);
  button.addEventListener('click', () => {
    const table = header.closest('table'), body = table.tBodies[0];
    const up = header.getAttribute('aria-sort') !== 'ascending';
    for (const other of table.querySelectorAll('th[aria-sort]')) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const value = row => row.cells[header.cellIndex].dataset.value;
    const number = text => text === '' ? NaN : Number(text);
    const rows = [...body.rows].sort((a, b) => {
      if (header.dataset.sort === 'text') return (up ? 1 : -1) * value(a).localeCompare(value(b));
      const x = number(value(a)), y = number(value(b));
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return up ? x - y : y - x;
    });
    body.append(...rows);
  });
}
for (const choice of document.querySelectorAll('select[data-shows]')) {
  choice.closest('.choose').hidden = false;
  const parts = document.querySelectorAll('[data-part="' + choice.dataset.shows + '"]');
  const show = () => {
    for (const part of parts) part.hidden = choice.value !== '' && part.dataset.name !== choice.value;
    window.dispatchEvent(new Event('resize'));
  };
  choice.addEventListener('change', show);
  show();
}
const data = JSON.parse(document.getElementById('figures').textContent);
const dark = window.matchMedia('(prefers-color-scheme: dark)');
function draw() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--soft'), line = style.getPropertyValue('--line');
  for (const figure of data) {
    const place = document.getElementById(figure.key);
    place.parentElement.classList.add('drawn');
    const axis = {gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true};
    const layout = {...figure.layout, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
      font: {color: ink, family: 'system-ui, sans-serif', size: 13}};
    layout.xaxis = {...axis, ...figure.layout.xaxis};
    layout.yaxis = {...axis, ...figure.layout.yaxis};
    Plotly.react(place, figure.data, layout, {responsive: true, displaylogo: false, displayModeBar: 'hover',
      modeBarButtonsToRemove: ['lasso2d', 'select2d', 'toImage']});
  }
}
draw();
dark.addEventListener('change', draw);
"""


def plotly_script() -> str:
    """Return plotly's own script.

    Raises:
        MissingDependencyError: plotly, an extra, is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingDependencyError(
            "The HTML report needs plotly. Install it: pip install 'imle-opt[report]'"
        ) from error
    return str(get_plotlyjs())


def script() -> str:
    """Return the script of the page."""
    return _BEHAVIOUR


def figures_script(charts: Sequence[Chart]) -> str:
    """Return the charts as JSON that may stand inside of a `<script>`, whatever the names are."""
    text = json.dumps([_figure(chart) for chart in charts], allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _figure(chart: Chart) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    for series in chart.series:
        colour = COLOURS[series.colour % len(COLOURS)]
        kind: dict[str, Any] = {"type": "bar"}
        if series.kind != "bars":
            kind = {"type": "scatter", "mode": "lines" if series.kind == "line" else "markers"}
        traces.append(
            {
                **kind,
                # plotly reads names as HTML.
                "name": escape(series.name),
                "x": [float(f"{x:.7g}") for x in series.x],
                "y": [float(f"{y:.7g}") for y in series.y],
                "marker": {"color": colour, "opacity": 1 if series.kind == "bars" else 0.6},
                "line": {"color": colour, "width": 2},
                "hovertemplate": "%{x:.4g}: %{y:.4g}<extra>" + escape(series.name) + "</extra>",
            }
        )
        if kind["type"] == "bar":
            del traces[-1]["line"]
    shapes: list[dict[str, Any]] = []
    if chart.diagonal:
        values = [value for trace in traces for value in trace["x"]]
        low, high = min(values), max(values)
        dotted = {"dash": "dot", "width": 1, "color": "#8a8f98"}
        shapes.append({"type": "line", "x0": low, "x1": high, "y0": low, "y1": high, "line": dotted})
    layout = {
        "height": 380,
        "margin": {"l": 50, "r": 10, "t": 30, "b": 45},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "bargap": 0.05,
        "hovermode": "closest" if chart.diagonal else "x",
        "shapes": shapes,
        "xaxis": {"title": {"text": escape(chart.x_label)}},
        "yaxis": {"title": {"text": escape(chart.y_label)}},
    }
    return {"key": chart.key, "data": traces, "layout": layout}
