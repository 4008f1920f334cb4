"""Shortest paths on a graph whose edge or vertex costs vary."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal, TypeAlias, final, get_args

import numpy as np
from numpy.typing import NDArray

from imle_opt_solvers._checks import check_option, refuse_overflow
from imle_opt_solvers._graph_checks import (
    GraphEngine,
    check_num_costs,
    costs_shape,
    read_graph_costs,
)
from imle_opt_solvers._graph_rows import group_by_graph, node_index, node_indices
from imle_opt_solvers._path_rows import PathTask, cheapest_paths, has_negative
from imle_opt_solvers.arcs import FOUND, NEGATIVE_CYCLE, NO_PATH, CostsOn, PathRegion, compile_region
from imle_opt_solvers.errors import InvalidInputError, ModelError
from imle_opt_solvers.graph import as_graph
from imle_opt_solvers.instances import Instances
from imle_opt_solvers.solution import FloatArray, OnFailure, Sense, Solution, Status, dot
from imle_opt_solvers.solver import CostDomain, Solver, Traits

__all__ = ["NegativeCosts", "ShortestPath"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
NegativeCosts: TypeAlias = Literal["error", "clip", "bellman-ford"]

_STATUSES = {FOUND: Status.OPTIMAL, NO_PATH: Status.INFEASIBLE, NEGATIVE_CYCLE: Status.UNBOUNDED}


_FAILURE_ADVICE = {
    Status.INFEASIBLE: "no path leads from this row's source to its target",
    Status.UNBOUNDED: "a negative cycle lies between source and target, so that walks get ever cheaper, and "
    "the best path without a repeated node is NP-hard to find: predict non-negative costs, or accept the "
    "bias of negative='clip'",
}


@final
class ShortestPath(Solver):
    """The cheapest path from source to target: `min <z, costs>` over the simple paths z.

    A decision is 1 on the edges of the path (in whichever direction it takes an undirected edge), or, with
    costs on vertices, on all its nodes, both ends counted. Where source and target are one, it is the path
    that stays there. Self-loops are never used; of parallel edges the cheapest is.

    **Negative costs.** On a directed graph without cycles, costs of any sign are solved exactly, whatever
    `negative` says. On other graphs a negative cost may close a negative cycle, round which a walk gets ever
    cheaper (a negative undirected edge does so by itself), and `negative` decides:

    - `"error"`: refuse the batch with `InvalidInputError`.
    - `"clip"`: find the path for `max(costs, 0)`. This is biased: the path is optimal for the clipped costs
      only, and the status `OPTIMAL` says no more. The objective is that of the costs as given; the gap of a
      row with a negative cost is NaN, and `traits.exact` is False.
    - `"bellman-ford"`: exact where no negative cycle lies between source and target. A row that has one is
      `UNBOUNDED`; the shortest path without a repeated node exists there, but is NP-hard to find. A cycle
      that is zero to within rounding counts as zero.

    Args:
        graph: a NetworkX graph, directed or not, with parallel edges or not; an imle-opt `Graph`; or edges
            (m, 2) of nodes 0, 1, ... with `directed`. It is read once and left unchanged.
        source: the label of the first node.
        target: the label of the last node.
        weight: the attribute in which a NetworkX graph keeps its own edge costs (node costs, where they are
            on vertices). They are kept as `graph_costs` if every edge has one, for use as a starting point;
            solving uses only the costs that it is given. None: do not read them.
        costs_on: `"edges"` or `"vertices"`.
        shape: the shape of the costs; None for `(edges,)` or `(nodes,)`. Their order is that of `names`:
            `list(graph.edges)` or `list(graph.nodes)`.
        directed: with an array of edges: whether they lead from first to second node only.
        num_nodes: with an array of edges: the number of nodes; None for the largest plus one.
        negative: what to do with negative costs on a graph with cycles; see above.
        engine: `"kernel"` (also `"auto"`) runs compiled code on arrays, the whole batch in one call;
            `"native"` calls NetworkX row by row, which is 20 to 200 times slower.
        on_failure: see `Solver`.

    Raises:
        ModelError: a source or target that is not a node, no path between them, or a graph without costs.
        InvalidInputError: an option that does not exist, or (from `solve`) negative costs that are refused.

    `instances` takes `source` and `target` (one label per row) and `graph` (one graph per row, each with as
    many costs, in its own order; edges (B, m, 2) too). A row without a path is `INFEASIBLE`.

    One solve per row: O(m log n) (Dijkstra), O(m) on an acyclic graph, O(m n) (Bellman-Ford, in rows with a
    negative cost only).

    Sources: E. W. Dijkstra (1959), "A note on two problems in connexion with graphs"; R. Bellman (1958), "On
    a routing problem"; L. R. Ford (1956), "Network flow theory".
    """

    def __init__(
        self,
        graph: object,
        source: Hashable,
        target: Hashable,
        weight: str | None = "weight",
        *,
        costs_on: CostsOn = "edges",
        shape: tuple[int, ...] | None = None,
        directed: bool | None = None,
        num_nodes: int | None = None,
        negative: NegativeCosts = "error",
        engine: GraphEngine = "auto",
        on_failure: OnFailure = "raise",
    ) -> None:
        check_option("costs_on", costs_on, get_args(CostsOn))
        check_option("negative", negative, get_args(NegativeCosts))
        check_option("engine", engine, get_args(GraphEngine))
        self.graph = as_graph(graph, directed=directed, num_nodes=num_nodes)
        self.source, self.target = source, target
        self.costs_on: CostsOn = costs_on
        self.negative: NegativeCosts = negative
        self.engine: GraphEngine = engine
        self._region = compile_region(self.graph, costs_on)
        self._require_path()
        super().__init__(
            costs_shape(self._region.num_costs, shape, costs_on),
            Sense.MIN,
            _traits(self._region, negative, engine),
            names=self.graph.node_names if self._region.on_vertices else self.graph.edge_names,
            on_failure=on_failure,
        )
        self.graph_costs = read_graph_costs(graph, weight, self.shape, on_vertices=self._region.on_vertices)

    @property
    def failure_advice(self) -> Mapping[Status, str]:
        """What a missing path and a negative cycle call for."""
        return _FAILURE_ADVICE

    def solve_rows(self, costs: FloatArray, instances: Instances | None, deterministic: bool) -> Solution:
        """Solve the rows of each distinct graph in one call."""
        flat = costs.reshape(len(costs), -1)
        refuse_overflow(flat)
        tasks = self._tasks(instances or {}, len(flat))
        if len(tasks) == 1:
            decisions, codes, biased = self._solve_task(flat, tasks[0])
        else:
            decisions, codes = np.empty(flat.shape), np.empty(len(flat), dtype=np.int64)
            biased = np.empty(len(flat), dtype=np.bool_)
            for task in tasks:
                found = self._solve_task(flat[task.rows], task)
                decisions[task.rows], codes[task.rows], biased[task.rows] = found
        gaps, statuses = np.where(biased, np.nan, 0.0), (Status.OPTIMAL,) * len(flat)
        failed = codes != FOUND
        if failed.any():
            decisions[failed], gaps[failed] = np.nan, np.nan
            statuses = tuple(_STATUSES[code] for code in codes.tolist())
        return Solution(decisions.reshape(costs.shape), dot(flat, decisions), statuses, gaps, 0.0)

    def _solve_task(self, costs: FloatArray, task: PathTask) -> tuple[FloatArray, IntArray, BoolArray]:
        """Return decisions (R, m), codes (R,) and which rows (R,) are biased."""
        usable, biased = self._usable(costs, task)
        return *self._run(usable, task), biased

    def _require_path(self) -> None:
        source = node_index(self.source, self.graph, "source")
        target = node_index(self.target, self.graph, "target")
        if not self._region.has_path(source, target):
            hint = "; its edges lead one way only" if self.graph.directed else ""
            raise ModelError(
                f"The graph has no path from source {self.source!r} to target {self.target!r}{hint}. Add the "
                f"missing edges, or choose other ends."
            )

    def _tasks(self, instances: Instances, rows: int) -> list[PathTask]:
        tasks: list[PathTask] = []
        for graph, group in group_by_graph(instances.get("graph"), self.graph, rows):
            region = self._region if graph is self.graph else compile_region(graph, self.costs_on)
            check_num_costs(region.num_costs, self.shape, self.costs_on, int(group[0]))
            sources = node_indices(instances.get("source"), self.source, graph, group, "source")
            targets = node_indices(instances.get("target"), self.target, graph, group, "target")
            tasks.append(PathTask(region, group, sources, targets))
        return tasks

    def _usable(self, costs: FloatArray, task: PathTask) -> tuple[FloatArray, BoolArray]:
        """Return the costs (R, m) that the engine may see, and which rows they are biased in."""
        unbiased = np.zeros(len(costs), dtype=np.bool_)
        if task.region.order is not None or self.negative == "bellman-ford":
            return costs, unbiased
        signed = has_negative(costs)
        if not signed.any():
            return costs, unbiased
        if self.negative == "clip":
            return np.maximum(costs, 0.0), signed
        raise InvalidInputError(self._negative_message(costs, task))

    def _negative_message(self, costs: FloatArray, task: PathTask) -> str:
        negative = np.argwhere(costs < 0)
        row, entry = negative[0].tolist()
        graph = task.region.graph
        name = graph.node_names[entry] if task.region.on_vertices else graph.edge_names[entry]
        return (
            f"`costs` must not be negative on a graph with cycles: {len(negative)} of {costs.size} entries "
            f"are (first {costs[row, entry]} at row {task.rows[row]}, entry {entry}, {name!r}). Predict "
            f"costs that cannot be negative (a softplus with a floor, an exponential), perturb them by noise "
            f"that keeps them so (`Exponential`), or choose a policy: negative='clip' finds the path "
            f"for max(costs, 0), which is biased; negative='bellman-ford' is exact unless there is a "
            f"negative cycle, and a negative cost on an undirected edge is one. A directed graph without "
            f"cycles takes costs of any sign."
        )

    def _run(self, costs: FloatArray, task: PathTask) -> tuple[FloatArray, IntArray]:
        if self.engine == "native":
            from imle_opt_solvers.adapters.networkx_graph import solve_paths

            return solve_paths(costs, task.region, task.sources, task.targets)
        return cheapest_paths(costs, task)


def _traits(region: PathRegion, negative: NegativeCosts, engine: GraphEngine) -> Traits:
    acyclic = region.order is not None
    kernel = "dag" if acyclic else "bellman-ford" if negative == "bellman-ford" else "dijkstra"
    return Traits(
        exact=acyclic or negative != "clip",
        binary=True,
        cost_domain=CostDomain.NONNEGATIVE if not acyclic and negative == "error" else CostDomain.ANY,
        releases_gil=engine != "native",
        takes_instances=("source", "target", "graph"),
        engine="native:networkx" if engine == "native" else f"kernel:{kernel}",
    )
