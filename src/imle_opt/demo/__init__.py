"""The demo: learn the costs of maps from images, with a solver in the loop, and measure the regret."""

from __future__ import annotations

from imle_opt.demo.result import DemoResult
from imle_opt.demo.run import run_demo

__all__ = ["DemoResult", "run_demo"]
