"""Experiments, one file each: `registry.py` lists them, `common` holds shared steps, `planning` prepares runs."""

from Experiments.registry import EXPERIMENTS

__all__ = ["EXPERIMENTS"]
