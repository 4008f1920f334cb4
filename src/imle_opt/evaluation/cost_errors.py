"""How far predicted costs are from the true ones: row by row, and put together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imle_opt.evaluation.result import PredictionErrors
from imle_opt_solvers.solution import FloatArray

__all__ = ["TrueRanks", "errors_of", "row_errors"]


class TrueRanks:
    """The centred ranks of each row's true costs, which all methods are compared with.

    Args:
        true: (b, m).
    """

    def __init__(self, true: FloatArray) -> None:
        self.centred, self.squares = _centred_ranks(true)


def row_errors(predicted: FloatArray, true: FloatArray, ranks: TrueRanks) -> dict[str, FloatArray]:
    """Return the sums over the costs of each row, and its rank correlation; each (b,).

    Args:
        predicted: (b, m).
        true: (b, m).
        ranks: of these true costs.
    """
    errors = predicted - true
    return {
        "squared_errors": np.einsum("bm,bm->b", errors, errors),
        "absolute_errors": np.abs(errors).sum(axis=1),
        "rank_correlations": _row_correlations(predicted, ranks),
    }


def errors_of(
    squared: FloatArray, absolute: FloatArray, correlations: FloatArray, scatter: float, width: int
) -> PredictionErrors:
    """Return the prediction errors of a method.

    Args:
        squared: (S, N) what `row_errors` returned, as are the next two.
        absolute: (S, N).
        correlations: (S, N).
        scatter: the sum of squared distances of all true costs from their mean.
        width: costs per row.
    """
    ranked = np.count_nonzero(~np.isnan(correlations), axis=1)
    undefined = np.full(len(squared), np.nan)
    return PredictionErrors(
        mse=squared.mean(axis=1) / width,
        mae=absolute.mean(axis=1) / width,
        r2=1 - squared.sum(axis=1) / scatter if scatter > 0 else undefined,
        spearman=np.divide(np.nansum(correlations, axis=1), ranked, out=undefined.copy(), where=ranked > 0),
    )


def _row_correlations(predicted: FloatArray, ranks: TrueRanks) -> FloatArray:
    """Return Spearman's correlation of each row, (b,); NaN where either side is all equal."""
    # A reference has one row in memory, for all.
    centred, squares = _centred_ranks(predicted if predicted.strides[0] else predicted[:1])
    scale = np.sqrt(squares * ranks.squares)
    products = np.einsum("bm,bm->b", np.broadcast_to(centred, predicted.shape), ranks.centred)
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
