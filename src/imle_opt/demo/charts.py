"""The demo's learning curves, drawn by plotly."""

from __future__ import annotations

from typing import Any

from imle_opt.demo.result import TARGET, DemoResult
from imle_opt_solvers.errors import MissingDependencyError

__all__ = ["learning_curves"]

# Okabe and Ito's colours, which people with any colour vision tell apart, on light and dark.
_COLOURS = {"paths": "#e66100", "costs": "#0072b2", "regression": "#009e73", "perceptron": "#cc79a7"}
_GREY = "#8a8f98"
_FAINT = "rgba(138, 143, 152, 0.3)"
_TICKS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)


def learning_curves(result: DemoResult) -> str:
    """Return an HTML element with the curves, and the script that draws them.

    Raises:
        MissingDependencyError: plotly is not installed.
    """
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise MissingDependencyError("it needs plotly. Install it: pip install 'imle-opt[report]'") from error
    figure: Any = graph_objects.Figure(layout=_layout())
    for outcome in result.outcomes:
        if outcome.curve:
            solid = {"color": _COLOURS[outcome.key], "width": 2}
            _draw(figure, outcome.title, outcome.curve, solid)
    epochs = result.epochs
    equal = result["equal"].report.normalized_regret
    _draw(figure, "equal costs (test maps)", (equal,) * epochs, {"color": _GREY, "dash": "dash", "width": 2})
    _draw(figure, f"target: {TARGET:.0%}", (TARGET,) * epochs, {"color": _GREY, "dash": "dot", "width": 2})
    options = {"displayModeBar": False, "responsive": True}
    html: str = figure.to_html(full_html=False, include_plotlyjs=True, config=options)
    return html


def _draw(figure: Any, name: str, curve: tuple[float, ...], line: dict[str, Any]) -> None:
    figure.add_scatter(
        x=list(range(1, len(curve) + 1)),
        y=[100 * share for share in curve],
        name=name,
        mode="lines",
        line=line,
        hovertemplate="%{y:.2f}%",
    )


def _layout() -> dict[str, Any]:
    axis = {"gridcolor": _FAINT, "zeroline": False, "linecolor": _FAINT, "fixedrange": True}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": _GREY, "family": "system-ui, sans-serif", "size": 13},
        "height": 460,
        "margin": {"l": 45, "r": 10, "t": 10, "b": 40},
        "legend": {"orientation": "h", "y": -0.22, "yanchor": "top"},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "#1d2129", "font": {"color": "#ffffff"}},
        "xaxis": axis | {"title": {"text": "epoch", "font": {"size": 13}}},
        "yaxis": axis
        | {"type": "log", "tickvals": list(_TICKS), "ticktext": [f"{tick:g}%" for tick in _TICKS]},
    }
