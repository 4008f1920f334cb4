"""The models that the command line has by name.

grid-path:12x12             the cheapest path from corner to corner of a grid of cells, over 8 neighbours,
                            both ends paid. `5x5,4` over 4 neighbours, `5x5,2` right and down only;
                            `5x5,2,edges` with the costs on edges, as `grid_graph` orders them
knapsack:weights.csv,20     the items of most value within a capacity. The table of weights looks like a
                            table of costs: a column per item, a row per constraint (`,20,35` for two)
spanning-tree:edges.csv     the cheapest spanning tree. A header, then the two ends of an edge in each line
top-k:20,5                  the 5 largest of 20
assignment:10               the cheapest assignment of 10 to 10, costs in row-major order; 10x12 to 12
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from imle_opt.tables import read_table
from imle_opt_solvers import Limits, ModelError, Solver

if TYPE_CHECKING:
    from imle_opt_solvers.grid import Neighbours

__all__ = ["BUILT_IN_FORMS", "built_in_model"]

_FORMS = {
    "grid-path": "grid-path:12x12",
    "knapsack": "knapsack:weights.csv,20",
    "spanning-tree": "spanning-tree:edges.csv",
    "top-k": "top-k:20,5",
    "assignment": "assignment:10",
}
BUILT_IN_FORMS = " ".join(_FORMS.values())

_Maker: TypeAlias = Callable[[str, str, Limits | None], Solver | None]


def built_in_model(spec: str, *, engine: str = "auto", limits: Limits | None = None) -> Solver | None:
    """Return the built-in model that `spec` names, or None where it names none.

    Args:
        spec: see the module's first lines.
        engine: `"highs"` for HiGHS, where the model can be solved by it; all others choose by themselves.
        limits: for knapsacks.

    Raises:
        ModelError: a known name whose arguments do not fit, or a file that cannot be read.
        InvalidInputError: sizes that the model refuses.
    """
    name, colon, arguments = spec.partition(":")
    maker = _MAKERS.get(name)
    if maker is None or not colon or (name.isidentifier() and arguments.isidentifier()):
        return None  # knapsack:model is what the user's own module knapsack.py calls `model`
    solver = maker(arguments, engine, limits)
    if solver is None:
        raise ModelError(f"MODEL {spec!r} is not of the form {_FORMS[name]}.")
    return solver


def _grid(arguments: str, engine: str, limits: Limits | None) -> Solver | None:
    parts = re.fullmatch(r"(\d+)x(\d+)(?:,([248]))?(,edges)?", arguments)
    if parts is None:
        return None
    from imle_opt_solvers.grid import grid_path

    known: dict[str | None, Neighbours] = {"2": 2, "4": 4}
    neighbours = known.get(parts[3], 8)
    return grid_path(
        (int(parts[1]), int(parts[2])), neighbours=neighbours, costs_on="edges" if parts[4] else "vertices"
    )


def _top_k(arguments: str, engine: str, limits: Limits | None) -> Solver | None:
    sizes = re.fullmatch(r"(\d+),(\d+)", arguments)
    from imle_opt_solvers.top_k import TopK

    return None if sizes is None else TopK(int(sizes[1]), int(sizes[2]))


def _assignment(arguments: str, engine: str, limits: Limits | None) -> Solver | None:
    sizes = re.fullmatch(r"(\d+)(?:x(\d+))?", arguments)
    if sizes is None:
        return None
    from imle_opt_solvers.assignment import Assignment

    return Assignment(int(sizes[1]), None if sizes[2] is None else int(sizes[2]))


def _knapsack(arguments: str, engine: str, limits: Limits | None) -> Solver | None:
    parts = re.fullmatch(r"(.+?)((?:,[^,]+)+)", arguments)
    capacities = [] if parts is None else [_number(part) for part in parts[2].split(",")[1:]]
    if parts is None or None in capacities:
        return None
    from imle_opt_solvers.knapsack import Knapsack

    table = read_table(Path(parts[1]))
    return Knapsack(
        table.values,
        np.array(capacities, dtype=np.float64),
        names=table.columns,
        engine="highs" if engine == "highs" else "auto",
        limits=limits,
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _spanning_tree(arguments: str, engine: str, limits: Limits | None) -> Solver | None:
    from imle_opt_solvers.graph import Graph
    from imle_opt_solvers.spanning_tree import SpanningTree

    ends = _read_ends(Path(arguments))
    places = {label: place for place, label in enumerate(dict.fromkeys(end for edge in ends for end in edge))}
    pairs = np.array([[places[tail], places[head]] for tail, head in ends], dtype=np.int64)
    plain = Graph.from_edges(pairs, directed=False)
    return SpanningTree(Graph(tuple(places), plain.tails, plain.heads, directed=False, keys=plain.keys))


def _read_ends(path: Path) -> list[tuple[str, str]]:
    """Read the two ends of each edge from a CSV file with a header."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise ModelError(f"{path}: the edges cannot be read: {reason}.") from error
    lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines()) if line]
    for number, line in enumerate(lines, start=1):
        if len(line) != 2 or not all(line):
            raise ModelError(
                f"{path}: line {number} must hold two cells, the ends of an edge, and has {line}. Costs come "
                f"from the tables of costs."
            )
    if len(lines) < 2:
        raise ModelError(f"{path}: there are no edges. It needs a header, `from,to`, and a line per edge.")
    return [(line[0], line[1]) for line in lines[1:]]


# Each loads its solver when it is asked for: with a knapsack comes HiGHS.
_MAKERS: dict[str, _Maker] = {
    "grid-path": _grid,
    "knapsack": _knapsack,
    "spanning-tree": _spanning_tree,
    "top-k": _top_k,
    "assignment": _assignment,
}
