"""Data sets for experiments, of arrays: no download, no torch."""

from __future__ import annotations

from imle_opt.data.digit_maps import DigitMaps, DigitMapSplits, digit_maps

__all__ = ["DigitMapSplits", "DigitMaps", "digit_maps"]
