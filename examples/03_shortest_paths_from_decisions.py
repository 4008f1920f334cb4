"""Shortest paths from decisions only: learn what streets cost from the routes that drivers took.

A town is a grid of streets. Drivers know how long each street takes today and drive the shortest way; we see
the day (rain, hour, ...), where they started, where they went and which way, but no times. A network learns
costs of the streets under which the observed routes are shortest.

Three things to see: every trip has ends of its own (`instances`); costs must not become negative on a graph
with cycles (an exponential, and noise that makes costs larger, never negative); and costs are learnt up to
their scale only, which regret does not mind.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch

from imle_opt import ExplicitMLE, Exponential, ShortestPath, regret

town = nx.convert_node_labels_to_integers(nx.grid_2d_graph(5, 5))
solver = ShortestPath(town, source=0, target=24)
num_streets = solver.shape[0]  # costs are in the order of list(town.edges), see solver.names

# 600 trips: the day, the ends, the way taken. The true times are for the final judgement only.
rng = np.random.default_rng(0)
days = rng.normal(size=(600, 4)).astype(np.float32)
times = np.exp(0.5 * days @ rng.normal(size=(4, num_streets)) + 0.3 * rng.normal(size=num_streets))
ends = np.array([rng.choice(25, size=2, replace=False) for _ in days])


def ends_of(rows):
    """Return the ends of some trips, as a solver takes them."""
    return {"source": ends[rows, 0], "target": ends[rows, 1]}


routes = solver.solve(times, instances=ends_of(np.arange(600))).decisions
print(f"the town has {num_streets} streets, a route {routes.sum(axis=1).mean():.1f} of them on average")

# Learn, with an ordinary torch loop.
train, test = np.arange(400), np.arange(400, 600)
torch.manual_seed(0)
network = torch.nn.Linear(4, num_streets)  # of the logarithm of the costs
loss = ExplicitMLE(solver, noise=Exponential(temperature=0.2), num_samples=4)
optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
for _ in range(30):
    for batch in torch.randperm(len(train)).split(50):
        rows = train[batch.numpy()]
        costs = network(torch.from_numpy(days[rows])).exp()
        value = loss(costs, solutions=torch.from_numpy(routes[rows]), instances=ends_of(rows)).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

# Judge the new routes by the true times.
with torch.no_grad():
    predicted = network(torch.from_numpy(days[test])).exp().numpy()
learnt = regret.evaluate(solver, predicted, times[test], instances=ends_of(test))
fewest = regret.evaluate(solver, np.ones_like(times[test]), times[test], instances=ends_of(test))
print(f"normalised regret on new trips, learnt from routes: {100 * learnt.normalized_regret:.1f}%")
print(f"normalised regret of the route with fewest streets: {100 * fewest.normalized_regret:.1f}%")

assert learnt.normalized_regret < 0.3 * fewest.normalized_regret
