"""Linear and mixed-integer models on the CBC command-line program, one process per row.

Each row's model is written to a temporary directory that goes when the batch is done. The answer is read from
CBC's binary solution file, because its text file keeps 8 digits.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import final

import numpy as np

from imle_opt_solvers.engines.mps_text import ModelBounds, MpsText, bounds_of_row
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.linear_instances import LINEAR_INSTANCES, expand_linear_instances
from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.row_answer import RowAnswer, collect_answers, exact_integers, scaled
from imle_opt_solvers.solution import FloatArray, Limits, OnFailure, Solution, Status
from imle_opt_solvers.solver import Solver, Traits

__all__ = ["CbcSolver"]

_STATUSES = {
    "Optimal": Status.OPTIMAL,
    "Infeasible": Status.INFEASIBLE,
    "Integer infeasible": Status.INFEASIBLE,
    "Unbounded": Status.UNBOUNDED,
    "Stopped on difficulties": Status.ERROR,
    "Stopped on": Status.LIMIT,
}
"""How CBC's solution file starts, the longer text first; every other start is an error."""

_FEASIBILITY_TOLERANCE = 1e-6
_COST_EXPONENT = 10
"""Costs are scaled to a largest entry in [2 ** 9, 2 ** 10): CBC's tolerances are absolute."""

_GRACE_SECONDS = 5.0
"""CBC looks at the clock between steps; past its limit by this much, it is killed."""


