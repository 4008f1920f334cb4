"""An estimate with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Interval", "unknown"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; bounds are NaN where the data cannot tell.

    Args:
        estimate: the figure itself.
        low: lower bound.
        high: upper bound.
        standard_error: of the estimate, over instances and seeds.
        confidence: how often such an interval holds the true value, 0.95 for 95%.
        p_value: of the hypothesis that the true value is zero, by the same method: it is below
            1 - confidence where the interval (before it is cut at a bound of its own) leaves zero out.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    confidence: float
    p_value: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def named(self) -> dict[str, float | None]:
        """Return the fields by name, ready for JSON: NaN becomes None."""
        values = {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "standard_error": self.standard_error,
            "confidence": self.confidence,
        }
        return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def unknown(estimate: float, confidence: float) -> Interval:
    """Return an estimate about whose error nothing is known: it comes from one instance, or from none."""
    return Interval(estimate, np.nan, np.nan, np.nan, confidence, np.nan)
