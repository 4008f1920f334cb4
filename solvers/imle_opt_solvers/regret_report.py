"""What an evaluation of predicted costs found: arrays per instance, and the figures drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.solution import FloatArray, Sense, Status

__all__ = ["RegretReport"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class RegretReport:
    """Regret per instance, and aggregated over the instances that could be measured.

    Rows are numbered from 0, in the row-major order of the batch. A row is unmeasured where one of its two
    solves gave no decision: its entries are NaN, and every aggregate leaves it out. An aggregate over no rows
    is NaN.

    Args:
        sense: the direction of the model's own objective.
        engine: what solved it.
        proves_optimality: whether the solver proves what it calls optimal (a user's function does not).
        regrets: (*batch,) in units of the objective, never negative; NaN where unmeasured.
        worst_case_regrets: (*batch,) the largest regret among the decisions that are optimal for the
            predicted costs; NaN where it could not be determined; None where it was not asked for.
        achieved_objectives: (*batch,) true objective of the decision taken from the predicted costs.
        optimal_objectives: (*batch,) true objective of the best decision.
        tolerances: (*batch,) what counts as no regret, in units of the objective.
        hamming_distances: (*batch,) number of entries in which the decision differs from the optimal one.
        predicted_statuses: of the solves under the predicted costs, one per row.
        true_statuses: of the solves under the true costs, one per row.
        unproven_rows: rows where one of the two solves ended without proof of optimality, or with a gap above
            the tolerance: their regret is that of the incumbents.
        solves: solves that this evaluation made.
        seconds: wall clock of those solves.
    """

    sense: Sense
    engine: str
    proves_optimality: bool
    regrets: FloatArray
    worst_case_regrets: FloatArray | None
    achieved_objectives: FloatArray
    optimal_objectives: FloatArray
    tolerances: FloatArray
    hamming_distances: FloatArray
    predicted_statuses: tuple[Status, ...]
    true_statuses: tuple[Status, ...]
    unproven_rows: tuple[int, ...]
    solves: int
    seconds: float

    @property
    def rows(self) -> int:
        """Number of instances."""
        return int(self.regrets.size)

    @property
    def unmeasured_rows(self) -> tuple[int, ...]:
        """Rows without a decision for the predicted or for the true costs."""
        return _where(np.isnan(self.regrets))

    @property
    def optimal(self) -> BoolArray:
        """(*batch,) whether the decision is optimal for the true costs, to the tolerance."""
        return np.asarray(self.regrets <= self.tolerances)

    @property
    def exact_matches(self) -> BoolArray:
        """(*batch,) whether the decision is the very one that the true costs give."""
        return np.asarray(self.hamming_distances == 0)

    @property
    def mean_regret(self) -> float:
        """Mean over the measured rows, in units of the objective."""
        return _mean(self.regrets)

    @property
    def normalized_regret(self) -> float:
        """Ratio of sums: `sum of regrets / sum of |optimal objectives|`; 0.03 is 3%.

        NaN where that sum of optimal objectives is zero, to the tolerance.
        """
        return self._ratio_of_sums(self.regrets)

    @property
    def normalized_regret_mean_of_ratios(self) -> float:
        """Mean of ratios: the mean of `regret / |optimal objective|` over the rows where that is defined."""
        return _mean(self._ratios(self.regrets))

    @property
    def undefined_ratio_rows(self) -> tuple[int, ...]:
        """Measured rows whose optimal objective is zero, to the tolerance: the mean of ratios skips them."""
        return _where(np.abs(self.optimal_objectives) <= self.tolerances)

    @property
    def optimal_share(self) -> float:
        """Share of the measured rows with an optimal decision."""
        return _mean(self._measured(self.optimal))

    @property
    def exact_match_share(self) -> float:
        """Share of the measured rows whose decision is the very one that the true costs give."""
        return _mean(self._measured(self.exact_matches))

    @property
    def mean_hamming(self) -> float:
        """Mean number of entries in which a decision differs from the optimal one."""
        return _mean(self.hamming_distances)

    @property
    def mean_worst_case_regret(self) -> float:
        """Mean worst-case regret over the rows where it is known; NaN where it was not asked for."""
        return np.nan if self.worst_case_regrets is None else _mean(self.worst_case_regrets)

    @property
    def normalized_worst_case_regret(self) -> float:
        """Ratio of sums of the worst-case regret, over the rows where it is known."""
        return np.nan if self.worst_case_regrets is None else self._ratio_of_sums(self.worst_case_regrets)

    @property
    def normalized_worst_case_regret_mean_of_ratios(self) -> float:
        """Mean of ratios of the worst-case regret, over the rows where it is known and defined."""
        return np.nan if self.worst_case_regrets is None else _mean(self._ratios(self.worst_case_regrets))

    @property
    def tied_rows(self) -> tuple[int, ...]:
        """Rows where another decision, as good under the predicted costs, has a higher regret."""
        if self.worst_case_regrets is None:
            return ()
        return _where(self.worst_case_regrets > self.regrets + self.tolerances)

    @property
    def tied_share(self) -> float:
        """Share of `tied_rows` among the rows whose worst case is known; NaN where it was not asked for."""
        if self.worst_case_regrets is None:
            return np.nan
        known = int(np.count_nonzero(~np.isnan(self.worst_case_regrets)))
        return len(self.tied_rows) / known if known else np.nan

    @property
    def undetermined_worst_case_rows(self) -> tuple[int, ...]:
        """Measured rows whose worst case under ties could not be determined."""
        if self.worst_case_regrets is None:
            return ()
        return _where(np.isnan(self.worst_case_regrets) & ~np.isnan(self.regrets))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know: rows left out, undefined ratios, missing proofs."""
        all_zero = self.rows > len(self.unmeasured_rows) and np.isnan(self.normalized_regret)
        notes = (
            _about(self.unmeasured_rows, "without a decision: left out of every figure"),
            _about(self.unproven_rows, "without proof of optimality: regret is measured between incumbents"),
            _about(self.undefined_ratio_rows, "with an optimum of zero: left out of the mean of ratios"),
            "the optima sum to zero: the ratio of sums is undefined" if all_zero else "",
            _about(self.undetermined_worst_case_rows, "whose worst case under ties could not be determined"),
            "" if self.proves_optimality else f"the solver ({self.engine}) does not prove its optima",
            "" if self.rows else "there are no rows",
        )
        return tuple(note for note in notes if note)

    def table(self) -> tuple[tuple[str, str], ...]:
        """Return the aggregates as (label, value) pairs for people to read."""
        pairs = [
            ("normalised regret (ratio of sums)", _percent(self.normalized_regret)),
            ("normalised regret (mean of ratios)", _percent(self.normalized_regret_mean_of_ratios)),
            ("mean regret", _number(self.mean_regret)),
            ("optimal decisions", _percent(self.optimal_share)),
            ("exact matches", _percent(self.exact_match_share)),
            ("mean Hamming distance", _number(self.mean_hamming)),
        ]
        if self.worst_case_regrets is not None:
            worst = self.normalized_worst_case_regret, self.normalized_worst_case_regret_mean_of_ratios
            pairs += [
                ("worst case under ties (ratio of sums)", _percent(worst[0])),
                ("worst case under ties (mean of ratios)", _percent(worst[1])),
                ("worst case under ties (mean regret)", _number(self.mean_worst_case_regret)),
                ("rows where ties hide regret", _percent(self.tied_share)),
            ]
        return (
            *pairs,
            ("rows", str(self.rows)),
            ("solver", f"{self.engine}, {self.sense.value}imises"),
            ("solves under predicted costs", _status_text(self.predicted_statuses)),
            ("solves under true costs", _status_text(self.true_statuses)),
            ("seconds in the solver", f"{self.seconds:.3g} ({self.solves} solves)"),
        )

    def __str__(self) -> str:
        pairs = self.table()
        width = max(len(label) for label, _ in pairs)
        lines = [f"{label:<{width}}  {value}" for label, value in pairs]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def summary(self) -> dict[str, float | int | str | list[int] | list[str] | dict[str, int] | None]:
        """Return every aggregate by name, ready for JSON: NaN becomes None."""
        figures = {
            "normalized_regret_ratio_of_sums": self.normalized_regret,
            "normalized_regret_mean_of_ratios": self.normalized_regret_mean_of_ratios,
            "mean_regret": self.mean_regret,
            "normalized_worst_case_regret_ratio_of_sums": self.normalized_worst_case_regret,
            "normalized_worst_case_regret_mean_of_ratios": self.normalized_worst_case_regret_mean_of_ratios,
            "mean_worst_case_regret": self.mean_worst_case_regret,
            "tied_share": self.tied_share,
            "optimal_share": self.optimal_share,
            "exact_match_share": self.exact_match_share,
            "mean_hamming": self.mean_hamming,
        }
        return {
            "rows": self.rows,
            "sense": self.sense.value,
            "engine": self.engine,
            **{name: None if np.isnan(figure) else float(figure) for name, figure in figures.items()},
            "predicted_statuses": _counts(self.predicted_statuses),
            "true_statuses": _counts(self.true_statuses),
            "unmeasured_rows": list(self.unmeasured_rows),
            "unproven_rows": list(self.unproven_rows),
            "undefined_ratio_rows": list(self.undefined_ratio_rows),
            "undetermined_worst_case_rows": list(self.undetermined_worst_case_rows),
            "notes": list(self.notes),
            "solves": self.solves,
            "seconds": self.seconds,
        }

    def _measured(self, flags: BoolArray) -> FloatArray:
        return np.where(np.isnan(self.regrets), np.nan, flags.astype(np.float64))

    def _ratio_of_sums(self, regrets: FloatArray) -> float:
        known = ~np.isnan(regrets)
        denominator = float(np.abs(self.optimal_objectives[known]).sum())
        if denominator <= float(self.tolerances[known].sum()):
            return np.nan
        return float(regrets[known].sum()) / denominator

    def _ratios(self, regrets: FloatArray) -> FloatArray:
        optimal = np.abs(self.optimal_objectives)
        defined = optimal > self.tolerances
        return np.divide(regrets, optimal, out=np.full_like(regrets, np.nan), where=defined)


def _where(flags: BoolArray) -> tuple[int, ...]:
    return tuple(np.flatnonzero(flags).tolist())


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def _about(rows: tuple[int, ...], what: str, most: int = 5) -> str:
    if not rows:
        return ""
    shown = ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
    return f"{len(rows)} {'row' if len(rows) == 1 else 'rows'} {what} (row {shown})"


def _counts(statuses: tuple[Status, ...]) -> dict[str, int]:
    return {status.value: statuses.count(status) for status in Status if status in statuses}


def _status_text(statuses: tuple[Status, ...]) -> str:
    return ", ".join(f"{count} {status}" for status, count in _counts(statuses).items()) or "none"


def _percent(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{100 * share:.3g}%"


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.6g}"
