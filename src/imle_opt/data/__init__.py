"""Data sets for experiments, of arrays: no download, no torch."""

from __future__ import annotations

from imle_opt.data.digit_maps import DigitMaps, DigitMapSplits, digit_maps
from imle_opt.data.energy import EnergyDays, EnergyKnapsack, energy_knapsack
from imle_opt.data.explain import ExplainTable, explain_data
from imle_opt.data.neighbours import RobustLabels, knn_labels
from imle_opt.data.spo import CostTable, KnapsackTable, knapsack_data, shortest_path_data
from imle_opt.data.terrain import CELL_PIXELS, TERRAIN_COSTS, TerrainMaps, terrain_maps
from imle_opt.data.warcraft import TerrainSplits, warcraft_maps

__all__ = [
    "CELL_PIXELS",
    "TERRAIN_COSTS",
    "CostTable",
    "DigitMapSplits",
    "DigitMaps",
    "EnergyDays",
    "EnergyKnapsack",
    "ExplainTable",
    "KnapsackTable",
    "RobustLabels",
    "TerrainMaps",
    "TerrainSplits",
    "digit_maps",
    "energy_knapsack",
    "explain_data",
    "knapsack_data",
    "knn_labels",
    "shortest_path_data",
    "terrain_maps",
    "warcraft_maps",
]
