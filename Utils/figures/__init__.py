"""Figures, one file per kind; `registry.py` lists them, `look.py` gives them one style."""

from Utils.figures.registry import FIGURES

__all__ = ["FIGURES"]
