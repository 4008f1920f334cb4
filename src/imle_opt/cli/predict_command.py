"""`imle-opt predict`: costs from features, by a predictor that `imle-opt fit` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from imle_opt.cli.outcome import ExitCode
from imle_opt.fitting.predictor import CostPredictor
from imle_opt.table_writer import check_writable, write_table
from imle_opt.tables import read_features

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
    spec = predictor.spec
    features = read_features(options.features, names=spec.feature_names, width=spec.num_features)
    costs = predictor.predict(features)
    write_table(options.out, costs, spec.cost_names)
    print(f"{options.out}: {len(costs)} rows of {costs[0].size} predicted costs")
    return ExitCode.OK
