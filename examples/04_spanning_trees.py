"""Spanning trees: the same linear model, fitted to the costs and fitted to the decisions.

Ten sites are joined by cables as cheaply as possible. What a cable costs depends on the season (five
numbers), by a law that a linear model cannot express. Least squares spends its effort where costs are large;
but dear cables are not built, and it is the order of the cheap ones that matters. Training on the decisions,
from the same past costs and with the same model, starts at the least-squares fit and moves the errors to
where they do no harm.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import torch

from imle_opt import ExplicitMLE, Normal, SpanningTree, regret

sites = nx.complete_graph(10)
solver = SpanningTree(sites)  # sense="max" would look for the dearest tree
num_cables = solver.shape[0]

# The past: 200 seasons with the costs of all 45 cables; 500 more to judge by.
rng = np.random.default_rng(0)
seasons = rng.normal(size=(700, 5))
effects = rng.binomial(1, 0.5, size=(5, num_cables))
costs = ((seasons @ effects / np.sqrt(5) + 3) / 3.5) ** 6 * rng.uniform(0.75, 1.25, size=(700, num_cables))
train, test = slice(0, 200), slice(200, 700)

# Two-stage: least squares on the costs, then decide.
inputs = np.column_stack([seasons, np.ones(len(seasons))])
weights, *_ = np.linalg.lstsq(inputs[train], costs[train])
two_stage = regret.evaluate(solver, inputs[test] @ weights, costs[test])

# Decision-focused: the same model and the same past, trained on the trees that its costs lead to.
torch.manual_seed(0)
x, c = torch.from_numpy(inputs), torch.from_numpy(costs)
model = torch.nn.Linear(6, num_cables, bias=False, dtype=torch.float64)
model.weight.data = torch.from_numpy(weights.T.copy())
loss = ExplicitMLE(solver, noise=Normal(temperature=0.1), num_samples=4)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(30):
    for rows in torch.randperm(200).split(20):
        optimizer.zero_grad()
        loss(model(x[rows]), costs=c[rows]).mean().backward()
        optimizer.step()
focused = regret.evaluate(solver, model(x[test]).detach().numpy(), costs[test])

print("normalised regret of the trees built in 500 new seasons")
print(f"  least squares on the costs:  {100 * two_stage.normalized_regret:.1f}%")
print(f"  trained on the decisions:    {100 * focused.normalized_regret:.1f}%")

assert focused.normalized_regret < 0.85 * two_stage.normalized_regret
