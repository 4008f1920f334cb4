"""Rows of the conformance matrix for paths and trees, both engines each."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np

from graphs import ferries, roads, stages, state
from imle_opt_solvers.graph import as_graph
from imle_opt_solvers.grid import grid_graph, grid_path
from imle_opt_solvers.reference_graphs import enumerate_paths, enumerate_spanning_forests
from imle_opt_solvers.shortest_path import ShortestPath
from imle_opt_solvers.spanning_tree import SpanningTree
from imle_opt_solvers.testing import InstanceCase, SolverCase

ENGINES = ("kernel", "native")


def positive(size):
    return lambda rng, rows: rng.uniform(0.1, 5, (rows, size))


def signed(size):
    return lambda rng, rows: rng.normal(size=(rows, size))


def both_engines(name, build, **more):
    """One row per engine; each is the other's rival."""
    return tuple(
        SolverCase(
            name=f"{name}-{engine}",
            make_solver=lambda engine=engine: build(engine),
            rival=lambda other=other: build(other),
            **more,
        )
        for engine, other in zip(ENGINES, ENGINES[::-1], strict=True)
    )


def path_oracle(graph, source, target, costs_on="edges"):
    graph = as_graph(graph)
    return enumerate_paths(graph, graph.positions[source], graph.positions[target], costs_on)


def watched(read_graph, build):
    def watch():
        graph = read_graph()
        return build(graph), lambda: state(graph)

    return watch


def path_case(name, read_graph, source, target, draw_costs, costs_on="edges", **more):
    options = {"costs_on": costs_on, "negative": more.pop("negative", "error")}
    oracle = path_oracle(read_graph(), source, target, costs_on)
    return both_engines(
        f"path-{name}",
        lambda engine: ShortestPath(read_graph(), source, target, engine=engine, **options),
        optimum=oracle.optimum,
        feasible=oracle.contains,
        draw_costs=draw_costs(oracle.decisions.shape[1]),
        watch=watched(read_graph, lambda graph: ShortestPath(graph, source, target, **options)),
        **more,
    )


def unbounded_ferries():
    solver = ShortestPath(ferries(), "a", "d", negative="bellman-ford")
    costs = dict.fromkeys(solver.names, 1.0) | {"b->c[day]": -3.0}
    return solver, np.array(list(costs.values()))


def free_of_negative_cycles(size):
    """Costs with negative entries among `ferries`, but no negative cycle: raised by a potential per node."""
    graph = as_graph(ferries())

    def draw(rng, rows):
        heights = rng.normal(size=(rows, graph.num_nodes))
        return rng.uniform(0.1, 1, (rows, size)) + heights[:, graph.tails] - heights[:, graph.heads]

    return draw


def ends_by_row():
    ends = [("home", "market"), ("tower", "home"), ("mill", "mill")]
    return InstanceCase(
        {"source": [source for source, _ in ends], "target": [target for _, target in ends]},
        tuple(path_oracle(roads(), *pair).optimum for pair in ends),
    )


def maps_by_row():
    other = nx.DiGraph([(0, 3), (3, 2), (2, 4), (0, 1), (1, 2), (1, 4), (4, 5)])
    rows = [stages(), other, other]
    return InstanceCase(
        {"graph": rows, "target": [4, 4, 5]},
        tuple(path_oracle(graph, 0, end).optimum for graph, end in zip(rows, [4, 4, 5], strict=True)),
    )


def small_grid():
    oracle = path_oracle(grid_graph((3, 4)), (0, 0), (2, 3), "vertices")
    oracle = replace(oracle, decisions=oracle.decisions.reshape(-1, 3, 4))
    return both_engines(
        "path-grid",
        lambda engine: grid_path((3, 4), engine=engine),
        optimum=oracle.optimum,
        feasible=oracle.contains,
        draw_costs=lambda rng, rows: rng.uniform(0.1, 5, (rows, 3, 4)),
    )


def pieces():
    """Two components, a node of its own, a self-loop and parallel edges."""
    graph = nx.MultiGraph([(0, 1), (0, 1), (1, 2), (2, 0), (3, 4), (4, 4), (3, 4)])
    graph.add_node(5)
    return graph


def tree_case(name, read_graph, sense, **more):
    oracle = enumerate_spanning_forests(as_graph(read_graph()), sense)
    return both_engines(
        f"tree-{name}",
        lambda engine: SpanningTree(read_graph(), sense=sense, engine=engine),
        optimum=oracle.optimum,
        feasible=oracle.contains,
        draw_costs=signed(oracle.decisions.shape[1]),
        watch=watched(read_graph, SpanningTree),
        **more,
    )


def trees_by_row():
    rows = [nx.cycle_graph(8), roads(), nx.Graph([(0, 1), (1, 2), (2, 0), *nx.path_graph(range(3, 9)).edges])]
    oracles = [enumerate_spanning_forests(as_graph(graph)) for graph in rows]
    return InstanceCase({"graph": rows}, tuple(oracle.optimum for oracle in oracles))


CASES = (
    *path_case("undirected", roads, "home", "market", positive, instance_case=ends_by_row()),
    *path_case("vertices", roads, "home", "market", positive, costs_on="vertices"),
    *path_case("multigraph", ferries, "a", "d", positive),
    *path_case(
        "bellman-ford",
        ferries,
        "a",
        "d",
        free_of_negative_cycles,
        negative="bellman-ford",
        unbounded=unbounded_ferries,
    ),
    *path_case("acyclic", stages, 0, 4, signed, instance_case=maps_by_row()),
    *small_grid(),
    *tree_case("min", roads, "min", instance_case=trees_by_row()),
    *tree_case("max", roads, "max"),
    *tree_case("forest", pieces, "min"),
)
