"""The report of an evaluation as a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from typing import TypeAlias

import numpy as np

from imle_opt.evaluation.figures import figures
from imle_opt.evaluation.judgement import Judgement
from imle_opt.evaluation.notes import notes
from imle_opt.evaluation.result import Evaluation, MethodResult, status_counts
from imle_opt.evaluation.statistics import Interval
from imle_opt.report.chart import Chart, svg
from imle_opt.report.charts import cost_chart, difference_charts, regret_chart
from imle_opt.report.drawings import draw, explain
from imle_opt.report.script import figures_script, plotly_script, script
from imle_opt.report.style import POLICY, STYLE

__all__ = ["render_report"]


def _percent(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{100 * value:.3g}%"


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.5g}"


_Column: TypeAlias = tuple[str, str, Callable[[float], str]]
_REGRETS: tuple[_Column, ...] = (
    ("normalised regret, ratio of sums", "normalized_regret_ratio_of_sums", _percent),
    ("normalised regret, mean of ratios", "normalized_regret_mean_of_ratios", _percent),
    ("mean regret", "mean_regret", _number),
    ("median regret", "median_regret", _number),
    ("interquartile mean regret", "interquartile_mean_regret", _number),
    ("worst case under ties, ratio of sums", "normalized_worst_case_regret_ratio_of_sums", _percent),
    ("rows with ties", "tied_share", _percent),
)
_DECISIONS: tuple[_Column, ...] = (
    ("optimal decisions", "optimal_share", _percent),
    ("exact matches", "exact_match_share", _percent),
    ("Hamming distance", "mean_hamming", _number),
    ("MSE of costs", "mse", _number),
    ("MAE of costs", "mae", _number),
    ("R2 of costs", "r2", _number),
    ("Spearman of costs", "spearman", _number),
)


def render_report(evaluation: Evaluation, judgement: Judgement) -> str:
    """Return the report as an HTML page that loads nothing from anywhere.

    Everything is there without scripts; with them the charts can be zoomed, the table sorted and a method
    chosen.

    Args:
        evaluation: what was measured.
        judgement: how sure that is.

    Raises:
        MissingDependencyError: plotly, an extra, is not installed.
    """
    plotly = plotly_script()
    differences, costs = difference_charts(evaluation, judgement), cost_chart(evaluation)
    regrets = regret_chart(evaluation)
    charts = [regrets, *differences, *([] if costs is None else [costs])]
    title = f"Regret of decisions: {evaluation.model.name}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>{evaluation.num_rows:,} instances, solved by {escape(evaluation.model.engine)}; the model
{evaluation.model.sense.value}imises. Measured {_when(evaluation)}.</p>
<div class="verdict" role="note" aria-label="verdict">{_verdicts(judgement)}</div>
{_notes(evaluation)}
<h2>The methods</h2>
{_table("methods", "Regrets of the methods", _REGRETS, evaluation, judgement)}
<p>Regret: what a decision taken by predicted costs loses, under the true costs, against the best one. Small
figures: {100 * judgement.sampling.confidence:.3g}% intervals. The oracle, which knows the true costs, has a
regret of zero.</p>
{_table("decisions", "Decisions and predicted costs of the methods", _DECISIONS, evaluation, judgement)}
<h2>Regret per instance</h2>
<p>{escape(regrets.title)}. A line that is higher on the left is better.</p>
{_chart(regrets)}
{_differences(differences, evaluation, judgement)}
{_costs(costs)}
{_worst(evaluation)}
<h2>Statuses and times</h2>
{_solves(evaluation)}
<h2>How it was made</h2>
{_settings(evaluation, judgement)}
</main>
<script type="application/json" id="figures">{figures_script(charts)}</script>
<script>{plotly}</script>
<script>{script()}</script>
</body>
</html>
"""


def _when(evaluation: Evaluation) -> str:
    return f"{datetime.fromisoformat(evaluation.created):%Y-%m-%d %H:%M} UTC"


