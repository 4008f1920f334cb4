"""The JSON of an evaluation: every figure, and what is needed to repeat the run.

Its form is that of `regret.schema.json` beside this file (JSON Schema, draft 2020-12). `schema` names its
version: a change that readers must know of counts it up, a new key does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imle_opt.evaluation.figures import figures
from imle_opt.evaluation.judgement import Judgement
from imle_opt.evaluation.notes import notes
from imle_opt.evaluation.result import Evaluation, MethodResult, RowFailure, status_counts
from imle_opt.evaluation.statistics import Comparison
from imle_opt_solvers.solution import FloatArray

__all__ = ["SCHEMA", "as_json", "comparison_as_json"]

SCHEMA = "imle-opt/regret/1"


def as_json(evaluation: Evaluation, judgement: Judgement) -> dict[str, Any]:
    """Return an evaluation ready for `json.dumps`: numbers that are undefined are None."""
    sampling = judgement.sampling
    model, timings = evaluation.model, evaluation.timings
    return {
        "schema": SCHEMA,
        "created": evaluation.created,
        "versions": dict(evaluation.versions),
        "model": {
            "name": model.name,
            "engine": model.engine,
            "sense": model.sense.value,
            "shape": list(model.shape),
            "variables": None if model.names is None else list(model.names),
            "proves_optimality": model.proves_optimality,
            "seconds_limit": model.seconds_limit,
            "relative_gap": model.relative_gap,
            "tolerance": model.tolerance,
        },
        "inputs": [
            {"role": each.role, "path": each.path, "sha256": each.sha256, "bytes": each.size}
            for each in evaluation.inputs
        ],
        "rows": evaluation.num_rows,
        "oracle": {
            "mean_objective": _mean(evaluation.optimal_objectives),
            "statuses": status_counts(evaluation.true_statuses),
            "gaps": _gaps(evaluation.true_gaps, evaluation.largest_oracle_gap),
        },
        "baseline": evaluation.baseline,
        "methods": [
            {**_method(method, evaluation), "intervals": _intervals(judgement, method.name)}
            for method in evaluation.methods
        ],
        "comparisons": [comparison_as_json(each) for each in judgement.comparisons],
        "verdict": list(judgement.verdicts),
        "bootstrap": {
            "seed": sampling.seed,
            "resamples": sampling.resamples,
            "confidence": sampling.confidence,
        },
        "failures": [_failure(each) for each in evaluation.failures],
        "notes": list(notes(evaluation)),
        "solves": evaluation.solves,
        "seconds": {
            "reading": timings.reading,
            "solving": timings.solving,
            "ties": timings.ties,
            "total": timings.total,
        },
        "workers": timings.workers,
    }


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison ready for `json.dumps`; p-values are adjusted by Holm."""
    tests = comparison.tests
    return {
        "first": comparison.first,
        "second": comparison.second,
        "difference": comparison.difference.named(),
        "shown": comparison.shown,
        "p_bootstrap": _finite(comparison.p_value),
        "p_signed_rank": _finite(comparison.signed_rank_p),
        "p_sign": _finite(comparison.sign_p),
        "rank_biserial": _finite(tests.rank_biserial),
        "standardized": _finite(tests.standardized),
        "wins": tests.wins,
        "ties": tests.ties,
        "losses": tests.losses,
        "instances": comparison.instances,
        "comparisons": comparison.comparisons,
    }


def _intervals(judgement: Judgement, name: str) -> dict[str, Any]:
    return {figure: interval.named() for figure, interval in judgement.intervals[name].items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _method(method: MethodResult, evaluation: Evaluation) -> dict[str, Any]:
    found, seeds = figures(method, evaluation).named(), range(len(method.seeds))
    return {
        "name": method.name,
        "role": method.role.value,
        "seeds": list(method.seeds),
        "rows_measured": int(np.count_nonzero(method.measured)),
        "figures": found,
        "figures_by_seed": [
            found if len(seeds) == 1 else figures(method, evaluation, seed).named() for seed in seeds
        ],
        "statuses": status_counts(method.statuses),
        "gaps": _gaps(method.gaps, method.largest_gap),
        "worst_rows": [
            {"row": each.row, "seed": each.seed, "regret": each.regret} for each in method.worst_rows
        ],
        "seconds": method.seconds,
    }


def _gaps(gaps: FloatArray, largest: float) -> dict[str, Any]:
    """Return how far from optimal solves may be: rows with a gap, and the largest; None where unknown."""
    return {
        "rows_with_a_gap": int(np.count_nonzero(gaps > 0)),
        "rows_unknown": int(np.count_nonzero(np.isnan(gaps))),
        "largest": largest if np.isfinite(largest) else None,
    }


def _failure(failure: RowFailure) -> dict[str, Any]:
    return {
        "method": failure.method,
        "seed": failure.seed,
        "row": failure.row,
        "status": failure.status.value,
    }


def _mean(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
