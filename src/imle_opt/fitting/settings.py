"""The options of a fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, final, get_args

from imle_opt._checks import check_at_least_one, check_choice, check_positive
from imle_opt.methods import METHODS, Supervision
from imle_opt.predictors import PREDICTORS, Kind
from imle_opt_solvers.errors import InvalidInputError

__all__ = ["FitSettings", "SplitBy"]

SplitBy: TypeAlias = Literal["random", "order"]


@final
@dataclass(frozen=True)
class FitSettings:
    """How to learn; the defaults are meant to be good without tuning.

    Args:
        method: a name in `METHODS`.
        predictor: `"linear"`, or `"mlp"` with one hidden layer.
        hidden: width of that layer.
        epochs: passes over the training rows, at most.
        patience: stop after so many epochs without a better validation.
        batch_size: rows per step; None: 32, or fewer where that leaves an epoch less than ten steps.
        learning_rate: of Adam.
        weight_decay: of AdamW; it pulls weights, not the level of the costs, towards 0.
        temperature: of the noise, in units of the spread of the costs.
        num_samples: perturbed decisions per row.
        strength: of the step of black-box differentiation, in units of the spread of the costs.
        validation_share: share of the rows for early stopping.
        test_share: share of the rows for the report; 0 for no report.
        split: `"random"`, or by `"order"`: the last rows for the report, those before them for validation.
        seed: of the split, the weights, the noise and the order of the rows.
        cost_unit: what the network's outputs are counted in; None: the spread of the true costs, and 1 with
            solutions, which fix costs up to their unit only.

    Raises:
        InvalidInputError: an option out of its range.
    """

    method: str = "explicit-mle"
    predictor: Kind = "linear"
    hidden: int = 64
    epochs: int = 200
    patience: int = 20
    batch_size: int | None = None
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    temperature: float = 0.5
    num_samples: int = 4
    strength: float = 1.0
    validation_share: float = 0.2
    test_share: float = 0.2
    split: SplitBy = "random"
    seed: int = 0
    cost_unit: float | None = None

    def __post_init__(self) -> None:
        check_choice(self.method, tuple(METHODS), "method")
        check_choice(self.predictor, PREDICTORS, "predictor")
        check_choice(self.split, get_args(SplitBy), "split")
        for name in ("hidden", "epochs", "patience", "num_samples"):
            check_at_least_one(getattr(self, name), name)
        for name in ("learning_rate", "temperature", "strength"):
            check_positive(getattr(self, name), name)
        if self.batch_size is not None:
            check_at_least_one(self.batch_size, "batch_size")
        if self.cost_unit is not None:
            check_positive(self.cost_unit, "cost_unit")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InvalidInputError(
                f"`weight_decay` must be finite and not negative, not {self.weight_decay!r}."
            )
        if not 0 <= self.seed < 2**63:
            raise InvalidInputError(f"`seed` must be a whole number from 0, not {self.seed!r}.")
        self._check_shares()

    def check_supervision(self, supervision: Supervision) -> None:
        """Refuse a method that cannot learn from labels of this kind.

        Raises:
            InvalidInputError: it cannot.
        """
        learns_from = METHODS[self.method].learns_from
        if supervision not in learns_from:
            able = [name for name, method in METHODS.items() if supervision in method.learns_from]
            raise InvalidInputError(
                f"The method {self.method!r} learns from {' or '.join(learns_from)}, and {supervision} were "
                f"given: give {' or '.join(learns_from)}, or use {' or '.join(map(repr, able))}."
            )

    def as_text(self) -> dict[str, str]:
        """Return all options as text, by name."""
        return {name: str(value) for name, value in asdict(self).items()}

    def _check_shares(self) -> None:
        if not (0 < self.validation_share < 1 and 0 <= self.test_share < 1):
            raise InvalidInputError(
                f"`validation_share` must lie between 0 and 1 and `test_share` in [0, 1): they are "
                f"{self.validation_share!r} and {self.test_share!r}."
            )
        if self.validation_share + self.test_share >= 1:
            raise InvalidInputError(
                f"`validation_share` and `test_share` add up to {self.validation_share + self.test_share:g}: "
                f"that leaves no rows to train on."
            )
