"""Linear and mixed-integer models on HiGHS, in process.

The model is built once per thread; a solve changes the costs in place. A mixed-integer row is first solved
as a linear program: an optimum of the relaxation that is integral is an optimum of the model, proven. Where
it is fractional, branch and bound follows.

In batches, small models are walked first: linear programs from optimum to optimum, each one certified by its
reduced costs (see `walker`), mixed-integer models by a branch and bound that keeps its tree from row to row
(see `brancher`). HiGHS solves the rows that the walk leaves open: under `deterministic` those whose optima
may tie, and those whose last bits depend on the way that led there.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from imle_opt_solvers._per_thread import PerThread
from imle_opt_solvers.engines.brancher import Brancher
from imle_opt_solvers.engines.highs_object import HighsObject
from imle_opt_solvers.engines.known_points import KnownPoints, check_remembered, read_starts
from imle_opt_solvers.engines.pace import LARGEST_BLOCK, Pace
from imle_opt_solvers.engines.start_choice import StartChoice
from imle_opt_solvers.engines.vertex import Vertices, has_plain_data
from imle_opt_solvers.engines.walker import LARGEST_WALK, Walked, Walker
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.linear_instances import LINEAR_INSTANCES, RowBounds, expand_linear_instances
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import RowAnswer, collect_answers, exact_integers
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["REMEMBERED", "HighsSolver"]

REMEMBERED = 64
"""Answers kept as starts, where nothing is said."""

_INTEGRALITY_TOLERANCE = 1e-6
_FEASIBILITY_TOLERANCE = 1e-6
_WHOLE = 1e-9
_SAME = 1e-6
"""A vertex is the one that an answer stands for where it costs as much, relative to the largest cost."""
_RELAXATION_MISSES = 50
"""After so many fractional relaxations in a row, a warm solver goes straight to branch and bound."""
_COLD_SOLVES_TIMED, _SOLVES_TIMED = 3, 12
"""Before a walk is judged: linear programs from the slack basis, and all others, which differ more."""


@final
class HighsSolver(Solver):
    """A `LinearModel` solved by HiGHS.

    Args:
        model: the model.
        limits: per row; `seconds` bounds the relaxation and branch and bound each.
        on_failure: see `Solver`.
        starts: (K, columns) feasible points of the whole model, columns as in `model.column_names`. The best
            of them for a row is where its branch and bound starts, and what it cuts off worse branches by.
        remembered: how many of the last answers to keep, in each thread, as such starts for rows solved with
            `deterministic=False`; 0: none. Under `deterministic=True` they are not used: where optima tie, an
            answer would depend on what was solved before.

    `instances` takes `rhs`, `row_lower`, `row_upper`, `column_lower`, `column_upper`; see `linear_instances`.
    One solve per row: a linear program, and a branch and bound where its optimum is fractional. Starts leave
    optima exact; where several decisions are optimal, `starts` may decide which one is returned, and always
    the same one. Rows with `instances` do without starts.

    Raises:
        InvalidInputError: `starts` that are not feasible points, or `remembered` that is no count.
    """

    def __init__(
        self,
        model: LinearModel,
        *,
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
        starts: ArrayLike | None = None,
        remembered: int = REMEMBERED,
    ) -> None:
        traits = Traits(
            binary=model.predicted_binary,
            releases_gil=True,
            takes_instances=LINEAR_INSTANCES,
            engine="highs",
        )
        super().__init__(
            model.predicted.shape, model.sense, traits, names=model.predicted_names, on_failure=on_failure
        )
        self.model = model
        self.limits = limits or Limits()
        self._remembered = check_remembered(remembered)
        self._starts = read_starts(model, starts)
        self._engines: PerThread[_Engine] = PerThread()

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve on this thread's HiGHS objects, row by row where no walk pays."""
        engine = self._engines.get(self._make_engine)
        bounds = None if instances is None else expand_linear_instances(self.model, instances, len(costs))
        flat = costs.reshape(len(costs), -1)
        minimised = -self.sense.sign * self._totals(flat)
        try:
            if bounds is None:
                answers = engine.solve_batch(minimised, deterministic)
            else:
                answers = [
                    engine.solve_within(bounds, row, each, deterministic)
                    for row, each in enumerate(minimised)
                ]
        finally:  # also after Ctrl-C: the engine outlives this call
            if bounds is not None:
                engine.reset_bounds()
        return collect_answers(self.model, costs, answers)

    def _make_engine(self) -> _Engine:
        remembered = self._remembered if self.model.is_mixed_integer else 0
        return _Engine(self.model, self.limits, KnownPoints(self._starts, remembered))

    def _totals(self, flat: FloatArray) -> FloatArray:
        totals = np.tile(self.model.fixed_costs, (len(flat), 1))
        totals[:, self.model.predicted.columns] = flat
        return totals


