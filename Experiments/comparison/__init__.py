"""Comparison of finished networks: one package per theme, the study that runs them, and its report."""
