"""A trained predictor, in memory and on disk: safetensors for the numbers, JSON for what they mean."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import nn

from imle_opt._bridge import to_array
from imle_opt._safe_files import read_tensors, write_tensors
from imle_opt.predictors import PREDICTORS, Kind, cost_network
from imle_opt.training import predict_costs
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.solution import FloatArray

__all__ = ["CostPredictor", "PredictorSpec"]

_FORMAT = "imle-opt predictor"
_VERSION = 1


@final
@dataclass(frozen=True)
class PredictorSpec:
    """What a predictor's numbers mean.

    Args:
        kind: of its network.
        hidden: width of the hidden layer.
        num_features: of a row.
        shape: of the costs of a row.
        nonnegative: whether costs are kept from being negative.
        cost_unit: what the network's outputs are counted in.
        feature_names: one per feature, or None.
        cost_names: one per cost, or None.
    """

    kind: Kind
    hidden: int
    num_features: int
    shape: tuple[int, ...]
    nonnegative: bool
    cost_unit: float
    feature_names: tuple[str, ...] | None
    cost_names: tuple[str, ...] | None

    def network(self) -> nn.Sequential:
        """Return a new network of this kind."""
        return cost_network(
            self.kind, self.num_features, self.shape, hidden=self.hidden, nonnegative=self.nonnegative
        )


@final
@dataclass(frozen=True, eq=False)
class CostPredictor:
    """From features to costs in the model's own unit and sense.

    Args:
        spec: what it is.
        network: its first module scales the features; its outputs are in `spec.cost_unit`.
    """

    spec: PredictorSpec
    network: nn.Sequential

    def predict(self, features: FloatArray) -> FloatArray:
        """Return costs (rows, *shape).

        Args:
            features: (rows, features), in the order of `spec.feature_names`.
        """
        return self.spec.cost_unit * to_array(predict_costs(self.network, torch.from_numpy(features)))

    def save(self, folder: Path) -> None:
        """Write `predictor.safetensors` and, when that is there, `predictor.json`.

        Raises:
            InvalidInputError: a file cannot be written.
        """
        write_tensors(folder / "predictor.safetensors", self.network.state_dict())
        text = json.dumps({"format": _FORMAT, "version": _VERSION, **asdict(self.spec)}, indent=2)
        path = folder / "predictor.json"
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InvalidInputError(f"{path}: cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, folder: Path) -> CostPredictor:
        """Read what `save` wrote; no code in the files is run.

        Raises:
            InvalidInputError: the files are missing, or are not what `save` wrote.
        """
        spec = _read_spec(folder)
        network = spec.network()
        path = folder / "predictor.safetensors"
        try:
            network.load_state_dict(read_tensors(path))
        except RuntimeError as error:
            raise InvalidInputError(
                f"{path}: does not belong to the predictor.json beside it: {error} Fit it again."
            ) from error
        network.eval()
        return cls(spec, network)


def _read_spec(folder: Path) -> PredictorSpec:
    path = folder / "predictor.json"
    if not path.is_file():
        raise InvalidInputError(
            f"{folder}: holds no predictor.json. Name the folder that `imle-opt fit --out` wrote; a fit "
            f"that was interrupted writes it at its end."
        )
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path}: cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InvalidInputError(f"{path}: is not a predictor that imle-opt wrote.")
    if content.get("version") != _VERSION:
        raise InvalidInputError(
            f"{path}: has version {content.get('version')!r}, and this imle-opt reads version {_VERSION}: "
            f"fit it again."
        )
    return _spec_of(content, path)


def _spec_of(content: dict[str, Any], path: Path) -> PredictorSpec:
    try:
        spec = PredictorSpec(
            kind=content["kind"],
            hidden=int(content["hidden"]),
            num_features=int(content["num_features"]),
            shape=tuple(map(int, content["shape"])),
            nonnegative=bool(content["nonnegative"]),
            cost_unit=float(content["cost_unit"]),
            feature_names=_names(content["feature_names"]),
            cost_names=_names(content["cost_names"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{path}: an entry is missing or unfit: {error}. Fit it again.") from error
    if spec.kind not in PREDICTORS:
        raise InvalidInputError(f"{path}: the kind {spec.kind!r} is none of {', '.join(PREDICTORS)}.")
    return spec


def _names(names: Any) -> tuple[str, ...] | None:
    return None if names is None else tuple(map(str, names))