def _verdicts(judgement: Judgement) -> str:
    sentences = judgement.verdicts or ("There is one method only: nothing to compare it with.",)
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _notes(evaluation: Evaluation) -> str:
    found = notes(evaluation)
    if not found:
        return ""
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in found)}</ul>'


def _table(
    key: str, label: str, columns: Sequence[_Column], evaluation: Evaluation, judgement: Judgement
) -> str:
    every = {method.name: figures(method, evaluation) for method in evaluation.methods}
    shown = [
        column for column in columns if any(not np.isnan(getattr(each, column[1])) for each in every.values())
    ]
    head = "".join(f'<th scope="col" data-sort="number">{escape(title)}</th>' for title, _, _ in shown)
    rows: list[str] = []
    for method, found in every.items():
        cells = "".join(
            _cell(
                getattr(found, name),
                text,
                judgement.intervals[method].get(name),
            )
            for _, name, text in shown
        )
        value = escape(method, quote=True)
        rows.append(f'<tr><th scope="row" data-value="{value}">{escape(method)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="sortable" id="{key}"><thead><tr><th scope="col" data-sort="text">method</th>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(value: float, text: Callable[[float], str], interval: Interval | None) -> str:
    sort = "" if np.isnan(value) else f"{value:.12g}"
    bounds = ""
    if interval is not None and interval.known:
        bounds = f"<small>{text(interval.low)} to {text(interval.high)}</small>"
    shown = "&ndash;" if np.isnan(value) else text(value)
    return f'<td data-value="{sort}">{shown}{bounds}</td>'


def _chart(chart: Chart) -> str:
    label = escape(chart.title, quote=True)
    return (
        f'<div class="figure"><div class="plot" id="{chart.key}" role="group" aria-label="{label}"></div>'
        f'<div class="static">{svg(chart)}</div></div>'
    )


def _chooser(part: str, label: str, names: list[tuple[str, str]], every: str) -> str:
    """A choice that only scripts show; `every` names the choice of all, where there is one."""
    options = "".join(
        f'<option value="{escape(value, quote=True)}">{escape(name)}</option>' for value, name in names
    )
    first = f'<option value="">{escape(every)}</option>' if every else ""
    return (
        f'<p class="choose" hidden><label>{escape(label)} '
        f'<select data-shows="{part}">{first}{options}</select></label></p>'
    )


def _differences(charts: tuple[Chart, ...], evaluation: Evaluation, judgement: Judgement) -> str:
    if not charts:
        return ""
    names = [(chart.key, chart.title) for chart in charts]
    choice = _chooser("difference", "Compare:", names, "") if len(charts) > 1 else ""
    drawn = "".join(
        f'<div class="method" data-part="difference" data-name="{chart.key}"><h3>{escape(chart.title)}</h3>'
        f"{_chart(chart)}</div>"
        for chart in charts
    )
    return f"<h2>Paired differences</h2>{_comparisons(judgement)}{choice}{drawn}"


def _comparisons(judgement: Judgement) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(each.first)} &minus; {escape(each.second)}</th>'
        f"<td>{_percent(each.difference.estimate)}</td>"
        f'<td class="range">{_percent(each.difference.low)} to {_percent(each.difference.high)}</td>'
        f"<td>{_p(each.p_value)}</td><td>{_p(each.signed_rank_p)}</td><td>{_p(each.sign_p)}</td>"
        f"<td>{each.tests.rank_biserial:.3f}</td>"
        f"<td>{each.tests.wins:,} / {each.tests.ties:,} / {each.tests.losses:,}</td></tr>"
        for each in judgement.comparisons
    )
    head = (
        "methods",
        "difference of normalised regrets",
        "interval",
        "p, paired bootstrap",
        "p, Wilcoxon",
        "p, sign test",
        "rank-biserial effect",
        "lower / equal / higher",
    )
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Comparisons"><table><thead><tr>'
        f"{titles}</tr></thead><tbody>{rows}</tbody></table></div><p>P-values are adjusted by Holm over "
        f"{len(judgement.comparisons)} {'comparison' if len(judgement.comparisons) == 1 else 'comparisons'}."
        "</p>"
    )


