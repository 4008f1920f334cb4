"""Wrap a PuLP model, learn its objective from data, and measure the result in regret.

A van takes what is worth most out of twenty products, up to its capacity. What a product will earn tomorrow
is not known; what it earned on past days, and a few facts about those days, are. A network learns to predict
the earnings so that the van is loaded well.
"""

from __future__ import annotations

import numpy as np
import pulp
import torch
from torch.utils.data import DataLoader, TensorDataset

from imle_opt import ExplicitMLE, Normal, fit, predict_costs, regret, wrap

# 1. The model that you have, as you would write it in PuLP. Its objective coefficients do not matter.
rng = np.random.default_rng(0)
weights = rng.integers(3, 9, size=20)
model = pulp.LpProblem("van", pulp.LpMaximize)
take = model.add_variable_dict("take", range(20), cat="Binary")
model += pulp.lpSum(take.values())
model += pulp.lpSum(int(weight) * take[i] for i, weight in enumerate(weights)) <= 40, "capacity"

# 2. Wrap it: costs in, optimal decisions out, a batch at a time. `model` itself is left as it is.
solver = wrap(model, variables=take)
print(f"wrapped: {solver.shape[0]} costs, {solver.sense.value}imise, engine {solver.traits.engine}")

# 3. The past: what was known about 300 days, and what each product earned then.
facts = rng.normal(size=(300, 5))
earnings = np.exp(0.4 * facts @ rng.normal(size=(5, 20)) + 0.2 * rng.normal(size=(300, 20)))
x, earned = torch.tensor(facts, dtype=torch.float32), torch.tensor(earnings, dtype=torch.float32)
train, test = slice(0, 200), slice(200, 300)

# 4. Learn. The loss solves the model for predicted and for true earnings, under the same noise.
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(5, 32), torch.nn.ReLU(), torch.nn.Linear(32, 20))
loss = ExplicitMLE(solver, noise=Normal(temperature=0.5))
loader = DataLoader(TensorDataset(x[train], earned[train]), batch_size=20, shuffle=True)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
fit(network, loader, lambda predicted, batch: loss(predicted, costs=batch[1]), epochs=6, optimizer=optimizer)

# 5. Measure: what is lost on new days by loading the van by the predictions?
learnt = regret.evaluate(solver, predict_costs(network, x[test]), earned[test])
average = regret.evaluate(solver, earned[train].mean(dim=0).expand(100, 20), earned[test])
print(learnt)
print(f"\nby the average earnings of the past: {100 * average.normalized_regret:.1f}% normalised regret")

assert learnt.normalized_regret < 0.5 * average.normalized_regret
