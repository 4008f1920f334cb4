"""The CSV file of an evaluation: one line per row, method and seed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imle_opt.evaluation.result import STATUSES, Evaluation, MethodResult
from imle_opt_solvers import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["ROW_COLUMNS", "write_rows"]

ROW_COLUMNS = (
    "row", "method", "seed", "regret", "worst_case_regret", "achieved_objective", "optimal_objective",
    "optimal", "exact_match", "hamming_distance", "predicted_status", "predicted_gap", "true_status",
    "true_gap",
)  # fmt: skip
_PIECE = 50_000


def write_rows(path: Path, evaluation: Evaluation) -> None:
    """Write the file; cells of what is not known are empty.

    Raises:
        InvalidInputError: it cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(ROW_COLUMNS)
            for method in evaluation.methods:
                for seed in range(len(method.seeds)):
                    for start in range(0, evaluation.num_rows, _PIECE):
                        writer.writerows(_lines(evaluation, method, seed, start))
    except OSError as error:
        raise InvalidInputError(f"--csv {path}: cannot be written: {error.strerror}.") from error


def _lines(
    evaluation: Evaluation, method: MethodResult, seed: int, start: int
) -> Iterator[tuple[object, ...]]:
    rows = slice(start, min(start + _PIECE, evaluation.num_rows))
    count = rows.stop - start
    worst = method.worst_case_regrets
    return zip(
        range(start, rows.stop),
        [method.name] * count,
        [method.seeds[seed]] * count,
        _cells(method.regrets[seed, rows]),
        [""] * count if worst is None else _cells(worst[seed, rows]),
        _cells(method.achieved_objectives[seed, rows]),
        _cells(evaluation.optimal_objectives[rows]),
        method.optimal[seed, rows].astype(int).tolist(),
        method.exact_matches[seed, rows].astype(int).tolist(),
        _cells(method.hamming_distances[seed, rows]),
        _statuses(method.statuses[seed, rows]),
        _cells(method.gaps[seed, rows]),
        _statuses(evaluation.true_statuses[rows]),
        _cells(evaluation.true_gaps[rows]),
        strict=True,
    )


def _cells(values: FloatArray) -> list[object]:
    return ["" if np.isnan(value) else value for value in values.tolist()]


def _statuses(codes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[str]:
    return [STATUSES[code].value for code in codes.tolist()]
