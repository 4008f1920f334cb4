"""How far predicted costs are from the true ones, added up a block of rows at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.result import PredictionErrors
from imle_opt_solvers.solution import FloatArray

__all__ = ["NUM_SUMS", "TrueRanks", "error_sums", "errors_of"]

NUM_SUMS = 6


class TrueRanks:
    """The centred ranks of each row's true costs, which all methods are compared with.

    Args:
        true: (b, m).
    """

    def __init__(self, true: FloatArray) -> None:
        self.centred, self.squares = _centred_ranks(true)


def error_sums(predicted: FloatArray, true: FloatArray, true_mean: float, ranks: TrueRanks) -> FloatArray:
    """Return what `errors_of` needs of one block, to be added up over blocks: (6,).

    Args:
        predicted: (b, m).
        true: (b, m).
        true_mean: of all true costs of all rows.
        ranks: of these true costs.
    """
    errors = predicted - true
    distances = true - true_mean
    correlations = _row_correlations(predicted, ranks)
    known = ~np.isnan(correlations)
    return np.array(
        [
            errors.size,
            np.vdot(errors, errors),
            np.abs(errors).sum(),
            np.vdot(distances, distances),
            correlations[known].sum(),
            np.count_nonzero(known),
        ],
        dtype=np.float64,
    )


def errors_of(sums: FloatArray) -> PredictionErrors:
    """Return the prediction errors of the added sums, (S, 6), one row per seed."""
    count, squared, absolute, scatter, correlations, ranked = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return PredictionErrors(
            mse=squared / count,
            mae=absolute / count,
            r2=np.where(scatter > 0, 1 - squared / scatter, np.nan),
            spearman=np.where(ranked > 0, correlations / ranked, np.nan),
        )


def _row_correlations(predicted: FloatArray, ranks: TrueRanks) -> FloatArray:
    """Return Spearman's correlation of each row, (b,); NaN where either side is all equal."""
    centred, squares = _centred_ranks(predicted)
    scale = np.sqrt(squares * ranks.squares)
    products = np.einsum("bm,bm->b", centred, ranks.centred)
    correlations = np.full(len(scale), np.nan)
    np.divide(products, scale, out=correlations, where=scale > 0)
    return correlations


def _centred_ranks(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ranks of each row less their mean, tied ones at their average, and their sums of squares."""
    rows, width = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    places = _tied_places(ordered) if (ordered[:, 1:] == ordered[:, :-1]).any() else np.arange(float(width))
    ranks = np.empty((rows, width))
    np.put_along_axis(ranks, order, np.broadcast_to(places - (width - 1) / 2, ranks.shape), axis=1)
    return ranks, np.einsum("bm,bm->b", ranks, ranks)


def _tied_places(ordered: FloatArray) -> FloatArray:
    """Return the average place of the run of equal values that each entry is in."""
    width = ordered.shape[1]
    places: NDArray[np.int64] = np.broadcast_to(np.arange(width), ordered.shape)
    starts, ends = np.ones(ordered.shape, dtype=np.bool_), np.ones(ordered.shape, dtype=np.bool_)
    starts[:, 1:] = ends[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, width)[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((first + last) / 2.0)
