"""Figures, one file per kind: `registry.py` lists them, `look.py` defines their style."""

from Utils.figures.registry import FIGURES

__all__ = ["FIGURES"]
