"""What a comparison comes to, in one sentence that does not say more than was shown."""

from __future__ import annotations

import numpy as np

from imle_opt.evaluation.statistics.comparison import Comparison

__all__ = ["p_text", "percent", "verdict"]


def verdict(comparison: Comparison) -> str:
    """Return one sentence: which is better and by how much, or that no difference is shown.

    "Not shown" is not "equal": the interval says how large a difference could have stayed hidden.
    """
    difference = comparison.difference
    better, worse = comparison.first, comparison.second
    regrets, low, high = comparison.regrets, difference.low, difference.high
    if not difference.known:
        return f"{better} and {worse} cannot be compared: {_why(comparison)}."
    if not comparison.shown:
        return (
            f"No difference between {better} and {worse} is shown: normalised regret {percent(regrets[0])} "
            f"against {percent(regrets[1])}, and the {_confidence(comparison)} interval of the difference, "
            f"{_points(low)} to {_points(high)} points, {_hides(comparison)} ({_basis(comparison)})."
        )
    size, bounds = -difference.estimate, (-high, -low)
    if difference.estimate > 0:
        better, worse, regrets = worse, better, (regrets[1], regrets[0])
        size, bounds = difference.estimate, (low, high)
    return (
        f"{better} decides better than {worse}: normalised regret {percent(regrets[0])} against "
        f"{percent(regrets[1])}, {_points(size)} points less ({_confidence(comparison)} interval "
        f"{_points(bounds[0])} to {_points(bounds[1])}; {_basis(comparison)})."
    )


def percent(share: float) -> str:
    """Return a share as a percentage of three digits."""
    return "undefined" if np.isnan(share) else f"{100 * share:.3g}%"


def p_text(p_value: float) -> str:
    """Return a p-value for people."""
    if np.isnan(p_value):
        return "p unknown"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def _why(comparison: Comparison) -> str:
    if comparison.instances < 2:
        return f"{comparison.instances} of their rows can be measured for both"
    return "the optima add up to zero"


def _hides(comparison: Comparison) -> str:
    if comparison.difference.low <= 0 <= comparison.difference.high:
        return "holds zero"
    return f"leaves zero out, but not once {comparison.comparisons} comparisons are allowed for"


def _confidence(comparison: Comparison) -> str:
    return f"{100 * comparison.difference.confidence:.3g}%"


def _points(difference: float) -> str:
    return f"{100 * difference:.2g}"


def _basis(comparison: Comparison) -> str:
    count = comparison.comparisons
    seeds = comparison.seeds
    shown = "" if max(seeds) == 1 else f", {seeds[0]} and {seeds[1]} seeds"
    adjusted = f", Holm over {count} comparisons" if count > 1 else ""
    return f"{comparison.instances:,} instances{shown}; {p_text(comparison.p_value)}{adjusted}"
