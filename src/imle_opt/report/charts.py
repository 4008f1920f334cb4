"""What the report draws of an evaluation: regrets, differences, costs."""

from __future__ import annotations

import numpy as np

from imle_opt.evaluation.judgement import Judgement
from imle_opt.evaluation.result import Evaluation, MethodResult
from imle_opt.report.chart import Chart, Series
from imle_opt_solvers.solution import FloatArray

__all__ = ["cost_chart", "difference_charts", "regret_chart"]

_POINTS = 201
_BINS = 41


def regret_chart(evaluation: Evaluation) -> Chart:
    """Return, for each regret, the share of instances that lose no more."""
    shares = np.linspace(0, 1, _POINTS)
    series: list[Series] = []
    for place, method in enumerate(evaluation.methods):
        known = method.regrets[method.measured]
        if known.size:
            series.append(Series(method.name, "line", np.quantile(known, shares), 100 * shares, place))
    return Chart(
        "regrets",
        "Share of instances that lose no more than a regret",
        "regret, in units of the objective",
        "% of instances",
        tuple(series),
    )


def difference_charts(evaluation: Evaluation, judgement: Judgement) -> tuple[Chart, ...]:
    """Return, for each comparison, how often which difference of regrets occurs; seeds are averaged."""
    charts: list[Chart] = []
    for number, comparison in enumerate(judgement.comparisons):
        first, second = (_per_row(evaluation.method(name)) for name in (comparison.first, comparison.second))
        differences = (first - second)[~np.isnan(first - second)]
        if not differences.size:
            continue
        counts, edges = np.histogram(differences, bins=_BINS, range=_around_zero(differences))
        title = f"Regret of {comparison.first} minus regret of {comparison.second}, instance by instance"
        series = Series(title, "bars", (edges[1:] + edges[:-1]) / 2, counts.astype(np.float64), 0)
        label = f"difference of regrets (below zero: {comparison.first} is better)"
        charts.append(Chart(f"difference-{number}", title, label, "instances", (series,)))
    return tuple(charts)


def cost_chart(evaluation: Evaluation) -> Chart | None:
    """Return predicted against true costs, a sample spread over all instances, where there are any."""
    series = [
        Series(method.name, "points", method.sampled_costs.true, method.sampled_costs.predicted, place)
        for place, method in enumerate(evaluation.methods)
        if method.sampled_costs.true.size
    ]
    if not series:
        return None
    title = "Predicted against true costs, a sample over all instances"
    return Chart("costs", title, "true cost", "predicted cost", tuple(series), diagonal=True)


def _per_row(method: MethodResult) -> FloatArray:
    counts = np.count_nonzero(method.measured, axis=0)
    sums = np.nansum(method.regrets, axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def _around_zero(values: FloatArray) -> tuple[float, float]:
    """A range with zero in the middle of a bin, so that ties stand apart."""
    most = float(np.abs(values).max())
    return (-most, most) if most else (-1.0, 1.0)
