"""Engines that drive a `LinearModel`, one module each."""
