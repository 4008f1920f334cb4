"""How the report looks: light and dark, on a phone, on paper."""

from __future__ import annotations

__all__ = ["POLICY", "STYLE"]

# Nothing may be fetched: the page holds all that it shows.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"

STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #545c68; --line: #d5dae1; --page: #fff;
  --card: #f4f6f8; --accent: #0b5cad; --best: #0072b2; --taken: #d55e00; --cost: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a8b1bd; --line: #3a424d;
  --page: #14171c; --card: #1d2229; --accent: #7ab8ff; --best: #56b4e9; --taken: #ff9d5c; --cost: #c3cad4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 72rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; } h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { color: var(--soft); margin: .4rem 0; }
.verdict { background: var(--card); border-left: 4px solid var(--accent); border-radius: 4px;
  padding: .7rem 1rem; margin: 1rem 0; }
.verdict p { color: var(--ink); }
.notes { border-left: 4px solid var(--taken); background: var(--card); border-radius: 4px;
  padding: .6rem 1rem .6rem 2.2rem; }
.scroll { overflow-x: auto; border-radius: 4px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
thead th { vertical-align: bottom; font-size: .85rem; color: var(--soft); min-width: 5.5rem; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; min-width: 9rem; }
td small { display: block; color: var(--soft); }
td small, td.range { white-space: nowrap; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: .1rem; cursor: pointer;
  text-align: inherit; text-decoration: underline dotted; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
select { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 4px; padding: .25rem .5rem; max-width: 100%; }
.chart text { fill: var(--soft); font: 12px system-ui, sans-serif; }
.chart, .plot { display: block; width: 100%; }
.chart .grid { stroke: var(--line); } .chart .diagonal { stroke: var(--soft); stroke-dasharray: 4 4; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .3rem 0;
  font-size: .9rem; }
.legend i { display: inline-block; width: .9em; height: .9em; border-radius: 2px; margin-right: .4em;
  vertical-align: -.1em; }
.worst { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .88rem; color: var(--soft); }
.decision { display: block; width: 100%; background: var(--card); border-radius: 6px; }
.decision text { fill: var(--soft); font: 10.5px system-ui, sans-serif; }
.decision .cost { fill: var(--cost); } .decision .item { fill: var(--cost); opacity: .55; }
.decision .line { fill: none; stroke-linecap: round; }
.decision .edge { stroke: var(--line); }
.decision .line.best { stroke: var(--best); stroke-width: 7; opacity: .55; }
.decision .line.taken { stroke: var(--taken); stroke-width: 2.5; }
.decision circle.best, .mark.best { fill: var(--best); opacity: .65; }
.decision circle.taken, .mark.taken { fill: var(--taken); }
.key::before { content: ""; display: inline-block; width: 1.6em; margin-right: .35em;
  vertical-align: middle; }
.key { color: var(--ink); white-space: nowrap; }
.key.best::before { border-top: 7px solid var(--best); opacity: .65; }
.key.taken::before { border-top: 3px solid var(--taken); }
[hidden] { display: none !important; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
.scripted .drawn .static { display: none; }
@media (max-width: 40rem) { body { font-size: 15px; padding: 1rem .75rem 2rem; }
  th:first-child, td:first-child { min-width: 6.5rem; }
  table { font-size: .82rem; } th, td { padding: .35rem .35rem; }
  .worst { grid-template-columns: repeat(2, minmax(0, 1fr)); } dl { grid-template-columns: 1fr; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #333; --line: #bbb; --page: #fff;
    --card: #f4f4f4; --best: #0072b2; --taken: #d55e00; --cost: #6b7280; }
  body { max-width: none; padding: 0; font-size: 11pt; } .plot, .choose { display: none !important; }
  .scripted .drawn .static { display: block; } [hidden].method { display: block !important; }
  figure, tr, .chart, .verdict { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } table { font-size: 9pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