def _bounds_of(model: LinearModel) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return model.row_lower, model.row_upper, model.column_lower, model.column_upper


@final
class _Engine:
    """The HiGHS objects of one thread: the relaxation, and the model itself where it has integers."""

    def __init__(self, model: LinearModel, limits: Limits, known: KnownPoints) -> None:
        self.model = model
        self._known = known
        self._has_own_bounds = True
        self.relaxation = HighsObject(model.relaxed() if model.is_mixed_integer else model, limits)
        self.branch_and_bound = HighsObject(model, limits) if model.is_mixed_integer else None
        self.misses = 0
        self._seconds, self._exact = limits.seconds, limits.relative_gap == 0.0
        self._bounds = _bounds_of(model)
        cold = _SOLVES_TIMED if model.is_mixed_integer else _COLD_SOLVES_TIMED
        self._paces = {True: Pace(cold), False: Pace(_SOLVES_TIMED)}
        self._start_choice = StartChoice()
        self._walker: Walker | Brancher | None = None
        self._plain = model.is_mixed_integer and has_plain_data(model)
        self._vertices = Vertices(model) if self._plain and Vertices.can_hold(model) else None

    def solve_batch(self, costs: FloatArray, deterministic: bool) -> list[RowAnswer]:
        """Minimise each row of `costs` (B, columns), by walks where they pay."""
        pace = self._paces[deterministic]
        pace.begin(len(costs))
        answers: list[RowAnswer] = []
        while len(answers) < len(costs):
            left = costs[len(answers) :]
            size = pace.rows_to_walk(len(left)) if self._walks(deterministic) else 0
            if size and self._start_walker(pace):
                answers += self._walk(left[:size], pace, deterministic)
            else:
                answers += [self.solve(row, deterministic) for row in left[:LARGEST_BLOCK]]
        return answers

    def solve_within(self, bounds: RowBounds, row: int, costs: FloatArray, deterministic: bool) -> RowAnswer:
        """Minimise `costs` (columns,) over the sides and bounds of one row, which are left in place."""
        self._take_bounds(bounds, row)
        return self.solve(costs, deterministic)

    def _walks(self, deterministic: bool) -> bool:
        """Whether a batch may be walked.

        Deterministic rows of mixed-integer models are where HiGHS finds the same decision alone: not within a
        gap, nor where its tolerances decide.
        """
        if not 0 < self.model.num_rows <= LARGEST_WALK:
            return False
        return not (deterministic and self.model.is_mixed_integer) or (self._exact and self._plain)

    def _start_walker(self, pace: Pace) -> bool:
        if self._walker is None:
            start = self.relaxation.feasible_basis()
            if start is None:
                pace.give_up()
                return False
            self._walker = (Brancher if self.model.is_mixed_integer else Walker)(self.model, start)
        return True

    def _walk(self, costs: FloatArray, pace: Pace, deterministic: bool) -> list[RowAnswer]:
        """Minimise each row of `costs` (B, columns) by a walk, and what it leaves open by HiGHS."""
        assert self._walker is not None
        began = time.perf_counter()
        walked = self._walker.walk(costs, self._seconds)
        found = [self._settled(walked, row, deterministic) for row in range(len(costs))]
        settled = sum(answer is not None for answer in found)
        pace.note_walk(time.perf_counter() - began, len(costs), settled)
        timed = pace.solves_wanted()
        return [
            self.solve(each, deterministic) if answer is None or row < timed else self._met(answer)
            for row, (each, answer) in enumerate(zip(costs, found, strict=True))
        ]

    def _settled(self, walked: Walked, row: int, deterministic: bool) -> RowAnswer | None:
        """Return the answer of a row that needs no solve by HiGHS."""
        if walked.late[row]:
            return RowAnswer(Status.LIMIT)
        if not walked.optimal[row] or (deterministic and not walked.certain[row]):
            return None
        point: FloatArray | None = walked.points[row]
        if not walked.exact[row] and deterministic:
            point = None if self._vertices is None else self._vertices.find(walked.points[row], clear=True)
        return None if point is None else RowAnswer(Status.OPTIMAL, point, 0.0)

    def _relax(self, costs: FloatArray, deterministic: bool) -> RowAnswer:
        answer = self.relaxation.run(costs, fresh=deterministic or self._start_choice.fresh())
        if not deterministic:
            self._start_choice.note(self.relaxation.iterations)
        return answer

    def solve(self, costs: FloatArray, deterministic: bool) -> RowAnswer:
        """Minimise `costs` (columns,) by HiGHS."""
        began = time.perf_counter()
        answer = self._solve(costs, deterministic)
        self._paces[deterministic].note_solve(time.perf_counter() - began)
        return answer

    def _solve(self, costs: FloatArray, deterministic: bool) -> RowAnswer:
        if self.branch_and_bound is None:
            answer = self._relax(costs, deterministic)
            return answer if answer.values is None else replace(answer, values=self._whole(answer.values))
        if deterministic or self.misses < _RELAXATION_MISSES:
            relaxed = self._relax(costs, deterministic)
            if relaxed.status is Status.INFEASIBLE:
                return relaxed
            rounded = None if relaxed.values is None else self._integral(relaxed.values, costs)
            if rounded is not None:
                self.misses = 0
                return self._met(RowAnswer(Status.OPTIMAL, rounded, 0.0))
            self.misses += 1
        return self._branch(costs, deterministic)

    def _branch(self, costs: FloatArray, deterministic: bool) -> RowAnswer:
        assert self.branch_and_bound is not None
        start = self._known.best(costs, fixed_only=deterministic) if self._has_own_bounds else None
        result = self.branch_and_bound.run(costs, fresh=True, start=start)
        if result.values is None:
            return result
        return self._met(RowAnswer(result.status, self._rounded(result.values, costs), result.gap))

    def _met(self, answer: RowAnswer) -> RowAnswer:
        """Remember the point of an answer of a row over the model's own sides and bounds."""
        if answer.values is not None and self._has_own_bounds:
            self._known.add(answer.values)
        return answer

    def _take_bounds(self, bounds: RowBounds, row: int) -> None:
        """Give every object the sides and bounds of one row."""
        model = self.model
        self._has_own_bounds = False
        self._set_bounds(
            model.row_lower if bounds.row_lower is None else bounds.row_lower[row],
            model.row_upper if bounds.row_upper is None else bounds.row_upper[row],
            model.column_lower if bounds.column_lower is None else bounds.column_lower[row],
            model.column_upper if bounds.column_upper is None else bounds.column_upper[row],
        )

    def reset_bounds(self) -> None:
        """Give every object the model's own sides and bounds again."""
        self._set_bounds(*_bounds_of(self.model))
        self._has_own_bounds = True

    def _set_bounds(
        self,
        row_lower: FloatArray,
        row_upper: FloatArray,
        column_lower: FloatArray,
        column_upper: FloatArray,
    ) -> None:
        self._bounds = (row_lower, row_upper, column_lower, column_upper)
        for highs in (self.relaxation, self.branch_and_bound):
            if highs is not None:
                highs.set_bounds(*self._bounds)

    def _rounded(self, values: FloatArray, costs: FloatArray) -> FloatArray:
        """Return the vertex that the values stand for, at least with integers exact, minimising `costs`."""
        rounded = exact_integers(values, self.model.integrality)
        if self._vertices is None or not self._has_own_bounds:
            return rounded
        vertex = self._vertices.find(rounded, clear=False)
        if vertex is None:
            return rounded
        difference = abs(float(costs @ (vertex - rounded)))
        return vertex if difference <= _SAME * float(np.abs(costs).max(initial=0.0)) else rounded

    def _whole(self, values: FloatArray) -> FloatArray:
        """Return the whole numbers that the values stand for, as a walk gives them, or else the values."""
        rounded = np.round(values) + 0.0
        if np.abs(rounded - values).max(initial=0.0) > _WHOLE or not self._feasible(rounded):
            return values
        return rounded

    def _integral(self, values: FloatArray, costs: FloatArray) -> FloatArray | None:
        """Return the values with integers made exact, or None where they are fractional."""
        values = self._whole(values)
        rounded = exact_integers(values, self.model.integrality)
        distance = float(np.abs(rounded - values).max(initial=0.0))
        if distance > _INTEGRALITY_TOLERANCE:
            return None
        if distance > 1e-12 and not self._feasible(rounded):
            return None
        return self._rounded(values, costs)

    def _feasible(self, values: FloatArray) -> bool:
        activities = self.model.activities(values)
        slack = _FEASIBILITY_TOLERANCE * np.maximum(1.0, np.abs(activities))
        row_lower, row_upper, *_ = self._bounds
        above = activities >= row_lower - slack
        below = activities <= row_upper + slack
        return bool(above.all() and below.all())