def _p(value: float) -> str:
    if np.isnan(value):
        return "unknown"
    return "&lt; 0.001" if value < 0.001 else f"{value:.2g}"


def _costs(chart: Chart | None) -> str:
    if chart is None:
        return ""
    return (
        "<h2>Predicted and true costs</h2><p>Up to 400 costs a method, spread over all instances; "
        f"on the dotted line a prediction is right.</p>{_chart(chart)}"
    )


def _worst(evaluation: Evaluation) -> str:
    methods = [method for method in evaluation.methods if method.worst_rows]
    if not methods:
        return "<h2>The worst instances</h2><p>No decision has any regret.</p>"
    choice = _chooser("worst", "Method:", [(each.name, each.name) for each in methods], "all methods")
    key = ""
    if any(draw(evaluation.picture, method.worst_rows[0], "") for method in methods):
        key = (
            '<p><span class="key best">best decision</span> &ensp; <span class="key taken">decision taken by '
            f"predicted costs</span> &ensp; {explain(evaluation.picture)}</p>"
        )
    parts = "".join(
        f'<section class="method" data-part="worst" data-name="{escape(method.name, quote=True)}">'
        f'<h3>{escape(method.name)}</h3><div class="worst">{_figures(evaluation, method)}</div></section>'
        for method in methods
    )
    return f"<h2>The worst instances</h2>{key}{choice}{parts}"


def _figures(evaluation: Evaluation, method: MethodResult) -> str:
    drawn: list[str] = []
    for each in method.worst_rows:
        seed = f", seed {each.seed}" if len(method.seeds) > 1 else ""
        text = f"row {each.row}{seed}: regret {_number(each.regret)}, best {_number(each.optimal_objective)}"
        picture = draw(evaluation.picture, each, text)
        drawn.append(f"<figure>{picture}<figcaption>{escape(text)}</figcaption></figure>")
    return "".join(drawn)


def _solves(evaluation: Evaluation) -> str:
    lines = [("true costs", status_counts(evaluation.true_statuses), "")]
    lines += [
        (method.name, status_counts(method.statuses), f"{method.seconds:.3g}")
        for method in evaluation.methods
    ]
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        f"<td>{', '.join(f'{count:,} {status}' for status, count in counts.items()) or 'none'}</td>"
        f"<td>{seconds}</td></tr>"
        for name, counts, seconds in lines
    )
    timings = evaluation.timings
    return (
        '<table><thead><tr><th scope="col">costs</th><th scope="col">solves</th>'
        f'<th scope="col">seconds</th></tr></thead><tbody>{rows}</tbody></table>'
        f"<p>{evaluation.solves:,} distinct solves, {timings.total:.3g} seconds, {timings.workers} at work: "
        f"{timings.reading:.3g} seconds reading, {timings.solving:.3g} solving and {timings.ties:.3g} "
        "looking for ties, all workers added up.</p>"
    )


def _settings(evaluation: Evaluation, judgement: Judgement) -> str:
    model, sampling = evaluation.model, judgement.sampling
    limit = "none" if model.seconds_limit is None else f"{model.seconds_limit:g} s a solve"
    facts = [
        ("model", f"{model.name}, {model.engine}, {model.sense.value}imised"),
        ("limits", f"time: {limit}; relative gap: {model.relative_gap:g}; tolerance: {model.tolerance:g}"),
        ("bootstrap", f"{sampling.resamples} resamples, seed {sampling.seed}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in evaluation.versions.items())),
    ]
    facts += [(each.role, f"{each.path} (sha256 {each.sha256[:16]}…)") for each in evaluation.inputs]
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in facts)}</dl>"
