"""A cvxpy portfolio with a quadratic constraint: learn a manager's forecasts from past portfolios.

A manager invests where returns are expected, under a limit on risk (a quadratic constraint). We know the
market on 150 past days and what was held; the forecasts behind it are nowhere written down. A linear model
learns forecasts under which the past portfolios are optimal, and so forecasts for new days. Decisions are
fractions here, not zeros and ones, and the solver is the one that cvxpy chooses.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import torch

from imle_opt import ExplicitMLE, Normal, regret, wrap

NUM_ASSETS = 8
rng = np.random.default_rng(0)
exposures = rng.normal(size=(NUM_ASSETS, 3))
covariance = 0.01 * (exposures @ exposures.T + np.eye(NUM_ASSETS))

returns = cp.Parameter(NUM_ASSETS)  # the one Parameter is what `wrap` takes for the costs
shares = cp.Variable(NUM_ASSETS, nonneg=True)
portfolio = cp.Problem(
    cp.Maximize(returns @ shares), [cp.sum(shares) <= 1, cp.quad_form(shares, covariance) <= 0.01]
)
solver = wrap(portfolio)

# Days, the forecasts of the manager (for the final judgement only), and what was held.
market = rng.normal(size=(300, 4))
forecasts = (
    0.05 + 0.03 * market @ rng.normal(size=(4, NUM_ASSETS)) + 0.01 * rng.normal(size=(300, NUM_ASSETS))
)
held = solver.solve(forecasts).decisions
train, test = slice(0, 150), slice(150, 300)

torch.manual_seed(0)
x, y = torch.from_numpy(market), torch.from_numpy(held)
model = torch.nn.Linear(4, NUM_ASSETS, dtype=torch.float64)
loss = ExplicitMLE(solver, noise=Normal(temperature=0.02))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(10):
    for rows in torch.randperm(150).split(15):
        optimizer.zero_grad()
        loss(model(x[rows]), solutions=y[rows]).mean().backward()
        optimizer.step()

learnt = regret.evaluate(solver, model(x[test]).detach().numpy(), forecasts[test])
average = regret.evaluate(solver, np.tile(forecasts[train].mean(axis=0), (150, 1)), forecasts[test])
print(f"a portfolio holds {(held > 1e-4).sum(axis=1).mean():.1f} of {NUM_ASSETS} assets on average")
print("expected return lost on new days (normalised regret)")
print(f"  forecasts learnt from portfolios:  {100 * learnt.normalized_regret:.1f}%")
print(f"  the average forecast of the past:  {100 * average.normalized_regret:.1f}%")

assert learnt.normalized_regret < 0.05 < 0.3 < average.normalized_regret
