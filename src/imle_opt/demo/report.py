"""The demo's report: one HTML page that holds everything it shows."""

from __future__ import annotations

from html import escape
from importlib.metadata import version

import numpy as np

from imle_opt.demo.charts import learning_curves
from imle_opt.demo.methods import Outcome
from imle_opt.demo.pictures import map_picture
from imle_opt.demo.result import COLUMNS, DemoResult, cells, verdict
from imle_opt_solvers.solution import FloatArray

__all__ = ["render"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #5b6470; --line: #d5dae1; --page: #fff;
  --card: #f4f6f8; --good: #0b7a3b; --bad: #b3261e; --true: #0072b2; --predicted: #e66100; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3acb8; --line: #3a424d;
  --page: #14171c; --card: #1d2229; --good: #5cd08c; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p, figcaption { color: var(--soft); margin: .4rem 0; }
.verdict { color: var(--ink); background: var(--card); border-left: 4px solid; border-radius: 4px;
  padding: .8rem 1rem; margin: 1rem 0; }
.met { border-color: var(--good); } .missed { border-color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: bottom; }
th { font-size: .85rem; font-weight: 600; color: var(--soft); }
th[colspan] { text-align: center; }
th[rowspan]:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
td:first-child { white-space: nowrap; font-weight: 600; }
.maps { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .88rem; }
figure svg { display: block; width: 100%; border-radius: 6px; background: #fff; }
figure image { image-rendering: pixelated; opacity: .8; }
figure polyline { fill: none; stroke-linejoin: round; stroke-linecap: round; }
figure polyline.true { stroke: var(--true); stroke-width: 3; opacity: .75; }
figure polyline.predicted { stroke: var(--predicted); stroke-width: 1.1; }
.key::before { content: ""; display: inline-block; width: 1.6em; height: 0; margin-right: .35em;
  vertical-align: middle; }
.key.true::before { border-top: 6px solid var(--true); opacity: .75; }
.key.predicted::before { border-top: 3px solid var(--predicted); }
.key { color: var(--ink); }
@media (max-width: 40rem) { body { font-size: 15px; }
  table { font-size: .8rem; } th { font-size: .75rem; } th, td { padding: .35rem .25rem; }
  .maps { grid-template-columns: repeat(2, 1fr); gap: .7rem; } }
"""

# Nothing may be fetched: the page holds all that it shows.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def render(result: DemoResult) -> str:
    """Return the report as an HTML page that loads nothing from anywhere.

    Table and maps are plain HTML and SVG; only the learning curves need scripts.

    Raises:
        MissingDependencyError: plotly, which draws the learning curves, is not installed.
    """
    curves = learning_curves(result)
    state = "met" if result.target_met else "missed"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>imle-opt demo: costs learnt from images of maps</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Learning the costs of maps from their images</h1>
<p>Each map shows 6 &times; 6 real handwritten digits. A cell costs 1 + its digit, and the cheapest path
leads from the top left to the bottom right. The network sees the image only; the solver is in the training
loop.</p>
<p class="verdict {state}">{escape(verdict(result))}</p>
<h2>Results on the test maps</h2>
<div class="scroll">{_table(result)}</div>
<p>Regret: by how much the path that is best under the predicted costs is dearer, under the true costs, than
the best path. Training and test maps share no digit.</p>
<h2>Learning curves</h2>
<p>Normalised regret (ratio of sums) on validation maps after each epoch; the scale is logarithmic.</p>
{curves}
<noscript><p>The curves need scripts; their last values are close to those in the table.</p></noscript>
<h2>Paths</h2>
<p><span class="key true">best path</span> &ensp; <span class="key predicted">path chosen by predicted
costs</span></p>
<h3>{escape(result["paths"].title)}</h3>
<div class="maps">{_maps(result, result["paths"], _examples(result["paths"]))}</div>
<h3>{escape(result["perceptron"].title)}</h3>
<div class="maps">{_maps(result, result["perceptron"], _examples(result["perceptron"]))}</div>
<h2>How it was made</h2>
<p>{escape(_settings(result))}</p>
</body>
</html>
"""


def _table(result: DemoResult) -> str:
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells(outcome))}</tr>"
        for outcome in result.outcomes
    )
    return f"<table><thead>{_head()}</thead><tbody>{rows}</tbody></table>"


def _head() -> str:
    """Two lines: what is measured, and how."""
    above = [f'<th rowspan="2">{escape(COLUMNS[number])}</th>' for number in (0, 1, 4)]
    regret = '<th colspan="2">normalised regret</th>'
    seconds = '<th colspan="2">seconds in</th>'
    below = [COLUMNS[2], COLUMNS[3], *(column.removesuffix(" seconds") for column in COLUMNS[5:])]
    return (
        f"<tr>{above[0]}{above[1]}{regret}{above[2]}{seconds}</tr>"
        f"<tr>{''.join(f'<th>{escape(title)}</th>' for title in below)}</tr>"
    )


def _examples(outcome: Outcome) -> list[int]:
    """The first three maps, and the one with the largest regret, if it is another."""
    worst = int(np.argmax(outcome.report.regrets))
    first = [row for row in range(outcome.report.rows) if row != worst]
    return sorted([*first[:3], worst])


def _maps(result: DemoResult, outcome: Outcome, rows: list[int]) -> str:
    decided = result.task.solver.solve(outcome.predicted[rows]).decisions
    return "".join(_figure(result, outcome, row, path) for row, path in zip(rows, decided, strict=True))


def _figure(result: DemoResult, outcome: Outcome, row: int, path: FloatArray) -> str:
    test, report = result.task.test, outcome.report
    achieved, best = report.achieved_objectives[row], report.optimal_objectives[row]
    text = f"Map {row + 1}: cost {achieved:.0f}, best {best:.0f}"
    if bool(report.optimal[row]):
        text = f"Map {row + 1}: a best path, cost {best:.0f}"
    elif row == int(np.argmax(report.regrets)):
        text += " (the largest regret)"
    picture = map_picture(test.maps.images[row, 0], test.paths[row], path, text)
    return f"<figure>{picture}<figcaption>{escape(text)}</figcaption></figure>"


def _settings(result: DemoResult) -> str:
    task = result.task
    return (
        f"imle-opt {version('imle-opt')}, torch {version('torch')}; seed {result.seed}; "
        f"{len(task.train.maps)} training, {len(task.validation.maps)} validation and {len(task.test.maps)} "
        f"test maps; {result.epochs} epochs for each method; solver {task.solver.traits.engine}; "
        f"{result.seconds:.0f} seconds in all. The digits are those that come with scikit-learn (Alpaydin "
        f"and Kaynak, UCI Machine Learning Repository, 1998). Weights are those of the last epoch: none were "
        f"chosen by validation. To run it again: imle-opt demo --seed {result.seed} --epochs {result.epochs} "
        f"--maps {len(task.train.maps)} --test-maps {len(task.test.maps)}"
    )
