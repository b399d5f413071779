"""Figures of the comparison of finished networks."""
