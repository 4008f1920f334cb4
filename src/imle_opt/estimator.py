"""Predict costs, then optimise: the whole of it as a scikit-learn estimator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, TypeAlias, cast, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from imle_opt._bridge import to_array
from imle_opt._checks import check_choice
from imle_opt.losses import ExplicitMLE
from imle_opt.noise import Exponential, Noise, Normal
from imle_opt.training import FitResult, fit, predict_costs
from imle_opt_solvers.errors import InvalidInputError
from imle_opt_solvers.regret import normalized_regret
from imle_opt_solvers.scaled_solver import ScaledSolver
from imle_opt_solvers.solution import FloatArray, Sense
from imle_opt_solvers.solver import CostDomain, Solver

__all__ = ["PredictThenOptimize"]

ModelFactory: TypeAlias = Callable[[int, int], nn.Module]
RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_NOISE = 0.25
"""Temperature of the default noise, in units of `cost_scale_`."""
_HIDDEN = 64


@final
class PredictThenOptimize(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predict the costs of an optimisation model from features, and decide by them.

    `fit` learns from true costs or from optimal solutions, `predict` returns costs, `decide` the decisions
    that are optimal under them, `score` how good these are. It is cloned, put into pipelines and searched
    over like any estimator of scikit-learn.

        model = PredictThenOptimize(wrap(problem), model="mlp", random_state=0)
        model.fit(features, costs).decide(new_features)

    Costs are learnt in units of `cost_scale_`, the mean magnitude of the true costs (1 for solutions, which
    fix costs only up to their scale); noise and a `loss` of your own are in these units. Training is in
    double precision.

    Args:
        solver: the wrapped model; or a function from the number of costs per row to a solver, for models that
            grow with the table.
        model: `"linear"` or `"mlp"` (one hidden layer of 64), both on standardised features, with a softplus
            where the solver takes no negative costs; or a function (number of features, number of costs) ->
            `nn.Module` from (rows, features) to (rows, costs), which gets the features as they are.
        loss: `"explicit-mle"`, see `ExplicitMLE`; `"mse"`, the squared error of the costs, which is the
            two-stage approach; or a function (predicted costs, labels) -> loss per row, both
            (rows, *solver.shape).
        supervision: what `y` is: `"costs"` or `"solutions"`.
        noise: for `"explicit-mle"`; `"auto"` is `Normal(0.25)`, or `Exponential(0.25)` where costs of a
            minimisation must not be negative.
        num_samples: S, for `"explicit-mle"`.
        epochs: passes over the rows, at most.
        batch_size: rows per step.
        learning_rate: of Adam.
        weight_decay: of Adam.
        validation_fraction: share of the rows held out for early stopping; used with `patience`.
        patience: stop after so many epochs without a better score on the rows held out, and keep the best
            weights; None: train on all rows, for all epochs.
        device: where to train.
        random_state: of the weights, the order of the rows, the noise: an int, a numpy `RandomState` or None.

    Attributes:
        solver_: the solver.
        model_: the trained network, from features to costs in units of `cost_scale_`.
        cost_scale_: see above.
        fit_result_: the history of the training.
        n_features_in_: number of features.
        feature_names_in_: their names, where X had such.

    Rows with a feasible region of their own (`instances`) need a loop of yours, or `imle_opt.fit`.
    """

    def __init__(
        self,
        solver: Solver | Callable[[int], Solver],
        *,
        model: Literal["linear", "mlp"] | ModelFactory = "linear",
        loss: Literal["explicit-mle", "mse"] | RowLoss = "explicit-mle",
        supervision: Literal["costs", "solutions"] = "costs",
        noise: Noise | Literal["auto"] = "auto",
        num_samples: int = 4,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        device: str | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.solver = solver
        self.model = model
        self.loss = loss
        self.supervision = supervision
        self.noise = noise
        self.num_samples = num_samples
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn to predict costs.

        Args:
            X: features, (rows, features), finite.
            y: true costs in the model's own sense, or optimal solutions, as `supervision` says:
                (rows, *solver.shape), or flattened to (rows, costs).

        Returns:
            Itself, with the attributes named above.

        Raises:
            InvalidInputError: an option that does not exist, labels that do not fit the solver.
            ValueError: from scikit-learn, features or labels that are not finite numbers, or of different
                lengths.
            SolveError: a row without a proven optimum.

        `num_samples` solves per row and epoch from solutions, twice as many from costs, none for `"mse"`.
        """
        self._check_options()
        features = self._checked_features(X, reset=True)
        labels = self._checked_labels(features, y)
        self.solver_ = self.solver if isinstance(self.solver, Solver) else self.solver(labels[0].size)
        labels = self._shaped(labels)
        self.cost_scale_ = _scale(labels) if self.supervision == "costs" else 1.0
        random = check_random_state(self.random_state)
        seed = int(random.randint(np.iinfo(np.int32).max))
        train, held_out = self._split(len(features), random)
        self.model_ = self._build(features[train], labels[0].size, seed)
        self.fit_result_ = self._train(features, labels, train, held_out, seed)
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return predicted costs in the model's own sense: (rows, *solver.shape).

        Args:
            X: (rows, features).

        Raises:
            NotFittedError: before `fit`.
        """
        check_is_fitted(self)
        features = self._checked_features(X, reset=False)
        return self.cost_scale_ * to_array(predict_costs(self.model_, torch.from_numpy(features)))

    def decide(self, X: ArrayLike) -> FloatArray:
        """Return the decisions that are optimal under the predicted costs: (rows, *solver.shape).

        Args:
            X: (rows, features).

        Raises:
            NotFittedError: before `fit`.
            SolveError: a row without a proven optimum, where the solver's policy is to raise.

        One solve per row.
        """
        costs = self.predict(X)
        decisions: FloatArray = self.solver_.solve(costs).decisions
        return decisions

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return how good the decisions are; higher is better and 1 is perfect.

        From true costs: `1 - sum of regrets / sum of |optimal objectives|`, 1 minus the normalised regret
        (ratio of sums); NaN where the optima sum to zero. From solutions: their overlap with the decisions,
        `1 - sum |z - y| / sum (|z| + |y|)`, over all rows and entries; this also counts decisions that differ
        and are as good.

        Args:
            X: (rows, features).
            y: costs or solutions, as in `fit`.

        Raises:
            NotFittedError: before `fit`.

        Two solves per row with costs, one with solutions.
        """
        costs = self.predict(X)
        return self._score(costs, self._shaped(self._checked_labels(costs, y)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags

    def _check_options(self) -> None:
        check_choice(self.supervision, ("costs", "solutions"), "supervision")
        if isinstance(self.model, str):
            check_choice(self.model, ("linear", "mlp"), "model")
        if isinstance(self.loss, str):
            check_choice(self.loss, ("explicit-mle", "mse"), "loss")
        if isinstance(self.noise, str):
            check_choice(self.noise, ("auto",), "noise")
        if self.loss == "mse" and self.supervision == "solutions":
            raise InvalidInputError(
                "`loss='mse'` compares costs with costs: it cannot learn from solutions. Use 'explicit-mle'."
            )

    def _checked_features(self, X: ArrayLike, *, reset: bool) -> FloatArray:
        validate = cast("Callable[..., FloatArray]", validate_data)  # types inferred from defaults are wrong
        return np.ascontiguousarray(validate(self, X, reset=reset, dtype=np.float64))

    def _checked_labels(self, rows: FloatArray, y: ArrayLike | None) -> FloatArray:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: pass the true "
                f"{self.supervision}."
            )
        check = cast("Callable[..., FloatArray]", check_array)
        labels = check(y, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="y")
        check_consistent_length(rows, labels)
        return labels.reshape(len(labels), -1) if labels.ndim == 1 else labels

    def _shaped(self, labels: FloatArray) -> FloatArray:
        shape = self.solver_.shape
        if labels.shape[1:] not in (shape, (math.prod(shape),)):
            raise InvalidInputError(
                f"`y` must have shape (rows, {', '.join(map(str, shape))}), the solver's, or be flattened to "
                f"(rows, {math.prod(shape)}); it has {labels.shape}."
            )
        return labels.reshape(len(labels), *shape)

    def _split(
        self, rows: int, random: np.random.RandomState
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        if self.patience is None:
            return np.arange(rows), None
        held_out = math.ceil(self.validation_fraction * rows)
        if not 0 < held_out < rows:
            raise InvalidInputError(
                f"`validation_fraction={self.validation_fraction!r}` of {rows} rows leaves nothing to train "
                f"on or to watch; early stopping needs both."
            )
        order = random.permutation(rows)
        return order[held_out:], order[:held_out]

    def _build(self, features: FloatArray, num_costs: int, seed: int) -> nn.Module:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
            if isinstance(self.model, str):
                nonnegative = self.solver_.traits.cost_domain is CostDomain.NONNEGATIVE
                network = _network(self.model, features, num_costs, nonnegative=nonnegative)
            else:
                network = self.model(features.shape[1], num_costs)
        return nn.Sequential(network, nn.Unflatten(1, self.solver_.shape)).double()

    def _train(
        self,
        features: FloatArray,
        labels: FloatArray,
        train: NDArray[np.int64],
        held_out: NDArray[np.int64] | None,
        seed: int,
    ) -> FitResult:
        row_loss = self._row_loss()
        data = TensorDataset(
            torch.from_numpy(features[train]), torch.from_numpy(labels[train] / self.cost_scale_)
        )
        return fit(
            self.model_,
            DataLoader(data, self.batch_size, shuffle=True),
            lambda costs, batch: row_loss(costs, batch[1]),
            epochs=self.epochs,
            optimizer=torch.optim.Adam(
                self.model_.parameters(), self.learning_rate, weight_decay=self.weight_decay
            ),
            validation=None if held_out is None else self._watch(features[held_out], labels[held_out]),
            patience=self.patience,
            seed=seed,
            progress=False,
            device=self.device,
        )

    def _watch(self, features: FloatArray, labels: FloatArray) -> Callable[[nn.Module], float]:
        inputs = torch.from_numpy(features)

        def loss(model: nn.Module) -> float:
            costs = self.cost_scale_ * to_array(predict_costs(model, inputs))
            return 1.0 - self._score(costs, labels)

        return loss

    def _score(self, costs: FloatArray, labels: FloatArray) -> float:
        if self.supervision == "costs":
            return 1.0 - normalized_regret(self.solver_, costs, labels)
        return _overlap(self.solver_.solve(costs).decisions, labels)

    def _row_loss(self) -> RowLoss:
        if not isinstance(self.loss, str):
            return self.loss
        if self.loss == "mse":
            return lambda costs, labels: (costs - labels).square().flatten(1).mean(1)
        noise = self._default_noise() if isinstance(self.noise, str) else self.noise
        # Fixed costs of the model are in its own unit, and so must be what it solves.
        solver = ScaledSolver(self.solver_, self.cost_scale_)
        loss = ExplicitMLE(solver, noise=noise, num_samples=self.num_samples)
        if self.supervision == "costs":
            return lambda costs, labels: loss(costs, costs=labels)
        return lambda costs, labels: loss(costs, solutions=labels)

    def _default_noise(self) -> Noise:
        nonnegative = self.solver_.traits.cost_domain is CostDomain.NONNEGATIVE
        return Exponential(_NOISE) if nonnegative and self.solver_.sense is Sense.MIN else Normal(_NOISE)


@final
class _Standardize(nn.Module):
    """Features to mean 0 and variance 1, as they were in the training rows; constant ones to 0."""

    def __init__(self, features: FloatArray) -> None:
        super().__init__()
        scale = features.std(axis=0)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(np.where(scale > 0, scale, 1.0)))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale


def _network(kind: str, features: FloatArray, num_costs: int, *, nonnegative: bool) -> nn.Module:
    width = features.shape[1]
    head = (
        [nn.Linear(width, num_costs)]
        if kind == "linear"
        else [nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, num_costs)]
    )
    return nn.Sequential(_Standardize(features), *head, *([nn.Softplus()] if nonnegative else []))


def _scale(costs: FloatArray) -> float:
    scale = float(np.abs(costs).mean())
    return scale if scale > 0 else 1.0


def _overlap(decisions: FloatArray, solutions: FloatArray) -> float:
    size = float(np.abs(decisions).sum() + np.abs(solutions).sum())
    return 1.0 - float(np.abs(decisions - solutions).sum()) / size if size else 1.0
