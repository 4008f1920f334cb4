"""From a table of features and a table of costs to a verdict, in three commands.

`features.csv` says what was known on 600 days, `costs.csv` what the items of a knapsack were then worth, and
`knapsack.mps` is the model. In a shell the commands below begin with `imle-opt`.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pulp

from imle_opt.cli import main

os.chdir(tempfile.mkdtemp())

# What an analyst has: the model as a file, and two tables.
model = pulp.LpProblem("knapsack", pulp.LpMaximize)
take = model.add_variable_dict("take", ["tent", "stove", "rope", "map", "lamp", "axe"], cat="Binary")
model += pulp.lpSum(take.values())
model += pulp.lpDot([5, 3, 4, 1, 2, 4], take.values()) <= 9
model.writeMPS("knapsack.mps")

rng = np.random.default_rng(0)
features = rng.normal(size=(600, 3))
worth = np.maximum(features @ rng.normal(size=(3, 6)) + 3, 0) ** 3 * rng.uniform(0.7, 1.3, size=(600, 6))
pd.DataFrame(features, columns=["rain", "wind", "days"]).to_csv("features.csv", index=False)
pd.DataFrame(worth, columns=[item.name for item in take.values()]).to_csv("costs.csv", index=False)

# 1. Train. A fifth of the rows is held out, and written to fitted/held-out.
main(["fit", "knapsack.mps", "--features", "features.csv", "--costs", "costs.csv", "--out", "fitted"])

# 2. Predict: here the rows held out, later those of tomorrow.
main(["predict", "fitted", "--features", "fitted/held-out/features.csv", "--out", "predicted.csv"])

# 3. Judge, beside the two-stage baseline that `fit` trained.
methods = ["--predicted", "fitted=predicted.csv", "--predicted", "two-stage=fitted/held-out/two-stage.csv"]
main(["regret", "knapsack.mps", "--true", "fitted/held-out/costs.csv", *methods])

# The decisions themselves, if they are wanted.
main(["solve", "knapsack.mps", "--costs", "predicted.csv", "--out", "decisions.csv"])

report = json.loads(Path("fitted/report.json").read_text(encoding="utf-8"))["evaluation"]
regret = {each["name"]: each["figures"]["normalized_regret_ratio_of_sums"] for each in report["methods"]}
assert regret["explicit-mle"] < 0.5 * regret["constant"]
