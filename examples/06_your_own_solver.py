"""Your own algorithm as a solver: learn what bookings are worth from the bookings that were accepted.

A room can take one booking at a time. For years somebody has accepted and refused requests so as to get the
most out of the room, but nobody wrote down what a request was worth: there are only the requests, a few facts
about each, and which were accepted. The best set of requests is found by a small dynamic program; it is an
ordinary function, and `FunctionSolver` is all it takes to learn through it.
"""

from __future__ import annotations

import numpy as np
import torch

from imle_opt import ExplicitMLE, FunctionSolver, Normal, regret

# The requests of a day: hours [start, end), sorted by their end.
STARTS = np.array([8, 9, 8, 10, 12, 11, 14, 13, 15, 17, 16])
ENDS = np.array([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])


def best_bookings(values: np.ndarray) -> np.ndarray:
    """Weighted interval scheduling: the most valuable requests that do not overlap."""
    best = [(0.0, [])]  # for the first 0, 1, 2, ... requests: their value, and which are accepted
    for request, start in enumerate(STARTS):
        value, accepted = best[np.searchsorted(ENDS, start, side="right")]  # of those that end before it
        best.append(max(best[-1], (value + values[request], [*accepted, request])))
    decision = np.zeros(len(ENDS))
    decision[best[-1][1]] = 1.0
    return decision


solver = FunctionSolver(best_bookings, shape=len(ENDS), sense="max")

# The past: 300 days, five facts about each request. The values are for the final judgement only.
rng = np.random.default_rng(0)
facts = rng.normal(size=(500, len(ENDS), 5)).astype(np.float32)
values = np.exp(facts @ np.array([0.8, -0.5, 0.3, 0.0, 0.0]))
accepted = solver.solve(values).decisions
train, test = slice(0, 300), slice(300, 500)

# A network that looks at one request at a time, and an ordinary torch loop.
torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(5, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1), torch.nn.Flatten(-2)
)
loss = ExplicitMLE(solver, noise=Normal(temperature=0.5), num_samples=2)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
x, y = torch.from_numpy(facts[train]), torch.from_numpy(accepted[train])
for _ in range(10):
    for rows in torch.randperm(len(x)).split(30):
        optimizer.zero_grad()
        loss(network(x[rows]), solutions=y[rows]).mean().backward()
        optimizer.step()

# What it is worth: the value lost on new days, against taking every request to be worth the same.
with torch.no_grad():
    learnt = regret.evaluate(solver, network(torch.from_numpy(facts[test])), values[test])
equal = regret.evaluate(solver, np.ones_like(values[test]), values[test])
print("values learnt from decisions\n")
print(learnt)
print(f"\nall requests worth the same: {100 * equal.normalized_regret:.1f}% normalised regret")

assert learnt.normalized_regret < 0.05 < 0.2 < equal.normalized_regret