@final
class CbcSolver(Solver):
    """A `LinearModel` solved by CBC, in a process of its own for each row.

    Args:
        model: the model.
        executable: path of the `cbc` program.
        limits: per row; `threads` above 1 asks for CBC's repeatable parallel search.
        on_failure: see `Solver`.

    `instances` takes `rhs`, `row_lower`, `row_upper`, `column_lower`, `column_upper`; see `linear_instances`.
    One process per row (about 10 ms on top of the search itself), and a second one for a row without an
    optimum, which tells infeasible from unbounded. Prefer `HighsSolver` unless CBC itself is wanted.
    """

    def __init__(
        self,
        model: LinearModel,
        executable: str,
        *,
        limits: Limits | None = None,
        on_failure: OnFailure = "raise",
    ) -> None:
        traits = Traits(
            binary=model.predicted_binary,
            releases_gil=True,
            takes_instances=LINEAR_INSTANCES,
            engine="native:cbc",
        )
        super().__init__(
            model.predicted.shape, model.sense, traits, names=model.predicted_names, on_failure=on_failure
        )
        self.model = model
        self.executable = executable
        self.limits = limits or Limits()
        self._text = MpsText(model)

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve each row in a fresh process, so that no row depends on another."""
        rows = len(costs)
        bounds = None if instances is None else expand_linear_instances(self.model, instances, rows)
        totals = [self.model.total_costs(row) for row in costs.reshape(rows, -1)]
        with tempfile.TemporaryDirectory(prefix="imle-opt-cbc-") as folder:
            answers = [
                self._solve(-self.sense.sign * total, bounds_of_row(self.model, bounds, row), Path(folder))
                for row, total in enumerate(totals)
            ]
        return collect_answers(self.model, costs, answers)

    def _solve(self, costs: FloatArray, bounds: ModelBounds, folder: Path) -> RowAnswer:
        """Minimise `costs` (columns,)."""
        if bounds.crossed:
            return RowAnswer(Status.INFEASIBLE)
        answer = self._run(costs, bounds, folder)
        if answer.status not in (Status.INFEASIBLE, Status.UNBOUNDED, Status.ERROR):
            return answer
        # CBC does not tell these apart for sure. Without costs nothing is unbounded.
        without_costs = self._run(np.zeros_like(costs), bounds, folder).status
        if without_costs.has_decision:
            return RowAnswer(Status.ERROR if answer.status is Status.ERROR else Status.UNBOUNDED)
        return RowAnswer(without_costs)

    def _run(self, costs: FloatArray, bounds: ModelBounds, folder: Path) -> RowAnswer:
        model, text, binary = (folder / name for name in ("model.mps", "answer.txt", "answer.bin"))
        for stale in (text, binary):
            stale.unlink(missing_ok=True)
        model.write_text(
            self._text.minimise(scaled(costs, _COST_EXPONENT), bounds),
            encoding="ascii",
        )
        try:
            # On any exception, Ctrl-C included, `run` kills the process before it lets the exception out.
            finished = subprocess.run(
                self._command(),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=None if self.limits.seconds is None else self.limits.seconds + _GRACE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return RowAnswer(Status.LIMIT)
        if finished.returncode != 0 or not text.exists() or not binary.exists():
            return RowAnswer(Status.ERROR)
        return self._read(text, binary, finished.stdout, bounds)

    def _command(self) -> list[str]:
        limits = self.limits
        command = [self.executable, "model.mps", "-ratio", repr(limits.relative_gap), "-allow", "0"]
        # By default a solution must be better by 1e-5 to replace the incumbent.
        command += ["-increment", "1e-9", "-timeMode", "elapsed"]
        # CBC's integer preprocessing loses optima of models with continuous columns.
        command += ["-preprocess", "off"]
        if limits.seconds is not None:
            command += ["-sec", repr(limits.seconds)]
        if limits.threads > 1:
            command += ["-threads", str(100 + limits.threads)]
        return [*command, "-solve", "-solution", "answer.txt", "-saveSolution", "answer.bin"]

    def _read(self, text: Path, binary: Path, log: str, bounds: ModelBounds) -> RowAnswer:
        with text.open(encoding="ascii", errors="replace") as lines:
            first = lines.readline()
        status = next((known for start, known in _STATUSES.items() if first.startswith(start)), Status.ERROR)
        if status not in (Status.OPTIMAL, Status.LIMIT):
            return RowAnswer(status)
        objective, values = _read_binary(binary)
        values = exact_integers(values, self.model.integrality)
        if status is Status.OPTIMAL:
            proven = self.limits.relative_gap == 0.0 or not self.model.is_mixed_integer
            return RowAnswer(status, values, 0.0 if proven else _gap(log, objective))
        if "no integer solution" in first or not self._feasible(values, bounds):
            return RowAnswer(Status.LIMIT)
        return RowAnswer(Status.FEASIBLE, values, _gap(log, objective))

    def _feasible(self, values: FloatArray, bounds: ModelBounds) -> bool:
        return _between(values, bounds.column_lower, bounds.column_upper) and _between(
            self.model.activities(values), bounds.row_lower, bounds.row_upper
        )


def _between(values: FloatArray, lower: FloatArray, upper: FloatArray) -> bool:
    slack = _FEASIBILITY_TOLERANCE * np.maximum(1.0, np.abs(values))
    return bool((values >= lower - slack).all() and (values <= upper + slack).all())


def _gap(log: str, objective: float) -> float:
    """Return the relative gap between the incumbent and the bound in CBC's log, nan where it has none."""
    found = re.search(r"^Lower bound:\s*(\S+)", log, flags=re.MULTILINE)
    if found is None or objective == 0.0:
        return np.nan
    return max(0.0, objective - float(found[1])) / abs(objective)


def _read_binary(path: Path) -> tuple[float, FloatArray]:
    """Return the objective and the values of the columns.

    The file holds two 32-bit counts (rows, columns) and then doubles: the objective, the rows' activities and
    duals, the columns' values and reduced costs.
    """
    content = path.read_bytes()
    rows, columns = (int(count) for count in np.frombuffer(content, dtype=np.int32, count=2))
    numbers = np.frombuffer(content, dtype=np.float64, offset=8)
    start = 1 + 2 * rows
    return float(numbers[0]), numbers[start : start + columns].copy()
