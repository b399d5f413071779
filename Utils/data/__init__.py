"""Data sets: `registry.py` lists them, `dataset.py` loads one and yields its batches."""

from Utils.data.registry import DATASETS

__all__ = ["DATASETS"]
