"""`imle-opt predict`: costs from features, by a predictor that `imle-opt fit` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from imle_opt.cli.outcome import ExitCode
from imle_opt.fitting.features import read_features
from imle_opt.fitting.predictor import CostPredictor
from imle_opt.table_writer import check_writable, write_table

__all__ = ["PredictOptions", "run_predict"]


@final
@dataclass(frozen=True)
class PredictOptions:
    """What `imle-opt predict` was asked; see its `--help`."""

    folder: Path
    features: Path
    out: Path


def run_predict(options: PredictOptions) -> ExitCode:
    """Read, predict, write; no solver takes part.

    Raises:
        ImleOptError: anything wrong with the predictor, the table or the options.
    """
    check_writable(options.out, "--out")
    predictor = CostPredictor.load(options.folder)
    costs = predictor.predict(read_features(options.features, predictor.spec))
    write_table(options.out, costs, predictor.spec.cost_names)
    print(f"{options.out}: {len(costs)} rows of {costs[0].size} predicted costs")
    return ExitCode.OK
