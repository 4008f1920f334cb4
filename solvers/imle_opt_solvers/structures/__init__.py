"""Structure found by itself: linear models that are a problem with a kernel of its own."""

from __future__ import annotations

from imle_opt_solvers.linear_model import LinearModel
from imle_opt_solvers.solution import Limits
from imle_opt_solvers.structures.assignment import recognise_assignment
from imle_opt_solvers.structures.cardinality import recognise_cardinality
from imle_opt_solvers.structures.definitions import Substituted, find_definitions
from imle_opt_solvers.structures.knapsack import recognise_knapsack
from imle_opt_solvers.structures.network import recognise_network
from imle_opt_solvers.structures.structure import Answer, Structure

__all__ = ["Answer", "Structure", "recognise"]


def recognise(model: LinearModel, limits: Limits) -> Structure | None:
    """Return the structure of `model`, or None where it has none that is known.

    What is recognised is what a kernel solves exactly, whatever the costs: choosing k of n; a 0-1 knapsack
    with up to four constraints; an assignment; the cheapest path through a network. Columns that a row only
    defines are put in their place first: the visits of nodes, on which costs are, in a path.

    Args:
        model: all of its columns count, those with fixed costs too.
        limits: how long one row may take.
    """
    found = _recognise_whole(model, limits)
    definitions = find_definitions(model) if found is None else None
    if definitions is None:
        return found
    inner = _recognise_whole(definitions.remaining(), limits)
    return None if inner is None else Substituted(definitions, inner)


def _recognise_whole(model: LinearModel, limits: Limits) -> Structure | None:
    return (
        recognise_cardinality(model)
        or recognise_knapsack(model, limits)
        or recognise_assignment(model)
        or recognise_network(model)
    )
