"""Figures of the theory experiments: one file per kind."""
