"""Adapters, one per third-party package: the only modules that import it."""
