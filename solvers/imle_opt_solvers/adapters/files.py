"""Model files: `.mps` and `.lp`, gzipped too, read by HiGHS. Nothing in a file is ever executed.

What the formats leave open is read as HiGHS reads it: an integer variable of an MPS file without bounds lies
in [0, 1]; free rows are dropped. One thing is added: HiGHS minimises where an MPS file asks for a maximum in
a comment (`*SENSE:Maximize`, all that PuLP writes) or as `OBJSENSE MAXIMIZE` on one line; both are heeded.

Order of the variables: that of the file's columns (MPS), or of first appearance (LP).
"""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers.errors import ModelError, UnsupportedModelError
from imle_opt_solvers.linear_model import LinearModel, select_columns
from imle_opt_solvers.solution import FloatArray, Sense

__all__ = ["read"]

_FORMATS = (".mps", ".lp", ".mps.gz", ".lp.gz")
_INTEGRALITY = {highspy.HighsVarType.kContinuous: False, highspy.HighsVarType.kInteger: True}


def read(path: str | os.PathLike[str], variables: object = None) -> LinearModel:
    """Read a model file into arrays.

    Args:
        path: an `.mps` or `.lp` file, or one of these with `.gz` added.
        variables: the names of the variables to predict, in a dict, list (nested too) or array; None: all
            with an objective coefficient, in the file's order.

    Raises:
        ModelError: a file that is missing, unreadable or no model, an unknown name, or no objective to take
            the variables from.
        UnsupportedModelError: a quadratic objective or semi-continuous variables.
    """
    shown = os.fspath(path)
    name = Path(shown).name.lower()
    suffix = next((each for each in _FORMATS if name.endswith(each)), None)
    if suffix is None:
        raise ModelError(f"{shown!r} is not a model file: its name must end in {', '.join(_FORMATS)}.")
    with tempfile.TemporaryDirectory(prefix="imle-opt-model-") as folder:
        # HiGHS goes by the suffix, in lower case, and cannot unpack in every build.
        private = Path(folder) / f"model{suffix.removesuffix('.gz')}"
        _unpack(Path(shown).expanduser(), private, gzipped=suffix.endswith(".gz"))
        _refuse_indicators(private, shown)
        model = _parse(private, Path(folder) / "log.txt", shown)
        maximises = private.suffix == ".mps" and _says_maximise(private)
    return _linear_model(model, maximises, variables, shown)


def _unpack(source: Path, target: Path, *, gzipped: bool) -> None:
    try:
        with gzip.open(source) if gzipped else source.open("rb") as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"Cannot read the model file {str(source)!r}: {reason}.") from error


def _refuse_indicators(file: Path, shown: str) -> None:
    """Refuse what HiGHS cannot read and says so on the terminal, past its own log."""
    if file.suffix != ".lp":
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        if any("->" in line.split("\\")[0] for line in lines):
            raise UnsupportedModelError(
                f"{shown!r} has indicator constraints (`->`), which no engine here can represent: write them "
                f"with a large constant times the binary variable."
            )


def _parse(file: Path, log: Path, shown: str) -> Any:
    highs = highspy.Highs()
    highs.setOptionValue("log_to_console", False)
    highs.setOptionValue("log_file", str(log))
    status = highs.readModel(str(file))
    highs.setOptionValue("log_file", "")
    model = highs.getModel()
    if status == highspy.HighsStatus.kError or model.lp_.num_col_ == 0:
        raise ModelError(
            f"{shown!r} holds no model that HiGHS can read: {_reason(log)}. Look at its first lines; a model "
            f"that another solver reads can be saved by it as plain MPS."
        )
    lp = model.lp_
    lengths = {len(lp.col_names_), len(lp.col_cost_), len(lp.integrality_) or lp.num_col_}
    if lengths != {lp.num_col_}:  # HiGHS has read a marker without quotes as a column, and lost count
        raise ModelError(
            f"{shown!r} is no MPS file as HiGHS reads it: it loses count of the columns. Markers of integer "
            f"columns need their quotes: MARKER 'MARKER' 'INTORG'."
        )
    return model


def _reason(log: Path) -> str:
    """Return what HiGHS says about a file that it cannot read."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    reasons = [error.rstrip(".") for error in errors if not error.startswith("Parser error reading")]
    return "; ".join(reasons) or "it finds no variables, or a syntax that it does not know"


def _says_maximise(file: Path) -> bool:
    """Whether an MPS file asks for a maximum in one of the ways that HiGHS passes over."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in itertools.takewhile(lambda line: line.split() != ["ROWS"], lines):
            words = line.upper().split()
            if words == ["*SENSE:MAXIMIZE"] or (words[:1] == ["OBJSENSE"] and "MAX" in line.upper()):
                return True
    return False


def _linear_model(model: Any, maximises: bool, variables: object, shown: str) -> LinearModel:
    lp = model.lp_
    if model.hessian_.dim_:
        raise UnsupportedModelError(
            f"{shown!r} has a quadratic objective, which a linear model cannot hold: write it with cvxpy."
        )
    objective = np.array(lp.col_cost_, dtype=np.float64)
    names = tuple(str(name) for name in lp.col_names_)
    predicted = select_columns(variables, column_of=lambda _: None, objective=objective, column_names=names)
    objective[predicted.columns] = 0.0
    starts, columns, values = _rows_of(lp)
    return LinearModel(
        sense=Sense.MAX if maximises or lp.sense_ == highspy.ObjSense.kMaximize else Sense.MIN,
        row_starts=starts,
        row_columns=columns,
        row_values=values,
        row_lower=np.array(lp.row_lower_, dtype=np.float64),
        row_upper=np.array(lp.row_upper_, dtype=np.float64),
        column_lower=np.array(lp.col_lower_, dtype=np.float64),
        column_upper=np.array(lp.col_upper_, dtype=np.float64),
        integrality=_integrality(lp, names, shown),
        fixed_costs=objective,
        offset=float(lp.offset_),
        predicted=predicted,
        column_names=names,
        row_names=tuple(str(name) for name in lp.row_names_),
    )


def _integrality(lp: Any, names: tuple[str, ...], shown: str) -> NDArray[np.bool_]:
    kinds = list(lp.integrality_) or [highspy.HighsVarType.kContinuous] * len(names)
    for name, kind in zip(names, kinds, strict=True):
        if kind not in _INTEGRALITY:
            raise UnsupportedModelError(
                f"{shown!r} has the semi-continuous variable {name!r}, which no engine here can represent: "
                f"write it with a binary variable."
            )
    return np.array([_INTEGRALITY[kind] for kind in kinds], dtype=np.bool_)


def _rows_of(lp: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return A by rows, (starts, columns, values); HiGHS reads it by columns."""
    matrix = lp.a_matrix_
    rows = np.array(matrix.index_, dtype=np.int64)
    column_starts = np.array(matrix.start_, dtype=np.int64)
    columns = np.repeat(np.arange(lp.num_col_), column_starts[1:] - column_starts[:-1])
    by_row = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=lp.num_row_)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return starts, columns[by_row], np.array(matrix.value_, dtype=np.float64)[by_row]
